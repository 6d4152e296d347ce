"""The worlds of the proxy's tests: uvloop as in the product, everything closed at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import uvloop

from tests.proxy.world import World


def pytest_asyncio_loop_factories() -> dict[str, object]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def world(tmp_path) -> AsyncIterator[World]:
    world = World(str(tmp_path / "access.log"))
    yield world
    await world.close()
