"""The JSON Schema of the configuration file.

The rule: it says what the models say; nothing about the grammar is written down a second time.
"""

from __future__ import annotations

from typing import Any

from cli.config.schema import file_adapter

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a configuration file."""
    return {"$schema": DIALECT, **file_adapter().json_schema(mode="validation", by_alias=True)}
