"""What the tests of mode terminate share: uvloop as in the product, backends, a terminator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop

from lb4.terminate.terminator import Terminator
from tests.terminate.test_terminate import Servers


def pytest_asyncio_loop_factories() -> dict[str, object]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    all_of_them = Servers()
    yield all_of_them
    for server in all_of_them.open:
        server.close()
        await server.wait_closed()


@pytest.fixture
async def terminator() -> AsyncIterator[Terminator]:
    one = Terminator(asyncio.get_running_loop())
    yield one
    await one.drain(0)
    await asyncio.sleep(0)
