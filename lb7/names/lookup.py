"""Looking names up: the hosts file first, then the system's resolvers, or those of the configuration.

The rule: this file asks and tells; what an answer means is in `resolution`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver

from lb4.address import Family, IPAddress, family_of
from lb7.names.resolution import CEILING, FLOOR, Answer, Known, learned

HOSTS = Path("/etc/hosts")
LIFETIME = 5.0
AT_ONCE = 16
RECORDS: tuple[tuple[Family, dns.rdatatype.RdataType], ...] = (("ip", dns.rdatatype.A), ("ip6", dns.rdatatype.AAAA))
LOOPBACK: tuple[IPAddress, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
Changed = Callable[[str, Known], None]
Lookup = Callable[[str], Awaitable[Answer]]
FamilyAnswer = tuple[tuple[IPAddress, ...] | None, float, str]


def hosts_addresses(text: str, name: str) -> tuple[IPAddress, ...]:
    """The addresses of a name in a hosts file (hosts(5))."""
    wanted = name.lower().rstrip(".")
    found: list[IPAddress] = []
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if wanted in (each.lower().rstrip(".") for each in names):
            with suppress(ValueError):
                found.append(ip_address(address.partition("%")[0]))
    return tuple(found)


class Resolver:
    """Looks names up in both families at once."""

    def __init__(self, resolvers: Sequence[str] = (), hosts: Path = HOSTS, port: int = 53) -> None:
        """resolvers: addresses of name servers; empty takes those of /etc/resolv.conf, read anew for each lookup."""
        self._resolvers = tuple(resolvers)
        self._hosts = hosts
        self._port = port
        self._free = asyncio.Semaphore(AT_ONCE)

    async def look_up(self, name: str) -> Answer:
        """All addresses of the name. Never raises for what a name server does."""
        local = self._local(name)
        if local:
            families: tuple[Family, ...] = ("ip", "ip6")
            by_family = {family: tuple(ip for ip in local if family_of(ip) == family) for family in families}
            return Answer(by_family, 0.0)
        async with self._free:
            return await self._ask(name)

    def _local(self, name: str) -> tuple[IPAddress, ...]:
        """What is known without a name server: an address itself, the hosts file, localhost (RFC 6761 section 6.3)."""
        with suppress(ValueError):
            return (ip_address(name),)
        with suppress(OSError):
            listed = hosts_addresses(self._hosts.read_text("utf-8", "replace"), name)
            if listed:
                return listed
        bare = name.lower().rstrip(".")
        return LOOPBACK if bare == "localhost" or bare.endswith(".localhost") else ()

    async def _ask(self, name: str) -> Answer:
        try:
            resolver = dns.asyncresolver.Resolver(configure=not self._resolvers)
        except dns.resolver.NoResolverConfiguration:
            return Answer({}, 0.0, "/etc/resolv.conf names no resolver")
        if self._resolvers:
            resolver.nameservers = list(self._resolvers)
        resolver.port = self._port
        resolver.lifetime = LIFETIME
        both = await asyncio.gather(*(_family(resolver, name, kind) for _, kind in RECORDS))
        found = {family: ips for (family, _), (ips, _, _) in zip(RECORDS, both, strict=True) if ips is not None}
        ttl = min((ttl for ips, ttl, _ in both if ips), default=CEILING)
        return Answer(found, ttl, "; ".join(dict.fromkeys(failure for _, _, failure in both if failure)))


async def _family(resolver: dns.asyncresolver.Resolver, name: str, kind: dns.rdatatype.RdataType) -> FamilyAnswer:
    """The addresses of one family and their TTL, or None and why."""
    try:
        answer = await resolver.resolve(name, kind, search=True)
    except dns.resolver.NoAnswer:
        return (), CEILING, ""
    except dns.resolver.NXDOMAIN:
        return None, 0.0, f"there is no name {name}"
    except (dns.exception.DNSException, OSError) as error:
        return None, 0.0, str(error).strip() or type(error).__name__
    ttl = min(answer.chaining_result.minimum_ttl, answer.rrset.ttl if answer.rrset else 0)
    return tuple(ip_address(record.address) for record in answer), float(ttl), ""


class Watch:
    """Keeps names looked up between start and close, and tells when their addresses change."""

    def __init__(self, names: Iterable[str], look_up: Lookup, changed: Changed, floor: float = FLOOR) -> None:
        """changed is called with the name and what is known, after its first lookup and whenever addresses differ."""
        self._look_up = look_up
        self._changed = changed
        self._floor = floor
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._known: dict[str, Known] = dict.fromkeys(names, Known())
        self._first = asyncio.Event()
        self._waiting = set(self._known)

    @property
    def known(self) -> Mapping[str, Known]:
        """What is known of each name now."""
        return self._known

    def start(self) -> None:
        """Begins to look up, in the running loop."""
        for name in self._known:
            self._tasks[name] = asyncio.create_task(self._keep(name), name=f"addresses of {name}")
        self._settle(None)

    async def settled(self, seconds: float) -> bool:
        """Whether every name was looked up once; waits for that so many seconds at most."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._first.wait(), seconds)
        return self._first.is_set()

    async def close(self) -> None:
        """Looks up no more."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _keep(self, name: str) -> None:
        time = asyncio.get_running_loop().time
        while True:
            before = self._known[name]
            after = learned(before, await self._look_up(name), time(), self._floor)
            self._known[name] = after
            if name in self._waiting or after.addresses != before.addresses or after.failure != before.failure:
                self._changed(name, after)
            self._settle(name)
            await asyncio.sleep(max(0.0, after.due - time()))

    def _settle(self, name: str | None) -> None:
        self._waiting.discard(name or "")
        if not self._waiting:
            self._first.set()


def resolve_once(names: Iterable[str], resolvers: Sequence[str] = ()) -> dict[str, Known]:
    """All the names looked up once, outside of any event loop: for what is resolved when it is applied."""

    async def all_of_them() -> dict[str, Known]:
        resolver = Resolver(resolvers)
        wanted = tuple(dict.fromkeys(names))
        answers = await asyncio.gather(*(resolver.look_up(name) for name in wanted))
        return {name: learned(Known(), answer, 0.0) for name, answer in zip(wanted, answers, strict=True)}

    return asyncio.run(all_of_them())
