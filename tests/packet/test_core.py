"""The table of cases at the pure core."""

from __future__ import annotations

import pytest

from tests.packet.cases import CASES, Case
from tests.packet.exchange import check
from tests.packet.setting import translator


class Core:
    """No kernel: a packet goes through the step and out."""

    hops = 0

    def __init__(self) -> None:
        self.step = translator().step

    def to_backend(self, data: bytes) -> bytes | None:
        out = self.step(data, 1.0)
        assert not isinstance(out, int)
        return None if out is None else bytes(out)

    to_client = to_backend


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_core(case: Case) -> None:
    check(case, Core())
