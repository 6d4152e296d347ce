"""pydantic's errors as problems for people.

The rule: one Problem for each error, saying what is wrong and what would be right, in this project's words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cli.config.errors import KeyPath, Problem, listed, meant, shown

WORD = re.compile(r"'([^']*)'")
BOUNDS = {
    "greater_than_equal": ("less than", "ge"),
    "less_than_equal": ("more than", "le"),
    "string_too_long": ("longer than", "max_length"),
}
KINDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def problems_of(error: ValidationError, root: type[BaseModel]) -> list[Problem]:
    """A problem for each of the errors."""
    return [_problem(details, root) for details in error.errors(include_url=False)]


def keys_at(root: type[BaseModel], path: KeyPath) -> dict[str, object]:
    """The keys that the mapping at this path may have, by its models, each with its annotation."""
    models: list[object] = [root]
    for part in path:
        models = [inner for model in models for inner in _inside(model, part)]
    return {name: annotation for model in models for name, annotation in _fields(model).items()}


def _problem(details: ErrorDetails, root: type[BaseModel]) -> Problem:
    path = tuple(details["loc"])
    kind, found = details["type"], details["input"]
    context: dict[str, Any] = details.get("ctx", {})
    if path and path[-1] == "[key]" and kind == "value_error":
        return Problem(path[:-1], str(context["error"]))
    if path and path[-1] == "[key]":
        return Problem(path[:-1], f"{shown(path[-2])} is no name; use up to 64 letters, digits, '.', '_' and '-'")
    if kind == "missing":
        return Problem(path[:-1], _missing(str(path[-1]), root, path[:-1]))
    if kind == "extra_forbidden":
        known = keys_at(root, path[:-1])
        return Problem(path, f"unknown key{meant(str(path[-1]), known) or _choice(known)}")
    if kind == "literal_error":
        return Problem(path, _literal(found, str(context.get("expected", ""))))
    if kind == "value_error":
        return Problem(path, str(context["error"]))
    if kind in KINDS:
        return Problem(path, f"{_what(found)} is not {KINDS[kind]}")
    if kind in BOUNDS:
        words, key = BOUNDS[kind]
        return Problem(path, f"{_what(found)} is {words} {context[key]}")
    if kind == "string_pattern_mismatch" and context["pattern"].startswith("^/"):
        return Problem(path, f"{_what(found)} is not a path; write one such as /healthz, without spaces")
    if kind == "too_short":
        return Problem(path, f"{'the list' if isinstance(found, list) else 'the mapping'} is empty; name at least one")
    return Problem(path, f"{_what(found)}: {_lowered(details['msg'])}")


def _missing(key: str, root: type[BaseModel], path: KeyPath) -> str:
    if key == "version" and not path:
        return "the key version is missing; write version: 1"
    return f"the key {key} is missing"


def _choice(known: dict[str, object]) -> str:
    return f"; known are {', '.join(sorted(known))}" if known else ""


def _literal(found: object, expected: str) -> str:
    words = WORD.findall(expected) or [expected]
    if not isinstance(found, str) and str(found) in words and found is not None:
        return f'{_what(found)} is not a text; write "{found}" in quotes'
    near = meant(found, words) if isinstance(found, str) else ""
    return f"{_what(found)} is not {listed(words)}{near}"


def _what(found: object) -> str:
    if isinstance(found, dict):
        return "a mapping"
    if isinstance(found, list):
        return "a list"
    if found is None:
        return "nothing"
    return str(found).lower() if isinstance(found, bool) else shown(found)


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]


def _fields(model: object) -> dict[str, object]:
    if isinstance(model, type) and issubclass(model, BaseModel):
        return {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    return {}


def _inside(holder: object, part: str | int) -> Iterator[object]:
    """The models and generics that stand under a key or an index of what an annotation allows."""
    fields = _fields(holder)
    if fields:
        yield from _alternatives(fields.get(str(part)))
    elif get_args(holder):
        yield from _alternatives(get_args(holder)[-1])


def _alternatives(annotation: object) -> Iterator[object]:
    if annotation is None:
        return
    arguments = get_args(annotation)
    origin = getattr(annotation, "__origin__", None)
    if hasattr(annotation, "__metadata__"):
        yield from _alternatives(origin)
    elif origin in (list, dict, tuple):
        yield annotation
    elif arguments:
        for argument in arguments:
            yield from _alternatives(argument)
    else:
        yield annotation
