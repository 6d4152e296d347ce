"""One network with servers for all tests of this directory; each test starts with nothing in force."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from socket import AF_UNSPEC

import pytest

from lb4.conntrack.message import CT_DELETE, NLM_F_ACK, NLM_F_REQUEST, message
from lb4.conntrack.table import opened
from tests.operations.balancer import Balancer, Servers
from tests.packet.network import Network, network


@pytest.fixture(scope="session")
def served() -> Iterator[Network]:
    with network() as made:
        servers = Servers(made)
        try:
            yield made
        finally:
            servers.close()


@pytest.fixture
def lb(served: Network, tmp_path: Path) -> Iterator[Balancer]:
    yield Balancer(served, tmp_path)
    for table in Balancer(served, tmp_path).tables():
        Balancer(served, tmp_path).nft("delete", *table.split())
    with served.inside("lb"), closing(opened()) as sock:
        sock.send(message(CT_DELETE, NLM_F_REQUEST | NLM_F_ACK, 1, AF_UNSPEC, b""))  # of no flow in particular: all
        sock.recv(4096)
