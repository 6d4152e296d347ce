"""One lab for all tests of this directory; each has its own lbctl in it, and leaves the balancer as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.lab import lab as made_lab
from tests.run.running import Run
from tests.run.switch import Switch


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with made_lab() as made:
        yield made


@pytest.fixture
def run(lab: Lab, tmp_path: Path) -> Iterator[Run]:
    made = Run(lab, tmp_path)
    yield made
    made.close()


@pytest.fixture
def switch(lab: Lab) -> Iterator[Switch]:
    made = Switch(lab)
    yield made
    made.on(*list(made.refusing))
