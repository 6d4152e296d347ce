"""One lab for all tests of this directory; each test starts with nothing in force and no flow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Balancer, Lab
from tests.lab import lab as made_lab


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with made_lab() as made:
        yield made


@pytest.fixture
def lb(lab: Lab, tmp_path: Path) -> Iterator[Balancer]:
    balancer = Balancer(lab, tmp_path)
    yield balancer
    balancer.close()
