"""A mapping of an Envoy document that is read field by field.

The rule: every field is asked for by somebody, or it is an error that names it; reading goes on after an error, so
that all of them are told at once. Names are taken in snake_case and in protobuf's camelCase (protobuf JSON mapping).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from cli.config.document import Value
from cli.config.errors import KeyPath, Problem, listed, shown, written_path

T = TypeVar("T")
HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")
DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)s")


@dataclass(slots=True)
class Report:
    """What was found wrong, what lbctl does differently, and which mappings were read."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    read: list[Node] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Something that differs, told once."""
        if text not in self.notes:
            self.notes.append(text)

    def unread(self) -> Iterator[Problem]:
        """A problem for every field that nobody asked for."""
        for node in self.read:
            yield from (Problem((*node.path, node.written[key]), "unknown field") for key in node.left())


class Node:
    """One mapping at its path."""

    __slots__ = ("_asked", "_values", "path", "report", "written")

    def __init__(self, value: Mapping[str, Value], path: KeyPath, report: Report) -> None:
        self.written = {HUMP.sub(r"_\1", key).lower() if key[:1] != "@" else key: key for key in value}
        self._values = {key: value[name] for key, name in self.written.items()}
        self._asked: set[str] = set()
        self.path = path
        self.report = report
        report.read.append(self)

    def left(self) -> list[str]:
        """The fields that nobody asked for."""
        return [key for key in self._values if key not in self._asked]

    def has(self, key: str) -> bool:
        """Whether the field is there and not null; asking so does not count."""
        return self._values.get(key) is not None

    def raw(self, key: str) -> Value:
        """The field as it is; None where it is missing."""
        self._asked.add(key)
        return self._values.get(key)

    def place(self, key: str) -> KeyPath:
        """The path of a field."""
        return (*self.path, self.written.get(key, key))

    def fail(self, key: str, message: str) -> None:
        """Something is wrong with a field, or it is missing."""
        self._asked.add(key)
        there = key in self._values
        self.report.problems.append(
            Problem(self.place(key) if there else self.path, message if there else f"{key} {message}")
        )

    def refuse(self, key: str, reason: str) -> None:
        """A field that lbctl cannot honour, where it is there."""
        if self.has(key):
            self.fail(key, f"cannot be imported: {reason}")

    def skip(self, *keys: str) -> None:
        """Fields that mean nothing to traffic."""
        self._asked.update(keys)

    def differs(self, text: str, *keys: str) -> None:
        """Fields that are not carried over, which is noted where one is there."""
        for key in keys:
            if self.has(key):
                self.report.note(f"{written_path(self.place(key))}: {text}")
            self._asked.add(key)

    def node(self, key: str) -> Node | None:
        """A mapping."""
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, dict):
            return Node(value, self.place(key), self.report)
        self.fail(key, f"{shown(value)} is not a mapping")
        return None

    def nodes(self, key: str) -> list[Node]:
        """A list of mappings."""
        found = []
        for number, value in enumerate(self._list(key)):
            if isinstance(value, dict):
                found.append(Node(value, (*self.place(key), number), self.report))
            else:
                self.report.problems.append(Problem((*self.place(key), number), f"{shown(value)} is not a mapping"))
        return found

    def texts(self, key: str) -> list[str]:
        """A list of texts."""
        values = self._list(key)
        if not all(isinstance(value, str) for value in values):
            self.fail(key, "is not a list of texts")
        return [value for value in values if isinstance(value, str)]

    def _list(self, key: str) -> list[Value]:
        value = self.raw(key)
        if value is None or isinstance(value, list):
            return value or []
        self.fail(key, f"{shown(value)} is not a list")
        return []

    def text(self, key: str) -> str:
        """A text, empty where it is missing."""
        value = self.raw(key)
        if value is None or isinstance(value, str):
            return value or ""
        self.fail(key, f"{shown(value)} is not a text")
        return ""

    def flag(self, key: str, standard: bool = False) -> bool:
        """A boolean, or the standard where it is missing."""
        value = self.raw(key)
        if value is None:
            return standard
        if not isinstance(value, bool):
            self.fail(key, f"{shown(value)} is not true or false")
        return value is True

    def number(self, key: str) -> float | None:
        """A number, which protobuf's JSON may write as a text."""
        value = self.raw(key)
        try:
            if isinstance(value, int | float | str) and not isinstance(value, bool):
                return float(value)
        except ValueError:
            pass
        if value is not None:
            self.fail(key, f"{shown(value)} is not a number")
        return None

    def whole(self, key: str) -> int | None:
        """A whole number."""
        number = self.number(key)
        return None if number is None else int(number)

    def seconds(self, key: str) -> float | None:
        """A duration: `0.25s`, or a mapping of seconds and nanos."""
        value = self._values.get(key)
        if isinstance(value, dict):
            parts = self.node(key)
            assert parts is not None
            return (parts.number("seconds") or 0) + (parts.number("nanos") or 0) / 1e9
        found = DURATION.fullmatch(value) if isinstance(value, str) else None
        self._asked.add(key)
        if found is None and value is not None:
            self.fail(key, f"{shown(value)} is not a duration such as 0.25s")
        return float(found[1]) if found else None

    def choice(self, key: str, known: Mapping[str, T], standard: T) -> T:
        """One of the names of an enumeration, in upper or lower case, as the value it stands for."""
        value = self.raw(key)
        if value is None:
            return standard
        found = known.get(value.upper()) if isinstance(value, str) else None
        if found is None:
            self.fail(key, f"{shown(value)} cannot be imported; known are {listed(known)}")
            return standard
        return found

    def one_of(self, keys: Iterable[str]) -> str:
        """The first of the fields that is there; empty where none is."""
        return next((key for key in keys if self.has(key)), "")


def duration(seconds: float) -> str | int:
    """Seconds as lbctl writes them."""
    if seconds == 0:
        return 0
    milliseconds = max(1, round(seconds * 1000))
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"
