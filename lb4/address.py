"""Addresses: an IP with a port or a range of ports, and how each is written.

The rule: an IPv6 address with a port stands in brackets (RFC 3986 section 3.2.2); host bits and names are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

IPAddress = IPv4Address | IPv6Address
Family = Literal["ip", "ip6"]
FAMILIES: tuple[Family, Family] = ("ip", "ip6")
PORT_MAX = 65535


class AddressError(ValueError):
    """The text is no address of the wanted form; the message says what was wrong and what would be right."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One IP address and one port; port None means: the port the client asked for."""

    ip: IPAddress
    port: int | None = None

    @property
    def family(self) -> Family:
        """`ip` for IPv4, `ip6` for IPv6."""
        return family_of(self.ip)

    def __str__(self) -> str:
        return written(self.ip, None if self.port is None else str(self.port))


@dataclass(frozen=True, slots=True, order=True)
class Bind:
    """One IP address and the ports first to last, both included, where a listener's clients arrive."""

    ip: IPAddress
    first: int
    last: int

    @property
    def family(self) -> Family:
        """`ip` for IPv4, `ip6` for IPv6."""
        return family_of(self.ip)

    @property
    def is_range(self) -> bool:
        """Whether it holds more than one port."""
        return self.first != self.last

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for every address of the host (`0.0.0.0` or `[::]`)."""
        return self.ip.is_unspecified

    def overlaps(self, other: Bind) -> bool:
        """Whether some packet would arrive at both."""
        same_ip = self.ip == other.ip or (self.family == other.family and (self.is_wildcard or other.is_wildcard))
        return same_ip and self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return written(self.ip, f"{self.first}-{self.last}" if self.is_range else str(self.first))


def family_of(ip: IPAddress) -> Family:
    """The address family of an address, in nft's words."""
    return "ip" if isinstance(ip, IPv4Address) else "ip6"


def written(ip: IPAddress, port: str | None) -> str:
    """The address and the port as people write them: `10.0.0.1:80`, `[2001:db8::1]:80`, `10.0.0.1`."""
    if port is None:
        return str(ip)
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"


def parse_endpoint(text: str) -> Endpoint:
    """`10.0.0.1`, `10.0.0.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`. Raises AddressError."""
    host, port = split_port(text)
    return Endpoint(parse_ip(host), None if port is None else parse_port(port))


def parse_bind(text: str) -> Bind:
    """An address and a port or a range of ports: `192.0.2.1:80`, `[::]:8000-8099`. Raises AddressError."""
    host, port = split_port(text)
    if port is None:
        raise AddressError(f"{text!r} has no port; write {written_example(host)}")
    first, dash, last = port.partition("-")
    bind = Bind(parse_ip(host), parse_port(first), parse_port(last if dash else first))
    if bind.first > bind.last:
        raise AddressError(f"the range {port} ends before it starts")
    return bind


def split_port(text: str) -> tuple[str, str | None]:
    """Host and port as texts, the port None where there is none. Raises AddressError on unbalanced brackets."""
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise AddressError(f"{text!r} is not of the form [ADDRESS]:PORT")
        return host, rest[1:] if rest else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, None


def parse_ip(text: str) -> IPAddress:
    """An IPv4 or IPv6 address. Raises AddressError."""
    try:
        return ip_address(text)
    except ValueError:
        raise AddressError(f"{text!r} is not an IPv4 or IPv6 address") from None


def parse_port(text: str) -> int:
    """A port from 1 to 65535. Raises AddressError."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= PORT_MAX):
        raise AddressError(f"{text!r} is not a port from 1 to {PORT_MAX}")
    return int(text)


def written_example(host: str) -> str:
    """How the host would be written with a port, for error messages."""
    return f"[{host}]:80" if ":" in host else f"{host}:80"
