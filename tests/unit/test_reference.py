"""The reference pages and the JSON Schema say what the models and commands say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cli.config.reference import json_schema
from cli.reference import pages

DOCS = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("name", ["configuration.md", "commands.md", "metrics.md", "lbctl.1"])
def test_the_page_is_not_stale(name: str) -> None:
    assert (DOCS / name).read_text() == pages()[name], "run `make reference`"


def test_every_key_of_the_schema_is_described() -> None:
    schema = json_schema()
    definitions = {"file": schema, **schema["$defs"]}
    bare = [
        f"{name}.{key}"
        for name, definition in definitions.items()
        for key, value in definition.get("properties", {}).items()
        if not value.get("description")
    ]
    assert bare == []


def test_the_schema_knows_the_keys_of_the_example() -> None:
    schema = json_schema()
    example = yaml.safe_load((Path(__file__).with_name("config_cases") / "example.yaml").read_text())
    assert example.keys() <= schema["properties"].keys()
    listener = schema["$defs"]["ListenerSchema"]["properties"]
    assert all(item.keys() <= listener.keys() for item in example["listeners"].values())
    assert not schema["additionalProperties"]
