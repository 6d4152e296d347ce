"""The small texts of the configuration file: durations, rates, sizes, addresses, prefixes, schedulers.

The rule: each reads one text and raises ValueError that says what was wrong and what would be right.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from math import inf

from cli.config.errors import listed, meant, shown
from lb4.address import AddressError, Bind, Endpoint, IPAddress, parse_bind, parse_endpoint, parse_ip, parse_port
from lb4.model import IPNetwork, Rate, Scheduler, SchedulerKind

DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION_MAX = 366 * 86400.0
RATE = re.compile(r"([0-9]{1,9})/(s|m|h)")
SIZE = re.compile(r"([0-9]{1,15})(B|KiB|MiB|GiB|kB|MB|GB)?")
BYTES = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
STATUSES = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|\\)")
DNS_NAME = re.compile(r"(?=.{1,253}\.?$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?")
PYTHON_NAME = re.compile(r"python:([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")
SCHEDULERS = {kind.value: Scheduler(kind) for kind in SchedulerKind if kind is not SchedulerKind.PYTHON}


def server_name(value: str) -> str:
    """A name that TLS can ask for: every label has 1 to 63 bytes."""
    try:
        value.encode("idna")
    except UnicodeError:
        raise ValueError(f"{shown(value)} is no host name: between its dots stand 1 to 63 characters") from None
    return value


def duration(value: object) -> float:
    """Seconds of `250ms`, `2s`, `10m`, `1h`, `1d` or a plain 0."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        raise ValueError(f"{shown(value)} is not a duration; write {f'{value}s' if number else '250ms, 2s, 10m or 1h'}")
    seconds = float(match[1]) * SECONDS[match[2]]
    if seconds > DURATION_MAX:
        raise ValueError(f"{shown(value)} is longer than a year")
    return seconds


def rate(value: object) -> Rate:
    """Events per time of `100/s`, `10/m`, `5/h`."""
    match = RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{shown(value)} is not a rate; write 100/s, 10/m or 5/h")
    return Rate(int(match[1]), int(SECONDS[match[2]]))


def size(value: object) -> int:
    """Bytes of `64KiB`, `10MB`, `512`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{shown(value)} is not a size; write 512, 64KiB, 10MiB or 1GiB")
    return int(match[1]) * BYTES[match[2] or ""]


def fraction(value: object) -> float:
    """A fraction from 0 to 1 of `0.5` or `50%`."""
    number: float = inf
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?%", value):
        number = float(value[:-1]) / 100
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(f"{shown(value)} is not a fraction; write 0.5 or 50%")
    return number


def statuses(value: object) -> tuple[int, int]:
    """The first and last HTTP status of `200` or `200-299`."""
    match = STATUSES.fullmatch(str(value)) if isinstance(value, int | str) else None
    if match is None or int(match[2] or match[1]) < int(match[1]):
        raise ValueError(f"{shown(value)} is not an HTTP status or a range of them; write 200 or 200-299")
    return int(match[1]), int(match[2] or match[1])


def payload(text: str) -> bytes:
    """The bytes of a text in which `\\xNN` stands for a byte and `\\\\` for a backslash."""
    return ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()) if found[1] else b"\\", text.encode())


def bind(value: object) -> Bind:
    """`192.0.2.10:80`, `[2001:db8::10]:80`, `192.0.2.10:30000-30099`."""
    text = _text(value, "an address and a port such as 192.0.2.10:80 or [2001:db8::10]:80")
    try:
        return parse_bind(text)
    except AddressError as error:
        raise ValueError(_within(text, error)) from None


def endpoint(value: object) -> Endpoint:
    """An address with or without a port."""
    text = _text(value, "an address such as 10.0.1.2:8080 or [2001:db8::2]:8080")
    try:
        return parse_endpoint(text)
    except AddressError as error:
        raise ValueError(_within(text, error)) from None


def target(value: object) -> Endpoint | tuple[str, int]:
    """What a backend is: an address with or without a port, or the name and port of `dns:payments.internal:8080`."""
    if not (isinstance(value, str) and value.startswith("dns:")):
        return endpoint(value)
    name, _, port = value[4:].rpartition(":")
    if not DNS_NAME.fullmatch(name):
        raise ValueError(f"{shown(value)} does not name a host and a port; write dns:payments.internal:8080")
    try:
        return name, parse_port(port)
    except AddressError as error:
        raise ValueError(_within(value, error)) from None


def address(value: object) -> IPAddress:
    """An address without a port."""
    text = _text(value, "an address such as 192.0.2.20")
    try:
        return parse_ip(text)
    except AddressError as error:
        raise ValueError(str(error)) from None


def prefix(value: object) -> IPNetwork:
    """`10.0.0.0/8`, `2001:db8::/32`, or one address."""
    text = _text(value, "an address prefix such as 10.0.0.0/8")
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(_prefix_advice(text)) from None


def scheduler(value: object) -> Scheduler:
    """`round-robin`, …, or `python:module:function`."""
    text = _text(value, f"a scheduler: {listed(SCHEDULERS)}")
    known = SCHEDULERS.get(text)
    if known is not None:
        return known
    python = PYTHON_NAME.fullmatch(text)
    if python is not None:
        return Scheduler(SchedulerKind.PYTHON, python[1], python[2])
    if text.startswith("python"):
        raise ValueError(f"{shown(value)} does not name a module and a function; write python:mymodule:pick")
    raise ValueError(
        f"{shown(value)} is not a scheduler; write {listed([*SCHEDULERS, 'python:module:function'])}"
        f"{meant(text, SCHEDULERS)}"
    )


def _text(value: object, wanted: str) -> str:
    if isinstance(value, str):
        return value
    raise ValueError(f"{shown(value)} is not {wanted}")


def _within(text: str, error: AddressError) -> str:
    message = str(error)
    return message if message.startswith(repr(text)) else f"{shown(text)}: {message}"


def _prefix_advice(text: str) -> str:
    try:
        wide = ip_network(text, strict=False)
    except ValueError:
        return f"{shown(text)} is not an address prefix; write 10.0.0.0/8, 2001:db8::/32 or one address"
    return f"{shown(text)} has bits beyond its prefix length; write {wide}"
