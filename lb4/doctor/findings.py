"""What on a host would break balancing, found from facts that were gathered elsewhere, each with its fix.

The rule: pure; a finding says what is so, why it matters and what to do. Only what can be undone by writing the old
value back, and takes nothing from anybody else, is safe to fix unasked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from lb4.address import Endpoint, Family, IPAddress
from lb4.model import Balancer, Mode, Protocol, SchedulerKind
from lb4.packet.queue_message import COPY_MAX

Level = Literal["ok", "warning", "problem"]
ORDER: dict[Level, int] = {"problem": 0, "warning": 1, "ok": 2}

FORWARD4, FORWARD6 = "net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"
CONNTRACK = "net/netfilter/nf_conntrack_"
LOCAL_PORTS = "net/ipv4/ip_local_port_range"
BRIDGE = ("net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables")

SNAT_PORTS = 65535 - 1024 + 1
"""Ports that the kernel gives to translated sources (nf_nat_core.c: below 1024 only where the client's was)."""

ROUTED = ("inet", "ip", "ip6")
"""The families of tables that see forwarded packets; hooks of others have the same numbers and another meaning."""

CHAIN_LENGTH = 8
"""Flows per hash bucket from which looking one up is slow."""

PROCESS_PORTS = 20_000
"""With fewer local ports, the modes with connections of their own run out soon."""


@dataclass(frozen=True, slots=True)
class ForeignChain:
    """A base chain of another table: where it hooks in, and what becomes of a packet at its end."""

    family: str
    table: str
    name: str
    type: str
    hook: str
    priority: int
    policy: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read of a host.

    settings: by path below /proc/sys, what stands there. interfaces: MTU by name, without the loopback. tracked: flows
    conntrack holds. ports: flows by protocol, source address and backend. features: optional nf_tables expressions,
    None where unknown. run: whether `lbctl run` is up. packet_limit: the longest packet that packet mode's queue hands
    over whole, in bytes.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    interfaces: Mapping[str, int] = field(default_factory=dict)
    tracked: int = 0
    ports: Mapping[tuple[Protocol, IPAddress, Endpoint], int] = field(default_factory=dict)
    features: frozenset[str] | None = None
    chains: tuple[ForeignChain, ...] = ()
    legacy_tables: tuple[str, ...] = ()
    ra_default_route: bool = False
    run: bool = False
    packet_limit: int = COPY_MAX


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. setting: what to write where below /proc/sys, where that is the fix; safe: unasked."""

    level: Level
    name: str
    what: str
    fix: str = ""
    setting: tuple[str, str] | None = None
    safe: bool = False


def findings(facts: Facts, balancer: Balancer) -> list[Finding]:
    """All findings, problems first."""
    found = [
        *_forwarding(facts, balancer),
        *_reverse_path(facts),
        *_packet_mode(facts, balancer),
        *_conntrack(facts, balancer),
        *_timeouts(facts),
        *_bridge(facts),
        *_source_ports(facts),
        *_local_ports(facts, balancer),
        *_features(facts, balancer),
        *_other_tables(facts),
        *_process(facts, balancer),
    ]
    return sorted(found, key=lambda finding: ORDER[finding.level])


def setting(level: Level, name: str, what: str, path: str, value: str, *, safe: bool) -> Finding:
    """A finding whose fix is a value to be written below /proc/sys."""
    key = path if "." in path else path.replace("/", ".")
    written = f'"{value}"' if " " in value or "\t" in value else value
    return Finding(level, name, what, f"sysctl -w {key}={written}", (path, value), safe)


def families(balancer: Balancer) -> set[Family]:
    """The address families of listeners whose packets the host forwards; IPv4 where nothing is in force."""
    found: set[Family] = set(balancer.routed_families())
    return found or ({"ip"} if not balancer.listeners else set())


def _modes(balancer: Balancer) -> set[Mode]:
    return {listener.mode for listener in balancer.listeners.values()}


def _number(facts: Facts, path: str) -> int | None:
    text = facts.settings.get(path, "")
    return int(text) if text.lstrip("-").isdigit() else None


def _forwarding(facts: Facts, balancer: Balancer) -> Iterator[Finding]:
    needed = families(balancer)
    if "ip" in needed:
        if _number(facts, FORWARD4) == 0:
            what = "off: translated packets never leave for the backends"
            yield setting("problem", "IPv4 forwarding", what, FORWARD4, "1", safe=True)
        else:
            yield Finding("ok", "IPv4 forwarding", "on")
    if "ip6" in needed:
        yield _forwarding6(facts)


def _forwarding6(facts: Facts) -> Finding:
    if _number(facts, FORWARD6) != 0:
        return Finding("ok", "IPv6 forwarding", "on")
    what = "off: translated packets never leave for the backends"
    if facts.ra_default_route:
        what += "; the default route comes from router advertisements, which a forwarding host ignores: "
        what += "set net.ipv6.conf.INTERFACE.accept_ra=2 on its interface first"
    return setting("problem", "IPv6 forwarding", what, FORWARD6, "1", safe=not facts.ra_default_route)


def _reverse_path(facts: Facts) -> Iterator[Finding]:
    """The kernel takes the larger of `all` and the interface's own (ip-sysctl.rst, rp_filter)."""
    everywhere = _number(facts, "net/ipv4/conf/all/rp_filter") or 0
    strict = [
        name
        for name in sorted(facts.interfaces)
        if max(everywhere, _number(facts, f"net/ipv4/conf/{name}/rp_filter") or 0) == 1
    ]
    if not strict:
        yield Finding("ok", "rp_filter", "not strict on any interface")
    for name in strict:
        what = f"strict on {name}: packets that come in another way than they would go out by are dropped"
        yield setting("warning", "rp_filter", what, f"net/ipv4/conf/{name}/rp_filter", "2", safe=False)


def _packet_mode(facts: Facts, balancer: Balancer) -> Iterator[Finding]:
    if Mode.PACKET not in _modes(balancer):
        return
    everywhere = _number(facts, "net/ipv4/conf/all/accept_local")
    for name, mtu in sorted(facts.interfaces.items()):
        path = f"net/ipv4/conf/{name}/accept_local"
        if everywhere == 0 and _number(facts, path) == 0:
            what = f"off on {name}: answers that come to it with a source of this host are dropped (mode packet)"
            yield setting("problem", "accept_local", what, path, "1", safe=True)
        if mtu > facts.packet_limit:
            what = f"{mtu} on {name}: mode packet sees no more than {facts.packet_limit} bytes of a packet"
            yield Finding("problem", "MTU", what, f"ip link set {name} mtu 1500")


def _conntrack(facts: Facts, balancer: Balancer) -> Iterator[Finding]:
    most, buckets = _number(facts, CONNTRACK + "max"), _number(facts, CONNTRACK + "buckets")
    if not most:
        if balancer.kernel_listeners():
            yield Finding("problem", "conntrack", "the module nf_conntrack is not loaded", "modprobe nf_conntrack")
        else:
            yield Finding("ok", "conntrack", "the module nf_conntrack is not loaded yet; apply brings it")
        return
    use = facts.tracked / most
    what = f"{facts.tracked:,} of {most:,} flows ({use:.0%})"
    if use < 0.5:
        yield Finding("ok", "conntrack size", what)
    else:
        level: Level = "problem" if use >= 0.9 else "warning"
        what += ": when it is full, new connections are dropped"
        yield setting(level, "conntrack size", what, CONNTRACK + "max", str(2 * most), safe=True)
    if buckets and most > CHAIN_LENGTH * buckets:
        what = f"{buckets:,} for up to {most:,} flows: looking a flow up gets slow"
        fix = f"echo {most // 4} > /sys/module/nf_conntrack/parameters/hashsize"
        yield Finding("warning", "conntrack buckets", what, fix)


def _timeouts(facts: Facts) -> Iterator[Finding]:
    established, most = _number(facts, CONNTRACK + "tcp_timeout_established"), _number(facts, CONNTRACK + "max")
    path = CONNTRACK + "tcp_timeout_established"
    if established is None or not most:
        return
    if established < 300:
        what = f"{established} s: connections that are idle for longer are cut off"
        yield setting("warning", "idle timeout of TCP", what, path, "7440", safe=False)
    elif established > 86400 and facts.tracked / most >= 0.5:
        what = f"{established // 3600} h: connections whose ends vanished fill the table"
        yield setting("warning", "idle timeout of TCP", what, path, "7440", safe=False)
    if _number(facts, CONNTRACK + "tcp_be_liberal") == 1:
        what = "on: segments outside of the window are taken for valid; lbctl does not need it"
        yield setting("warning", "tcp_be_liberal", what, CONNTRACK + "tcp_be_liberal", "0", safe=False)


def _bridge(facts: Facts) -> Iterator[Finding]:
    for path in BRIDGE:
        if _number(facts, path) == 1:
            what = "on: packets between two ports of a bridge pass the rules of routed ones, and are translated twice"
            yield setting("warning", path.rpartition("/")[2], what, path, "0", safe=False)


def _source_ports(facts: Facts) -> Iterator[Finding]:
    worst = max(facts.ports.items(), key=lambda item: item[1], default=None)
    if worst is None or worst[1] < SNAT_PORTS / 2:
        used = 0 if worst is None else worst[1]
        yield Finding("ok", "source ports", f"at most {used:,} of {SNAT_PORTS:,} used towards one backend")
    for (protocol, source, backend), used in sorted(facts.ports.items(), key=lambda item: -item[1]):
        if used >= SNAT_PORTS / 2:
            level: Level = "problem" if used >= 0.9 * SNAT_PORTS else "warning"
            what = (
                f"{used:,} of {SNAT_PORTS:,} used from {source} to {backend} ({protocol}): {SNAT_PORTS - used:,} left"
            )
            yield Finding(level, "source ports", what, "more addresses in the listener's `snat`, or more backends")


def _local_ports(facts: Facts, balancer: Balancer) -> Iterator[Finding]:
    if not _modes(balancer) & {Mode.PACKET, Mode.TERMINATE, Mode.HTTP}:
        return
    first, _, last = facts.settings.get(LOCAL_PORTS, "").partition("\t")
    if first.isdigit() and last.isdigit() and int(last) - int(first) < PROCESS_PORTS:
        what = f"{first} to {last}: connections of lbctl's own to a backend have no more"
        yield setting("warning", "local ports", what, LOCAL_PORTS, "16384\t65000", safe=False)


def _features(facts: Facts, balancer: Balancer) -> Iterator[Finding]:
    if facts.features is None:
        return
    picks = {SchedulerKind.LEAST_CONNECTIONS, SchedulerKind.PYTHON}
    hooked = any(balancer.services[each.service].scheduler.kind in picks for each in balancer.kernel_listeners())
    if (hooked or Mode.PACKET in _modes(balancer)) and not facts.features & {"queue", "target"}:
        what = "the kernel has neither nft's queue expression nor the NFQUEUE target: mode packet and hooks need one"
        yield Finding("problem", "packet queue", what, "modprobe nft_queue || modprobe xt_NFQUEUE")


def _other_tables(facts: Facts) -> Iterator[Finding]:
    for chain in facts.chains:
        if chain.family not in ROUTED:
            continue
        whose = f"{chain.family} {chain.table} {chain.name}"
        if chain.policy == "drop" and chain.hook == "forward":
            what = f"{whose} drops what none of its rules accepts: forwarded flows need one"
            yield Finding("warning", "other tables", what, f"nft add rule {whose} ct status dnat accept")
        if chain.type == "nat" and chain.hook in ("prerouting", "output") and chain.priority <= -100:
            what = f"{whose} translates destinations at priority {chain.priority}, before or beside lbctl (-100)"
            yield Finding(
                "warning", "other tables", f"{what}: whichever comes first decides", f"nft list chain {whose}"
            )
    if facts.legacy_tables:
        what = f"iptables-legacy holds {', '.join(facts.legacy_tables)}: its rules see the same packets"
        yield Finding("warning", "other tables", what, "iptables-legacy-save")


def _process(facts: Facts, balancer: Balancer) -> Iterator[Finding]:
    waiting = sorted(_waiting(balancer)) if not facts.run else []
    if waiting:
        names = ", ".join(waiting[:5]) + (f" and {len(waiting) - 5} more" if len(waiting) > 5 else "")
        yield Finding("problem", "lbctl run", f"not running, and needed by {names}", "systemctl start lbctl")


def _waiting(balancer: Balancer) -> Iterable[str]:
    kernel = {listener.name for listener in balancer.kernel_listeners()}
    for name, listener in balancer.listeners.items():
        if name not in kernel:
            yield name
            continue
        service = balancer.services[listener.service]
        if service.health is not None or service.scheduler.needs_process:
            yield name
