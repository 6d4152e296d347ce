"""Request targets, brought to one spelling before anything is decided on them.

The rule: what was matched is what is sent. Two spellings of one resource (RFC 3986 section 6.2.2) become the same
target, the backend gets that one, and what a backend could read as another path than we do is refused:

- `%70` and `p` are one (unreserved characters are decoded), the hex digits of other escapes become upper case;
- `.` and `..` segments are resolved; a path that climbs above its root is refused;
- `%2F` and `%5C` stay encoded and never part segments; a path where decoding them would make a `.` or `..` segment
  is refused, and so are `..;` (path parameters that some servers cut off), `%00`, and `%` without two hex digits;
- a backslash and bytes outside ASCII are percent-encoded;
- repeated slashes are kept for the backend, but routes see one (`//admin` is `/admin` to them).

The query is passed on as it came.
"""

from __future__ import annotations

import re

UNUSUAL = re.compile(r"[^!$&-.0-:=@-Z_a-z~/]|/[./]")
ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})?")
UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
OUTSIDE_URI = re.compile(r"[^!-~]|[\\\"<>^`{|}]")
HIDDEN_SEPARATOR = re.compile(r"%2F|%5C")
SLASHES = re.compile(r"//+")
DOTS = frozenset((".", ".."))


class TargetError(ValueError):
    """The request target is ambiguous or malformed: the answer is 400. The message says what is wrong with it."""


def normalised_target(target: str) -> str:
    """The origin-form target (RFC 9112 section 3.2.1) in its one spelling; `*` is itself. Raises TargetError."""
    path, mark, query = target.partition("?")
    return target if UNUSUAL.search(path) is None and path[:1] == "/" else normalised_path(path) + mark + query


def normalised_path(path: str) -> str:
    """The path in its one spelling. Raises TargetError."""
    if path == "*":
        return path
    if path[:1] != "/":
        raise TargetError("the request target does not start with a slash")
    return _resolved(ESCAPE.sub(_spelled, OUTSIDE_URI.sub(_encoded, path)))


def route_key(path: str) -> str:
    """What routes compare: the normalised path with repeated slashes as one."""
    return SLASHES.sub("/", path) if "//" in path else path


def _encoded(found: re.Match[str]) -> str:
    if found[0] <= " " or found[0] == "\x7f":
        raise TargetError("the path holds a control character or a space")
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape"))


def _spelled(found: re.Match[str]) -> str:
    if found[1] is None:
        raise TargetError("the path holds a % that two hex digits do not follow")
    if found[1] == "00":
        raise TargetError("the path holds a NUL")
    character = chr(int(found[1], 16))
    return character if UNRESERVED.match(character) else found[0].upper()


def _resolved(path: str) -> str:
    """RFC 3986 section 5.2.4, but climbing above the root is an error."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for place, segment in enumerate(segments):
        _refuse_disguised(segment)
        if segment not in DOTS:
            kept.append(segment)
            continue
        if segment == "..":
            if not kept:
                raise TargetError("the path climbs above its root")
            kept.pop()
        if place == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def _refuse_disguised(segment: str) -> None:
    """A segment that some backend could take for `.` or `..` while we do not."""
    parts = HIDDEN_SEPARATOR.split(segment)
    if len(parts) > 1 and not DOTS.isdisjoint(part.partition(";")[0] for part in parts):
        raise TargetError("the path hides a . or .. segment behind an encoded slash")
    if ";" in segment and segment.partition(";")[0] in DOTS:
        raise TargetError("the path hides a . or .. segment behind a path parameter")
