"""The API of the control socket as an OpenAPI 3.1 document, made from the operations themselves.

The rule: a parameter's name, type and default come from the function's signature, its words from the docstring; so
the document cannot fall behind.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from cli.operations import Operation

TYPES: dict[object, str] = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array"}
ANSWERS = {
    "200": {"description": "The document that the command prints with --json."},
    "409": {"description": "It could not be done: {error, exit: 1, lines}."},
    "422": {"description": "Wrong usage, or a configuration that does not validate: {error, exit: 2, lines}."},
}


def document_of(operations: Mapping[str, Operation]) -> dict[str, Any]:
    """The OpenAPI document of `POST /v1/<operation>` for every operation."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "lbctl control socket", "version": "1"},
        "paths": {f"/v1/{name}": {"post": _post(name, operation.load())} for name, operation in operations.items()},
    }


def _post(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    words = inspect.getdoc(function) or name
    schema = _arguments(function)
    return {
        "operationId": name,
        "summary": words.partition("\n")[0],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": ANSWERS,
    }


def _arguments(function: Callable[..., Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(function)
    properties, required = {}, []
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        properties[name] = {"type": _json_type(hints.get(name))}
        if parameter.default is inspect.Parameter.empty:
            required.append(name)
        else:
            properties[name]["default"] = parameter.default
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _json_type(hint: object) -> Any:
    parts = [part for part in typing.get_args(hint) if part is not type(None)]
    if parts and type(None) in typing.get_args(hint):
        return [_json_type(parts[0]), "null"]
    return TYPES.get(typing.get_origin(hint) or hint, "string")
