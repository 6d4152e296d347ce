"""What is known of names: merging, waiting, hosts files, and lookups against a real name server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from lb4.address import IPAddress, parse_endpoint
from lb4.model import AdminState, Backend, DnsBackend, Health, Service
from lb7.names.lookup import Resolver, Watch, hosts_addresses
from lb7.names.resolution import Answer, Known, learned, names_of, wait, with_addresses


def ips(*texts: str) -> tuple[IPAddress, ...]:
    return tuple(ip_address(text) for text in texts)


BOTH = Answer({"ip": ips("10.0.0.2", "10.0.0.1"), "ip6": ips("2001:db8::1")}, 30)


@pytest.mark.parametrize(
    ("before", "answer", "addresses", "due", "failures"),
    [
        ((), BOTH, ("10.0.0.1", "10.0.0.2", "2001:db8::1"), 130, 0),
        (("10.0.0.9",), BOTH, ("10.0.0.1", "10.0.0.2", "2001:db8::1"), 130, 0),
        (("10.0.0.9", "::9"), Answer({"ip": ips("10.0.0.1")}, 30, "ip6 failed"), ("10.0.0.1", "::9"), 105, 1),
        (("10.0.0.9", "::9"), Answer({"ip": ips("10.0.0.1"), "ip6": ()}, 30), ("10.0.0.1",), 130, 0),
        (("10.0.0.9",), Answer({}, 0, "no such name"), ("10.0.0.9",), 105, 1),
        (("10.0.0.9",), Answer({"ip": (), "ip6": ()}, 0), ("10.0.0.9",), 105, 1),
        ((), Answer({}, 0, "no such name"), (), 105, 1),
        ((), Answer({"ip": ips("10.0.0.1")}, 0), ("10.0.0.1",), 105, 0),
        ((), Answer({"ip": ips("10.0.0.1")}, 10**6), ("10.0.0.1",), 3700, 0),
    ],
)
def test_what_an_answer_makes_of_what_was_known(
    before: tuple[str, ...], answer: Answer, addresses: tuple[str, ...], due: float, failures: int
) -> None:
    known = learned(Known(ips(*before)), answer, now=100, floor=5)
    assert (known.addresses, known.due, known.failures) == (ips(*addresses), due, failures)
    assert bool(known.failure) == bool(failures)


@pytest.mark.parametrize(("failures", "seconds"), [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (500, 60)])
def test_failed_lookups_are_repeated_slower_and_slower(failures: int, seconds: float) -> None:
    assert wait(300, failures, 5) == seconds


def test_names_become_backends_and_keep_what_was_known() -> None:
    known = Backend(parse_endpoint("10.0.0.2:80"), 2, name="a", health=Health.DOWN, admin=AdminState.DRAINING)
    gone = Backend(parse_endpoint("10.0.0.9:80"), name="a")
    written = Backend(parse_endpoint("10.0.0.1:80"), weight=7)
    service = Service("s", (written, known, gone), (DnsBackend("a", 80, 2), DnsBackend("b", 81, backup=True)))
    assert names_of([service, service]) == ("a", "b")
    made = with_addresses(service, {"a": ips("10.0.0.1", "10.0.0.2", "::1"), "b": ips("10.0.0.2")})
    assert made.backends == (
        written,
        Backend(parse_endpoint("10.0.0.2:81"), backup=True, name="b"),
        known,
        Backend(parse_endpoint("[::1]:80"), 2, name="a"),
    )


HOSTS = """
127.0.0.1 localhost  # 10.9.9.9 commented
::1 localhost ip6-localhost
10.0.0.7\tHost.Docker.Internal other
nonsense localhost
fe80::1%eth0 linked
"""


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("localhost", ("127.0.0.1", "::1")),
        ("host.docker.internal", ("10.0.0.7",)),
        ("OTHER.", ("10.0.0.7",)),
        ("linked", ("fe80::1",)),
        ("commented", ()),
        ("10.0.0.7", ()),
    ],
)
def test_hosts_files(name: str, addresses: tuple[str, ...]) -> None:
    assert hosts_addresses(HOSTS, name) == ips(*addresses)


class NameServer(asyncio.DatagramProtocol):
    """A name server of a few records, by UDP. broken: families it fails for."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        self.broken: set[str] = set()
        self.ttl = 30

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = dns.message.from_wire(data)
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        asked = question.question[0]
        kind, name = dns.rdatatype.to_text(asked.rdtype), asked.name.to_text(omit_final_dot=True)
        wanted = [ip for ip in self.records.get(name, []) if (":" in ip) == (kind == "AAAA")]
        if kind in self.broken:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif name not in self.records:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif wanted:
            answer.answer.append(dns.rrset.from_text(asked.name, self.ttl, "IN", kind, *wanted))
        self.transport.sendto(answer.to_wire(), addr)


@asynccontextmanager
async def name_server(tmp_path: Path) -> AsyncIterator[tuple[NameServer, Resolver]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    hosts = tmp_path / "hosts"
    hosts.write_text("10.0.0.7 listed.test\n")
    try:
        yield server, Resolver(["127.0.0.1"], hosts, transport.get_extra_info("sockname")[1])
    finally:
        transport.close()


async def test_lookups_ask_for_both_families(tmp_path: Path) -> None:
    async with name_server(tmp_path) as (server, resolver):
        server.records = {"a.test": ["10.0.0.1", "10.0.0.2", "2001:db8::1"], "four.test": ["10.0.0.4"]}
        found = await resolver.look_up("a.test")
        assert learned(Known(), found, 0).addresses == ips("10.0.0.1", "10.0.0.2", "2001:db8::1")
        assert (found.ttl, found.failure) == (30, "")
        four = await resolver.look_up("four.test")
        assert (four.addresses["ip6"], four.failure) == ((), "")
        assert "there is no name none.test" in (await resolver.look_up("none.test")).failure
        for name, address in (("listed.test", "10.0.0.7"), ("10.0.0.8", "10.0.0.8")):
            assert (await resolver.look_up(name)).addresses["ip"] == ips(address)
        assert (await resolver.look_up("localhost")).found
        server.broken = {"AAAA"}
        half = await resolver.look_up("a.test")
        assert "ip6" not in half.addresses
        assert half.failure


async def test_a_watch_tells_changes_and_keeps_the_last_good_answer(tmp_path: Path) -> None:
    told: list[tuple[str, ...]] = []
    news = asyncio.Event()

    def changed(name: str, known: Known) -> None:
        told.append(tuple(map(str, known.addresses)))
        news.set()

    async def next_news() -> None:
        await asyncio.wait_for(news.wait(), 10)
        news.clear()

    async with name_server(tmp_path) as (server, resolver):
        server.ttl = 0
        server.records = {"a.test": ["10.0.0.1"]}
        watch = Watch(["a.test"], resolver.look_up, changed, floor=0.02)
        watch.start()
        assert await watch.settled(10)
        await next_news()
        server.records = {"a.test": ["10.0.0.2", "10.0.0.1"]}
        await next_news()
        server.broken = {"A", "AAAA"}
        await next_news()
        server.broken, server.records = set(), {"a.test": ["10.0.0.3"]}
        while told[-1] != ("10.0.0.3",):
            await next_news()
        await watch.close()
    assert told[:3] == [("10.0.0.1",), ("10.0.0.1", "10.0.0.2"), ("10.0.0.1", "10.0.0.2")]
