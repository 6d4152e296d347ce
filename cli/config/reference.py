"""The JSON Schema of the configuration file.

The rule: it says what the models say; nothing about the grammar is written down a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from cli.config.descriptions import description_of
from cli.config.fields import Keys
from cli.config.schema import FileSchema, file_adapter

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a configuration file, with the description of every key."""
    schema = file_adapter().json_schema(mode="validation", by_alias=True)
    models = {model.__name__: model for model in _models(Keys)}
    _describe(schema, FileSchema)
    for name, definition in schema.get("$defs", {}).items():
        if name in models:
            _describe(definition, models[name])
    return {"$schema": DIALECT, **schema}


def _models(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


def _describe(definition: dict[str, Any], model: type[BaseModel]) -> None:
    for key, field in model.model_fields.items():
        found = definition.get("properties", {}).get(field.alias or key)
        text = description_of(model, key)
        if found is not None and text:
            found.pop("title", None)
            found["description"] = text
