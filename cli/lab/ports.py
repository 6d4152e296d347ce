"""Ports given on a command line: one, or the first and last of several.

The rule: both ends are included.
"""

from __future__ import annotations

PortRange = range


def parse_ports(text: str) -> PortRange:
    """`8080` or `30000-30009`. Raises ValueError."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def written_ports(ports: PortRange) -> str:
    """The ports as parse_ports reads them."""
    return str(ports[0]) if len(ports) == 1 else f"{ports[0]}-{ports[-1]}"
