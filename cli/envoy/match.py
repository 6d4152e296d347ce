"""Envoy's route matches as lbctl's.

The rule: a match that lbctl cannot express is an error; one that it reads a little differently is noted.
"""

from __future__ import annotations

import re

from cli.config.document import Value
from cli.config.errors import written_path
from cli.envoy.node import Node

Keys = dict[str, Value]
METHODS = re.compile(r"[A-Z]+(\|[A-Z]+)*")
TEXT_TESTS = ("exact", "prefix", "suffix", "contains", "safe_regex", "regex")
HEADER_TESTS = {
    "exact_match": "exact",
    "prefix_match": "prefix",
    "suffix_match": "suffix",
    "contains_match": "contains",
    "safe_regex_match": "safe_regex",
    "regex_match": "regex",
}


def match(node: Node) -> Keys:
    """The match of a RouteMatch; empty where it takes everything."""
    made = _path(node)
    headers: Keys = {}
    for each in node.nodes("headers"):
        _header(each, made, headers)
    if headers:
        made["headers"] = headers
    query: Keys = {}
    for each in node.nodes("query_parameters"):
        query[each.text("name")] = _parameter(each)
    if query:
        made["query"] = query
    for key in ("runtime", "runtime_fraction", "grpc", "tls_context", "dynamic_metadata", "filter_state", "cookies"):
        node.refuse(key, "lbctl matches by host, path, method, headers and query")
    return made


def _path(node: Node) -> Keys:
    folded = not node.flag("case_sensitive", True)
    if node.has("path"):
        path = node.text("path")
        return {"path_regex": f"(?i:{re.escape(path)})"} if folded else {"path": path}
    if node.has("safe_regex") or node.has("regex"):
        return {"path_regex": regex(node)}
    if node.has("connect_matcher"):
        node.skip("connect_matcher")
        return {"methods": ["CONNECT"]}
    if node.has("path_match_policy"):
        node.refuse("path_match_policy", "lbctl matches by path, path_prefix and path_regex")
        return {}
    whole = node.text("path_separated_prefix")
    prefix = whole or node.text("prefix")
    if prefix in ("", "/"):
        return {}
    if folded:
        return {"path_regex": f"(?i:{re.escape(prefix)}).*"}
    if not whole:
        _note_prefix(node, prefix)
    return {"path_prefix": prefix}


def _note_prefix(node: Node, prefix: str) -> None:
    """Envoy's prefixes are of characters, lbctl's of whole segments."""
    other = f"Envoy also takes {prefix}x" if not prefix.endswith("/") else f"lbctl also takes {prefix.rstrip('/')}"
    node.report.note(f"{written_path(node.place('prefix'))}: path_prefix {prefix} is of whole segments; {other}")


def regex(node: Node) -> str:
    """The text of `safe_regex` or of v2's `regex`."""
    if not node.has("safe_regex"):
        return node.text("regex")
    inner = node.node("safe_regex")
    if inner is None:
        return ""
    inner.skip("google_re2")
    return inner.text("regex")


def value_test(node: Node) -> Value:
    """How a StringMatcher's value must be; None, and a problem, where that cannot be said."""
    key = node.one_of(TEXT_TESTS)
    folded = node.flag("ignore_case")
    if key in ("safe_regex", "regex"):
        return {"regex": regex(node)}
    text = node.text(key) if key else ""
    if not key:
        node.refuse("custom", "lbctl compares texts")
        node.report.note(f"{written_path(node.path)}: an empty matcher matches every value")
        return {"present": True}
    if key in ("exact", "prefix") and not folded:
        return {key: text}
    pattern = {"exact": "{}", "prefix": "{}.*", "suffix": ".*{}", "contains": ".*{}.*"}[key].format(re.escape(text))
    return {"regex": f"(?i:{pattern})" if folded else pattern}


def _header(node: Node, made: Keys, headers: Keys) -> None:
    """One HeaderMatcher, into the match or its headers."""
    name = node.text("name")
    test = _header_test(node)
    inverted = node.flag("invert_match")
    node.refuse("treat_missing_header_as_empty", "lbctl tells a missing header from an empty one")
    if inverted and test not in ({"present": True}, {"present": False}):
        node.fail("invert_match", "cannot be imported: lbctl inverts presence alone")
    elif name == ":method":
        _method(node, test, made)
    elif name in (":authority", "host"):
        _authority(node, test, made)
    elif name.startswith(":"):
        node.fail("name", f"cannot be imported: {name} is no header")
    elif inverted:
        headers[name] = {"present": test == {"present": False}}
    else:
        headers[name] = test


def _header_test(node: Node) -> Value:
    if node.has("string_match"):
        inner = node.node("string_match")
        return {} if inner is None else value_test(inner)
    node.refuse("range_match", "lbctl compares texts")
    for key, test in HEADER_TESTS.items():
        if node.has(key):
            return _old_test(node, key, test)
    return {"present": node.flag("present_match", True)}


def _old_test(node: Node, key: str, test: str) -> Value:
    if test == "safe_regex":
        inner = node.node(key)
        if inner is not None:
            inner.skip("google_re2")
        return {"regex": inner.text("regex") if inner is not None else ""}
    text = node.text(key)
    if test in ("exact", "prefix", "regex"):
        return {test: text}
    return {"regex": (".*" if test == "suffix" else ".*{}.*").replace("{}", re.escape(text)) + _ending(test, text)}


def _ending(test: str, text: str) -> str:
    return re.escape(text) if test == "suffix" else ""


def _method(node: Node, test: Value, made: Keys) -> None:
    found = test if isinstance(test, dict) else {}
    text = str(found.get("exact") or found.get("regex") or "")
    if not METHODS.fullmatch(text.strip("()")):
        node.fail("name", "cannot be imported: write the methods as exact texts, or GET|POST as a regex")
    made["methods"] = list(text.strip("()").split("|"))


def _authority(node: Node, test: Value, made: Keys) -> None:
    text = test.get("exact") if isinstance(test, dict) else None
    if not isinstance(text, str):
        node.fail("name", "cannot be imported: lbctl matches hosts as exact texts or *.wildcards")
        return
    made["host"] = text.partition(":")[0]


def _parameter(node: Node) -> Value:
    if node.has("string_match"):
        inner = node.node("string_match")
        return {} if inner is None else value_test(inner)
    if node.has("value"):
        text = node.text("value")
        return {"regex": text} if node.flag("regex") else {"exact": text}
    node.skip("regex")
    return {"present": node.flag("present_match", True)}
