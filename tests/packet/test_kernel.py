"""The table of cases at the running hook, with both kinds of queue, and at the kernel's own NAT."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from lb4.model import Mode
from lb4.packet.part import PacketPart
from tests.packet.cases import CASES, Case, parsed
from tests.packet.exchange import check
from tests.packet.hook import load, worker
from tests.packet.network import Network, network
from tests.packet.setting import balancer
from tests.packet.wire import Wire

pytestmark = pytest.mark.root

QUIET = "table inet quiet { chain input { type filter hook input priority 0; meta l4proto { tcp, udp } drop; }; }"
"""The nodes' own stacks answer nothing: every packet of a case is made by the case."""


class Namespaces:
    """A router between client and server: what one sends comes out at the other, one hop older."""

    hops = 1

    def __init__(self, net: Network) -> None:
        for node in ("client", "server0"):
            subprocess.run(["ip", "netns", "exec", net.name(node), "nft", QUIET], check=True)
        self.client, self.server = Wire(net, "client", "eth0"), Wire(net, "server0", "eth1")

    def to_backend(self, data: bytes) -> bytes | None:
        self.server.clear()
        self.client.send(data)
        return self.server.receive(parsed(data))

    def to_client(self, data: bytes) -> bytes | None:
        self.client.clear()
        self.server.send(data)
        return self.client.receive(parsed(data))

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture(scope="module", params=["netlink", "netfilterqueue", "nat"])
def judge(request: pytest.FixtureRequest) -> Iterator[Namespaces]:
    with ExitStack() as stack:
        net = stack.enter_context(network())
        packet = request.param != "nat"
        setting = balancer(Mode.PACKET if packet else Mode.NAT)
        load(net, setting)
        if packet:
            part = pickle.dumps(PacketPart(setting))
            stack.enter_context(worker(net, part, "packet", "-", "0", request.param))
        found = Namespaces(net)
        stack.callback(found.close)
        yield found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_kernel(judge: Namespaces, case: Case) -> None:
    check(case, judge)
