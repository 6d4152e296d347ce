"""The reference of the configuration file as Markdown, made from its JSON Schema.

The rule: pure, from schema to text; every key has its own line with type, default and description.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

HEAD = """\
# The configuration file

<!-- Made by `make reference` from the models in cli/config; edit the texts there. -->

YAML, `/etc/lbctl/lb.yaml` unless a command is given another. Unknown keys and keys that stand twice are errors;
aliases and merge keys (`<<`) are taken. `lbctl check FILE` names every error with its line. `lbctl schema` prints
this page as a JSON Schema, with which editors complete and check.

Durations read `250ms`, `2s`, `10m`, `1h`, `1d`; rates `100/s`, `10/m`, `5/h`; sizes `512`, `64KiB`, `10MiB`.
"""


def configuration_reference(schema: Schema) -> str:
    """The whole page: the file, then each mapping in the order in which it is first named."""
    definitions: Mapping[str, Schema] = schema["$defs"]
    schema = _inlined(schema, definitions)
    definitions = {name: _inlined(definition, definitions) for name, definition in definitions.items()}
    parts = [HEAD, *_section("The file", schema)]
    for name in _order(schema, definitions):
        if "properties" in definitions[name]:
            parts += _section(_title(name), definitions[name])
    return "\n".join(parts) + "\n"


def _inlined(value: Any, definitions: Mapping[str, Schema]) -> Any:
    """The value with references to what has no keys of its own replaced by what they stand for."""
    if isinstance(value, list):
        return [_inlined(inner, definitions) for inner in value]
    if not isinstance(value, Mapping):
        return value
    target = definitions.get(str(value.get("$ref", "")).rpartition("/")[2])
    if target is not None and "properties" not in target:
        return {**target, **{key: inner for key, inner in value.items() if key != "$ref"}}
    return {key: _inlined(inner, definitions) for key, inner in value.items() if key != "$defs"}


def _section(title: str, definition: Schema) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"{definition.get('description', '')}\n".lstrip("\n")
    yield "| key | value | default | |"
    yield "|---|---|---|---|"
    required = set(definition.get("required", ()))
    for key, value in definition["properties"].items():
        default = "**needed**" if key in required else _default(value)
        yield f"| `{key}` | {_escaped(_kind(value))} | {default} | {_escaped(value.get('description', ''))} |"
    yield ""


def _order(schema: Schema, definitions: Mapping[str, Schema]) -> list[str]:
    found: dict[str, None] = {}
    waiting = list(_references(schema.get("properties", {})))
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting[:0] = _references(definitions[name].get("properties", {}))
    return list(found)


def _references(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].rpartition("/")[2]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _title(name: str) -> str:
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name.removesuffix("Schema"))
    return words.removesuffix(" keys").strip().capitalize()


def _link(name: str) -> str:
    title = _title(name)
    return f"[{title.lower()}](#{title.lower().replace(' ', '-')})"


def _kind(value: Schema) -> str:
    """What a value may be, in a few words."""
    if "$ref" in value:
        return _link(value["$ref"].rpartition("/")[2])
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_kind(one) for one in value["anyOf"] if one.get("type") != "null"))
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    return _typed(value)


def _typed(value: Schema) -> str:
    kind = value.get("type")
    if kind == "array":
        return f"list of {_kind(value.get('items', {}))}"
    if kind == "object" and isinstance(value.get("additionalProperties", value.get("patternProperties")), Mapping):
        inner = value.get("additionalProperties") or next(iter(value["patternProperties"].values()))
        return f"mapping from names to {_kind(inner)}"
    if value.get("examples"):
        return ", ".join(f"`{one}`" for one in value["examples"][:2])
    return {"boolean": "`true`, `false`", "integer": _number(value), "string": "text"}.get(
        str(kind), str(kind or "any")
    )


def _number(value: Schema) -> str:
    low, high = value.get("minimum"), value.get("maximum")
    if low is not None and high is not None and high < 2**31 - 1:
        return f"number from {low} to {high}"
    return "number" if low is None else f"number from {low}"


def _default(value: Schema) -> str:
    if value.get("default") in (None, [], {}):
        return ""
    default = value["default"]
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
