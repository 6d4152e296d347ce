"""The same balancing as input of iptables-restore or ip6tables-restore, for those who run it without lbctl.

The rule: what iptables cannot say is an error that names it; nothing is left out in silence. One rule per slot and
bind is walked from the top, so unlike lbctl's own ruleset this one gets slower with every listener.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lb4.address import Bind, Family, IPAddress, written
from lb4.compile.entrance import Entrance, entrances
from lb4.compile.filters import UNITS, rate_limit
from lb4.model import Balancer, IPNetwork, Listener, Mode, Protocol, Rate, SchedulerKind, Service
from lb4.schedulers.slots import slots

SLOTS_MAX = 256
"""Every slot is a rule: weights that need more turns than this are refused."""

CHAIN_LENGTH = 28
"""XT_EXTENSION_MAXNAMELEN of linux/netfilter/x_tables.h, less the closing NUL."""

KINDS = (SchedulerKind.ROUND_ROBIN, SchedulerKind.RANDOM)
UNIT = dict(zip(UNITS, ("second", "minute", "hour", "day"), strict=True))
NEW = "-m conntrack --ctstate NEW"
UNREACHABLE: dict[Family, str] = {"ip": "icmp-port-unreachable", "ip6": "icmp6-port-unreachable"}


class ExportError(ValueError):
    """iptables cannot say this; `lines` name each listener and what of it."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = tuple(lines)


class Script:
    """Lines by table; chains are declared before the rules."""

    def __init__(self) -> None:
        self.chains: dict[str, list[str]] = {"mangle": [], "nat": [], "filter": []}
        self.rules: dict[str, list[str]] = {"mangle": [], "nat": [], "filter": []}

    def chain(self, table: str, name: str, rules: Iterable[str]) -> None:
        """A chain of our own with its rules."""
        self.chains[table].append(f":{name} - [0:0]")
        self.rules[table] += [f"-A {name} {rule}" for rule in rules]

    def add(self, table: str, hook: str, rule: str) -> None:
        """A rule at a hook."""
        self.rules[table].append(f"-A {hook} {rule}")

    def __str__(self) -> str:
        tables = ((name, [*self.chains[name], *self.rules[name]]) for name in self.rules)
        return "".join("\n".join((f"*{name}", *lines, "COMMIT", "")) for name, lines in tables if lines)


def export_iptables(balancer: Balancer, family: Family) -> str:
    """Input of iptables-restore (family `ip`) or ip6tables-restore (`ip6`) for the `nat` and `gateway` listeners.

    Raises ExportError.
    """
    pairs = [(each, balancer.services[each.service]) for each in balancer.kernel_listeners()]
    refused = [line for listener, service in pairs for line in _unsayable(listener, service)]
    if refused:
        raise ExportError(refused)
    script = Script()
    for listener, service in pairs:
        for entrance in entrances(listener, service):
            if entrance.family == family:
                _add(script, entrance)
    return str(script)


def _unsayable(listener: Listener, service: Service) -> Iterator[str]:
    def told(what: str) -> str:
        return f"listener {listener.name}: iptables has no {what}; export it as nft"

    if service.scheduler.kind not in KINDS:
        yield told(f"scheduler {service.scheduler}")
    if service.affinity is not None:
        yield told("affinity that holds more than a few clients")
    if service.scheduler.kind is SchedulerKind.ROUND_ROBIN and len(slots(KINDS[0], service.eligible())) > SLOTS_MAX:
        yield told(f"round-robin of more than {SLOTS_MAX} turns, which these weights need")
    if len(chain_name(listener.name + "/65535")) > CHAIN_LENGTH:
        yield told(f"room for a name of {len(listener.name)} characters")


def chain_name(label: str) -> str:
    """The chain in table nat that picks a backend."""
    return f"lbctl-{label}"


def _add(script: Script, entrance: Entrance) -> None:
    listener, family = entrance.listener, entrance.family
    name = chain_name(entrance.label.rpartition("-")[0])
    filters = list(_filters(listener, family))
    if filters:
        script.chain("mangle", name, filters)
    if entrance.eligible:
        script.chain("nat", name, (f"-p {listener.protocol} {each}" for each in _picks(entrance)))
    for bind in entrance.binds:
        arriving = f"-d {bind.ip} -p {listener.protocol} --dport {_ports(bind)}"
        if filters:
            script.add("mangle", "PREROUTING", f"{arriving} {_new(listener)} -j {name}")
        for each in _invalid(entrance, bind):
            script.add("mangle", "PREROUTING", each)
        if entrance.eligible:
            _forward(script, entrance, bind, arriving, name)
        else:
            for hook in ("INPUT", "FORWARD", "OUTPUT"):
                script.add("filter", hook, f"{arriving} {_reject(listener, family)}")


def _forward(script: Script, entrance: Entrance, bind: Bind, arriving: str, name: str) -> None:
    listener, family = entrance.listener, entrance.family
    target = f"--ctorigdst {bind.ip} --ctorigdstport {_ports(bind)}"
    for hook in ("PREROUTING", "OUTPUT"):
        script.add("nat", hook, f"{arriving} -j {name}")
    for each in _sources(entrance):
        script.add("nat", "POSTROUTING", f"-p {listener.protocol} -m conntrack --ctstate DNAT {target} {each}")
    for each in _limits(listener, family):
        first = f"-p {listener.protocol} {_new(listener)}"
        script.add("filter", "FORWARD", f"{first} {target} {each} {_reject(listener, family)}")


def _new(listener: Listener) -> str:
    """A flow's first packet; see lb4.compile.filters.KNOWN."""
    return NEW if listener.protocol is Protocol.TCP else f"{NEW} ! --ctstatus CONFIRMED"


def _ports(bind: Bind) -> str:
    return f"{bind.first}:{bind.last}" if bind.is_range else str(bind.first)


def _filters(listener: Listener, family: Family) -> Iterator[str]:
    yield from (f"-s {prefix} -j DROP" for prefix in _of_family(listener.deny, family))
    if listener.allow:
        yield from (f"-s {prefix} -j RETURN" for prefix in _of_family(listener.allow, family))
        yield "-j DROP"


def _of_family(prefixes: Sequence[IPNetwork], family: Family) -> list[IPNetwork]:
    return [prefix for prefix in prefixes if prefix.version == (4 if family == "ip" else 6)]


def _invalid(entrance: Entrance, bind: Bind) -> Iterator[str]:
    """Packets that no flow is known for would reach the other side untranslated."""
    protocol, invalid = entrance.listener.protocol, "-m conntrack --ctstate INVALID -j DROP"
    yield f"-d {bind.ip} -p {protocol} --dport {_ports(bind)} {invalid}"
    for backend in entrance.backends:
        ports = str(backend.endpoint.port or _ports(bind))
        yield f"-s {backend.endpoint.ip} -p {protocol} --sport {ports} {invalid}"


def _reject(listener: Listener, family: Family) -> str:
    how = "tcp-reset" if listener.protocol is Protocol.TCP else UNREACHABLE[family]
    return f"-j REJECT --reject-with {how}"


def _picks(entrance: Entrance) -> Iterator[str]:
    """By turns: of those that come to a rule, every n-th. At random: with what chance is left to it."""
    kind = entrance.service.scheduler.kind
    if kind is SchedulerKind.RANDOM:
        left = sum(backend.weight for backend in entrance.eligible)
        for backend in entrance.eligible:
            chance = (
                ""
                if backend.weight == left
                else f"-m statistic --mode random --probability {backend.weight / left:.11f} "
            )
            left -= backend.weight
            yield f"{chance}{_dnat(backend.endpoint.ip, backend.endpoint.port)}"
        return
    turns = slots(kind, entrance.eligible)
    for place, backend in enumerate(turns):
        yield f"{_nth(place, len(turns))}{_dnat(backend.endpoint.ip, backend.endpoint.port)}"


def _nth(place: int, count: int) -> str:
    """Takes the first of every `count - place` that the rules before left."""
    left = count - place
    return "" if left == 1 else f"-m statistic --mode nth --every {left} --packet {left - 1} "


def _dnat(ip: IPAddress, port: int | None) -> str:
    return f"-j DNAT --to-destination {written(ip, None if port is None else str(port))}"


def _sources(entrance: Entrance) -> Iterator[str]:
    if entrance.listener.mode is Mode.GATEWAY:
        yield from (f"-s {ip} -j MASQUERADE" for ip in sorted({backend.endpoint.ip for backend in entrance.backends}))
        return
    addresses = [ip for ip in entrance.listener.snat if ip.version == entrance.binds[0].ip.version]
    for place, ip in enumerate(addresses):
        yield f"{_nth(place, len(addresses))}-j SNAT --to-source {ip}"
    if not addresses:
        yield "-j MASQUERADE"


def _limits(listener: Listener, family: Family) -> Iterator[str]:
    limits, one = listener.limits, 32 if family == "ip" else 128
    for count, mask in ((limits.connections_per_client, one), (limits.connections, 0)):
        if count is not None:
            yield f"-m connlimit --connlimit-above {count} --connlimit-mask {mask}"
    for rate, mode in ((limits.new_connections_per_client, "srcip"), (limits.new_connections, "dstip")):
        if rate is not None:
            yield _above(rate, mode, listener.name)


def _above(rate: Rate, mode: str, name: str) -> str:
    """hashlimit, as `limit` alone cannot match what is above a rate."""
    limit = rate_limit(rate)
    by = f"--hashlimit-name {name}-{mode[0]} --hashlimit-mode srcip"
    together = "" if mode == "srcip" else " --hashlimit-srcmask 0"
    return (
        f"-m hashlimit --hashlimit-above {limit.count}/{UNIT[limit.per]} --hashlimit-burst {limit.burst} {by}{together}"
    )
