"""One network with servers for all tests of this directory; each test starts with nothing in force."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lb4.conntrack import KernelConntrack
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
    with served.inside("lb"):
        tracked = KernelConntrack()
        tracked.end(tracked.flows(translated=False))
