"""`doctor`: gathers what is so on this host, has lb4.doctor.findings judge it, and mends what may be mended unasked.

The rule: only safe settings are written, and those below /proc/sys, in the network namespace lbctl is in.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path
from struct import Struct

from cli.operations.context import Context
from cli.operations.documents import DoctorDocument, FindingDocument
from cli.operations.error import OperationError
from cli.operations.transition import difference, table_of
from cli.operations.wanted import EMPTY, in_force
from lb4.address import Endpoint, IPAddress
from lb4.conntrack.attribution import Attribution
from lb4.conntrack.table import ConntrackError
from lb4.doctor.findings import BRIDGE, CONNTRACK, FORWARD4, FORWARD6, LOCAL_PORTS, Facts, Finding, findings
from lb4.doctor.foreign import foreign_chains
from lb4.kernel.interface import KernelError
from lb4.model import Balancer, Protocol
from lb4.packet.queue_choice import chosen

SYS = Path("/proc/sys")
TRACKING = ("max", "buckets", "tcp_timeout_established", "tcp_be_liberal")
PER_INTERFACE = ("rp_filter", "accept_local")

SIOCGIFMTU = 0x8921
IFREQ = Struct("16si20x")
"""netdevice(7): struct ifreq with ifr_mtu, 40 bytes on 64-bit machines."""

RTF_DEFAULT, RTF_ADDRCONF = 0x00010000, 0x00040000
"""linux/ipv6_route.h: a default route, one learnt from router advertisements."""


def doctor(context: Context, *, fix: bool = False) -> DoctorDocument:
    """All findings for what is in force here. fix: those that are safe are mended. Raises OperationError."""
    try:
        found = in_force(context)
        broken = None
    except OperationError as error:
        found, broken = None, Finding("problem", "configuration", str(error), "lbctl apply FILE")
    balancer = EMPTY if found is None else found.balancer
    judged = [
        *([broken] if broken else []),
        *drift(context, balancer, "" if found is None else found.remembered.path),
        *findings(facts(context, balancer), balancer),
    ]
    return {"findings": [mended(finding) if fix and finding.safe else document(finding) for finding in judged]}


def document(finding: Finding) -> FindingDocument:
    """The document of one finding."""
    return {
        "level": finding.level,
        "name": finding.name,
        "what": finding.what,
        "fix": finding.fix,
        "safe": finding.safe,
    }


def mended(finding: Finding) -> FindingDocument:
    """The same after its setting was written; where that fails, it says why."""
    told = document(finding)
    if finding.setting is None:
        return told
    path, value = finding.setting
    try:
        (SYS / path).write_text(value)
    except OSError as error:
        return {**told, "what": f"{finding.what} (not mended: {error.strerror})", "fixed": False}
    return {**told, "fixed": True}


def drift(context: Context, balancer: Balancer, path: str) -> list[Finding]:
    """Whether the kernel has what was applied."""
    try:
        differs = difference(context, table_of(context, balancer)).transaction
    except (KernelError, OperationError) as error:
        return [Finding("problem", "kernel", str(error))]
    if not differs:
        return []
    names = sorted({f"{change.kind} {change.name}" for change in differs})
    shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    fix = f"lbctl apply {path}" if path else "lbctl flush"
    return [Finding("problem", "drift", f"the kernel's table is not what was applied: {shown}", fix)]


def facts(context: Context, balancer: Balancer) -> Facts:
    """What is so here now."""
    interfaces = {name: mtu_of(name) for _, name in socket.if_nameindex() if name != "lo"}
    paths = [
        *(
            FORWARD4,
            FORWARD6,
            LOCAL_PORTS,
            *(BRIDGE if has_bridge(interfaces) else ()),
            *(CONNTRACK + name for name in TRACKING),
        ),
        *(f"net/ipv4/conf/{name}/{key}" for name in ("all", *interfaces) for key in PER_INTERFACE),
    ]
    settings = {path: text for path in paths if (text := setting_of(path)) is not None}
    return Facts(
        settings=settings,
        interfaces=interfaces,
        tracked=tracked(context),
        ports=ports_used(context, balancer),
        features=features(context),
        chains=foreign_chains(),
        legacy_tables=legacy_tables(),
        ra_default_route=has_ra_default_route(),
        run=context.runtime is not None,
        packet_limit=chosen(context.environment).copy_limit,
    )


def setting_of(path: str) -> str | None:
    """What stands at a path below /proc/sys, None where there is no such setting here."""
    try:
        return (SYS / path).read_text().strip()
    except OSError:
        return None


def has_bridge(interfaces: Iterable[str]) -> bool:
    """Whether one of the interfaces is a bridge."""
    return any(Path(f"/sys/class/net/{name}/bridge").exists() for name in interfaces)


def mtu_of(interface: str) -> int:
    """The longest packet of an interface in bytes, 0 where the host does not tell."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = ioctl(sock, SIOCGIFMTU, IFREQ.pack(interface.encode(), 0))
        except OSError:
            return 0
    return int(IFREQ.unpack(answer)[1])


def tracked(context: Context) -> int:
    """How many flows conntrack holds, 0 where it does not tell."""
    try:
        return context.conntrack.count()
    except ConntrackError:
        return 0


def ports_used(context: Context, balancer: Balancer) -> dict[tuple[Protocol, IPAddress, Endpoint], int]:
    """How many flows have a source address of the balancer's towards each backend; none where conntrack tells none."""
    owners = Attribution(balancer)
    used: Counter[tuple[Protocol, IPAddress, Endpoint]] = Counter()
    with suppress(ConntrackError):
        for flow in context.conntrack.flows() if balancer.kernel_listeners() else ():
            if flow.source.ip != flow.client.ip and owners.owner(flow) is not None:
                used[flow.protocol, flow.source.ip, flow.backend] += 1
    return dict(used)


def features(context: Context) -> frozenset[str] | None:
    """The optional expressions the kernel has, None where it does not tell."""
    try:
        return context.kernel.features()
    except KernelError:
        return None


def legacy_tables() -> tuple[str, ...]:
    """The tables of iptables-legacy that are there."""
    names: list[str] = []
    for path in ("/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"):
        try:
            names += [name for name in Path(path).read_text().split() if name not in names]
        except OSError:
            continue
    return tuple(names)


def has_ra_default_route() -> bool:
    """Whether an IPv6 default route was learnt from router advertisements."""
    try:
        lines = Path("/proc/net/ipv6_route").read_text().splitlines()
    except OSError:
        return False
    flags = [int(fields[8], 16) for line in lines if len(fields := line.split()) > 8 and fields[1] == "00"]
    return any(flag & RTF_DEFAULT and flag & RTF_ADDRCONF for flag in flags)
