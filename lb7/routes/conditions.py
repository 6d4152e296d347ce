"""What a route asks of a request beside its host and path: the method, headers and query parameters.

The rule: all conditions must hold. A header sent several times counts as one value joined by `, ` (RFC 9110 section
5.3); of a query parameter given several times any value may match. Regexes match the whole value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl

from lb7.model import Header, Match, ValueMatch, ValueTest

Condition = Callable[[str, str, Sequence[Header]], bool]
ValueCheck = Callable[[str], bool]


def conditions(match: Match) -> tuple[Condition, ...]:
    """The checks of (method, query, headers) that this match asks for, cheapest first."""
    methods = (_method(frozenset(match.methods)),) if match.methods else ()
    return (*methods, *map(_header, match.headers), *map(_parameter, match.query))


def header_value(headers: Sequence[Header], name: bytes) -> str | None:
    """The combined value of a header field, name in lower case; None where it is missing."""
    values = [value for key, value in headers if len(key) == len(name) and key.lower() == name]
    return b", ".join(values).decode("latin-1") if values else None


def _method(methods: frozenset[str]) -> Condition:
    return lambda method, query, headers: method in methods


def _header(wanted: ValueMatch) -> Condition:
    name, check = wanted.name.lower().encode("latin-1"), _value_check(wanted)

    def holds(method: str, query: str, headers: Sequence[Header]) -> bool:
        value = header_value(headers, name)
        return value is not None and check(value)

    return _negated(holds) if wanted.test is ValueTest.ABSENT else holds


def _parameter(wanted: ValueMatch) -> Condition:
    check = _value_check(wanted)

    def holds(method: str, query: str, headers: Sequence[Header]) -> bool:
        return any(name == wanted.name and check(value) for name, value in parse_qsl(query, keep_blank_values=True))

    return _negated(holds) if wanted.test is ValueTest.ABSENT else holds


def _negated(condition: Condition) -> Condition:
    return lambda method, query, headers: not condition(method, query, headers)


def _value_check(wanted: ValueMatch) -> ValueCheck:
    """The check of a value that is there; of `absent`, the one that every value passes, to be negated."""
    match wanted.test:
        case ValueTest.EXACT:
            return wanted.value.__eq__
        case ValueTest.PREFIX:
            return lambda value: value.startswith(wanted.value)
        case ValueTest.REGEX:
            pattern = re.compile(wanted.value)
            return lambda value: pattern.fullmatch(value) is not None
        case _:
            return lambda value: True


def described(match: Match) -> str:
    """The match in words, for explanations: `host api.example.org, path /ping, method GET`."""
    hosts = [f"host {' or '.join(match.hosts)}"] if match.hosts else []
    paths = [f"{word} {value}" for word, value in _paths(match) if value]
    methods = [f"method {' or '.join(match.methods)}"] if match.methods else []
    values = [_value_described("header", v) for v in match.headers] + [
        _value_described("query", v) for v in match.query
    ]
    return ", ".join([*hosts, *paths, *methods, *values]) or "every request"


def _paths(match: Match) -> tuple[tuple[str, str], ...]:
    return (("path", match.path), ("path prefix", match.path_prefix), ("path regex", match.path_regex))


def _value_described(what: str, wanted: ValueMatch) -> str:
    test = {ValueTest.EXACT: "=", ValueTest.PREFIX: "starts with", ValueTest.REGEX: "matches"}.get(wanted.test)
    return f"{what} {wanted.name} {f'{test} {wanted.value}' if test else wanted.test.value}"
