"""What each key is described as: the text under it in the source of its model.

The rule: read only when the schema is printed. pydantic's own `use_attribute_docstrings` reads the source of every
model at every start, which takes a third of the time of `lbctl check`.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import lru_cache

from pydantic import BaseModel


def description_of(model: type[BaseModel], key: str) -> str:
    """The text under a key, on one line; empty where there is none."""
    for owner in model.__mro__:
        found = _texts(owner.__module__).get((owner.__name__, key))
        if found is not None:
            return " ".join(found.split())
    return ""


@lru_cache(maxsize=64)
def _texts(module: str) -> dict[tuple[str, str], str]:
    if not module.startswith("cli."):
        return {}
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {key: text for node in tree.body if isinstance(node, ast.ClassDef) for key, text in _of_class(node).items()}


def _of_class(node: ast.ClassDef) -> dict[tuple[str, str], str]:
    found = {}
    for field, after in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
            value = after.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[node.name, field.target.id] = value.value
    return found
