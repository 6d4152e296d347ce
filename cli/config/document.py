"""YAML text to plain values, and from a path of keys to a line.

The rule: any text ends in a value or in a Problem with its line; nothing in it can make reading recurse, grow beyond
VALUES_MAX values (what aliases stand for is counted), or build anything but texts, numbers, booleans, nulls, lists
and mappings.

Scalars are what YAML 1.1 and 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema) agree on: `on`, `no`, `12:30`, `1e3`
and `017` are texts.
Keys are always texts. Merge keys (`<<`) and aliases are taken, duplicate keys are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import cast

from yaml import YAMLError
from yaml._yaml import CParser
from yaml.error import Mark
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from cli.config.errors import KeyPath, Problem, shown

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]

DEPTH_MAX = 32
VALUES_MAX = 2_000_000
ALIASED_MAX = 500_000
CORE: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
CORE |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,18})|0x[0-9a-fA-F]{1,16}")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+][0-9]{1,3})?")
NUMBER_STARTS = frozenset("-+.0123456789")
TAG = "tag:yaml.org,2002:"


class DocumentError(Exception):
    """The text is no document that can be read: one problem, with its line."""

    def __init__(self, line: int | None, message: str) -> None:
        self.problem = Problem((), message, line)
        super().__init__(message)


@dataclass(slots=True)
class Place:
    """Where a value stands: its line from 1, and the places of what is in it."""

    line: int
    inside: dict[str, Place] | list[Place] | None = None


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read."""

    value: list[Value] | dict[str, Value]
    place: Place
    anchor: str | None
    size: int = 1
    key: str | None = None
    key_line: int = 0
    merged: list[tuple[dict[str, Value], Place]] = field(default_factory=list)


def read(text: str) -> tuple[Value, Place]:
    """The values of the one document in the text, and where each stands. Raises DocumentError."""
    return _Reader(text).read()


def place_at(place: Place, path: KeyPath) -> tuple[int, KeyPath]:
    """The line of the deepest value of the path that there is, and the path to it."""
    for depth, part in enumerate(path):
        inside = place.inside
        known = inside.get(str(part)) if isinstance(inside, dict) else _item(inside, part)
        if known is None:
            return place.line, path[:depth]
        place = known
    return place.line, path


def _item(inside: list[Place] | None, part: str | int) -> Place | None:
    return inside[part] if inside and isinstance(part, int) and part < len(inside) else None


class _Reader:
    """One pass over the parser's events, with a stack of its own instead of recursion."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Value, Place, int]] = {}
        self.root: tuple[Value, Place] | None = None
        self.count = 0
        self.aliased = 0
        self.documents = 0

    def read(self) -> tuple[Value, Place]:
        try:
            parser = CParser(self.text)
            try:
                while (event := parser.get_event()) is not None:
                    self.take(event)
            finally:
                parser.dispose()
        except YAMLError as error:
            raise DocumentError(*_said(error, self.text)) from None
        except UnicodeEncodeError:
            raise DocumentError(
                None, "the text is not Unicode: it has lone surrogates; save the file as UTF-8"
            ) from None
        return self.root or (None, Place(1))

    def take(self, event: Event) -> None:
        kind = type(event)
        if kind is ScalarEvent:
            self.scalar(cast(ScalarEvent, event))
        elif kind is MappingStartEvent or kind is SequenceStartEvent:
            self.opened(cast("MappingStartEvent | SequenceStartEvent", event))
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            self.closed()
        elif kind is AliasEvent:
            self.alias(cast(AliasEvent, event))
        elif kind is DocumentStartEvent:
            self.documents += 1
            if self.documents > 1:
                raise DocumentError(_line(event), "a second document starts here; write one document to a file")

    def scalar(self, event: ScalarEvent) -> None:
        if self.stack and self._takes_key(self.stack[-1]):
            self._key(event.value, _line(event))
            return
        value = _scalar(event)
        place = Place(_line(event))
        if event.anchor:
            self.anchors[event.anchor] = (value, place, 1)
        self.add(value, place, 1)

    def opened(self, event: MappingStartEvent | SequenceStartEvent) -> None:
        line = _line(event)
        self._refuse_as_key(line)
        if len(self.stack) >= DEPTH_MAX:
            raise DocumentError(line, f"more than {DEPTH_MAX} levels of nesting")
        mapping = type(event) is MappingStartEvent
        _check_tag(event, "map" if mapping else "seq")
        if mapping:
            self.stack.append(_Open({}, Place(line, {}), event.anchor))
        else:
            self.stack.append(_Open([], Place(line, []), event.anchor))
        # An anchor inside itself would be a value without end: it is known again only when it is closed.
        self.anchors.pop(event.anchor or "", None)

    def closed(self) -> None:
        done = self.stack.pop()
        _merge(done)
        if done.anchor:
            self.anchors[done.anchor] = (done.value, done.place, done.size)
        self.add(done.value, done.place, done.size)

    def alias(self, event: AliasEvent) -> None:
        line = _line(event)
        self._refuse_as_key(line)
        known = self.anchors.get(event.anchor or "")
        if known is None:
            raise DocumentError(line, f"the alias *{event.anchor} names no anchor before it")
        value, place, size = known
        self.aliased += size
        if self.aliased > ALIASED_MAX:
            raise DocumentError(line, "the aliases of this file stand for too many values")
        self.add(value, Place(line, place.inside), size)

    def add(self, value: Value, place: Place, size: int) -> None:
        self.count += 1
        if self.count > VALUES_MAX:
            raise DocumentError(place.line, f"more than {VALUES_MAX} values")
        if not self.stack:
            self.root = (value, place)
            return
        top = self.stack[-1]
        top.size += size
        if isinstance(top.value, list):
            top.value.append(value)
            cast("list[Place]", top.place.inside).append(place)
        else:
            self._pair(top, value, place)

    def _pair(self, top: _Open, value: Value, place: Place) -> None:
        key, top.key = cast(str, top.key), None
        if key == "<<":
            top.merged.extend(_mergeable(value, place))
            return
        cast("dict[str, Value]", top.value)[key] = value
        cast("dict[str, Place]", top.place.inside)[key] = Place(top.key_line, place.inside)

    def _key(self, key: str, line: int) -> None:
        top = self.stack[-1]
        if key in cast("dict[str, Value]", top.value):
            first = cast("dict[str, Place]", top.place.inside)[key].line
            raise DocumentError(line, f"the key {shown(key)} stands here a second time; the first is in line {first}")
        top.key, top.key_line = key, line

    def _takes_key(self, top: _Open) -> bool:
        return top.key is None and type(top.value) is dict

    def _refuse_as_key(self, line: int) -> None:
        if self.stack and self._takes_key(self.stack[-1]):
            raise DocumentError(line, "a key must be a plain text")


def _merge(done: _Open) -> None:
    """A mapping's own keys win over merged ones, earlier merged ones over later (https://yaml.org/type/merge.html)."""
    for value, place in done.merged:
        for key, inner in value.items():
            own = cast("dict[str, Value]", done.value)
            if key not in own:
                own[key] = inner
                cast("dict[str, Place]", done.place.inside)[key] = cast("dict[str, Place]", place.inside)[key]


def _mergeable(value: Value, place: Place) -> list[tuple[dict[str, Value], Place]]:
    if isinstance(value, dict):
        return [(value, place)]
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return list(zip(cast("list[dict[str, Value]]", value), cast("list[Place]", place.inside), strict=True))
    raise DocumentError(place.line, "<< takes a mapping or a list of mappings")


def _scalar(event: ScalarEvent) -> Value:
    text = event.value
    if event.tag is not None:
        return _tagged(event, text)
    if not event.implicit[0]:
        return text
    return _plain(text)


def _plain(text: str) -> Value:
    if text in CORE:
        return CORE[text]
    if text[0] in NUMBER_STARTS:
        if INTEGER.fullmatch(text):
            return int(text, 0)
        if FLOAT.fullmatch(text):
            return float(text)
    return text


def _tagged(event: ScalarEvent, text: str) -> Value:
    if event.tag in ("!", TAG + "str"):
        return text
    value = _plain(text)
    wanted: dict[str, type | tuple[type, ...]] = {
        TAG + "int": int,
        TAG + "float": (int, float),
        TAG + "bool": bool,
        TAG + "null": type(None),
    }
    if event.tag not in wanted:
        raise DocumentError(_line(event), f"the tag {shown(event.tag)} means nothing here; leave it out")
    if not isinstance(value, wanted[event.tag]):
        raise DocumentError(_line(event), f"{shown(text)} is not what its tag {shown(event.tag)} says")
    return value


def _check_tag(event: NodeEvent, kind: str) -> None:
    tag = getattr(event, "tag", None)
    if tag not in (None, "!", TAG + kind):
        raise DocumentError(_line(event), f"the tag {shown(tag)} means nothing here; leave it out")


def _line(event: Event) -> int:
    return cast(Mark, event.start_mark).line + 1


def _said(error: YAMLError, text: str) -> tuple[int | None, str]:
    """The line and the words of libyaml's error."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        context = getattr(error, "context", None)
        words = ", ".join(part for part in (getattr(error, "problem", None), context) if part)
        return mark.line + 1, f"this is not YAML: {words or 'it cannot be read'}"
    position = getattr(error, "position", None)
    line = text.encode("utf-8", "replace")[:position].count(b"\n") + 1 if isinstance(position, int) else None
    return line, f"this is not YAML: {getattr(error, 'reason', 'it cannot be read')}"
