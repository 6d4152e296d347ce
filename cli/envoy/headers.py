"""Envoy's header changes as lbctl's `headers`.

The rule: values are constants; what Envoy fills in by %COMMANDS% is not imported.
"""

from __future__ import annotations

from cli.config.document import Value
from cli.envoy.node import Node

Keys = dict[str, Value]
SETS = {
    "APPEND_IF_EXISTS_OR_ADD": False,
    "OVERWRITE_IF_EXISTS_OR_ADD": True,
    "ADD_IF_ABSENT": False,
    "OVERWRITE_IF_EXISTS": True,
}


def headers(node: Node) -> Keys:
    """The header changes of a route, virtual host or route configuration; empty where there are none."""
    found = {direction: _changes(node, direction) for direction in ("request", "response")}
    return {direction: changes for direction, changes in found.items() if changes}


def _changes(node: Node, direction: str) -> Keys:
    made: dict[str, dict[str, Value]] = {"set": {}, "add": {}}
    for option in node.nodes(f"{direction}_headers_to_add"):
        header = option.node("header")
        if header is None:
            option.fail("header", "is missing")
            continue
        option.skip("keep_empty_value")
        append = option.raw("append") is not False and not option.choice("append_action", SETS, False)
        name, value = header.text("key"), header.text("value")
        if "%" in value.replace("%%", ""):
            header.fail("value", "cannot be imported: lbctl sets constants; write it without %COMMANDS%")
        made["add" if append else "set"][name] = value.replace("%%", "%")
    removed: list[Value] = list(node.texts(f"{direction}_headers_to_remove"))
    named: Keys = {key: values for key, values in made.items() if values}
    return named | ({"remove": removed} if removed else {})


def merged(first: Keys, second: Keys) -> Keys:
    """Both changes, direction by direction."""
    result: Keys = {}
    for direction in ("request", "response"):
        both: Keys = {}
        for each in (first.get(direction), second.get(direction)):
            for key, value in each.items() if isinstance(each, dict) else ():
                before = both.get(key)
                if isinstance(before, dict) and isinstance(value, dict):
                    both[key] = before | value
                elif isinstance(before, list) and isinstance(value, list):
                    both[key] = before + value
                else:
                    both[key] = value
        if both:
            result[direction] = both
    return result
