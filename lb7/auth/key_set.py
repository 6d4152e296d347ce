"""The fetched key set of an issuer: when it is fetched again, and the loop that does so.

The rule: the last good set is kept for as long as no newer one comes; before the first one nobody passes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from lb7.auth.jwt_keys import Key, keys_of_set
from lb7.auth.model import Algorithm

SOONEST = 10.0
"""Seconds between two fetches that unknown keys cause, so that bad tokens cannot make us flood the issuer."""
FETCH_TIMEOUT = 5.0
SET_MAX = 1024 * 1024


def next_fetch(failures: int, refresh: float) -> float:
    """Seconds until the next fetch: refresh when all is well, else 1, 2, 4 … and never later than that."""
    return refresh if failures == 0 else min(refresh, 2.0 ** min(failures - 1, 16))


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a fetch brought: keys, or why there are none."""

    keys: tuple[Key, ...] = ()
    failure: str = ""


async def fetch(session: aiohttp.ClientSession, url: str, wanted: Sequence[Algorithm]) -> Fetched:
    """One fetch of a key set."""
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(FETCH_TIMEOUT)) as answer:
            content = await answer.content.read(SET_MAX + 1)
            if answer.status != 200:
                return Fetched(failure=f"{url} answered {answer.status}")
            keys = keys_of_set(json.loads(content), wanted) if len(content) <= SET_MAX else ()
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        return Fetched(failure=f"{url}: {str(error) or type(error).__name__}")
    return Fetched(keys) if keys else Fetched(failure=f"{url} holds no key for {', '.join(wanted)}")


class KeySet:
    """The keys of a URL, kept fresh between start and close."""

    def __init__(self, url: str, refresh: float, wanted: Sequence[Algorithm]) -> None:
        """refresh in seconds."""
        self._url = url
        self._refresh = refresh
        self._wanted = tuple(wanted)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._fetched = asyncio.Event()
        self._fetching = True
        self._last = -SOONEST
        self.keys: tuple[Key, ...] = ()
        self.failure = f"{url} was not fetched yet"

    def start(self) -> None:
        """Begins to fetch, in the running loop."""
        self._session = aiohttp.ClientSession(trust_env=True)
        self._loop = asyncio.create_task(self._keep_fresh(self._session), name=f"keys of {self._url}")

    async def close(self) -> None:
        """Fetches no more."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def may_bring(self) -> bool:
        """Whether waiting for an unknown key makes sense: a fetch is on its way, or may be made now."""
        rested = asyncio.get_running_loop().time() - self._last >= SOONEST
        return self._loop is not None and (self._fetching or rested)

    async def newer(self) -> None:
        """Returns when the next fetch has come back, good or bad, or has taken too long."""
        if not self._fetching:
            self._asked.set()
        try:
            await asyncio.wait_for(self._fetched.wait(), FETCH_TIMEOUT + 1)
        except TimeoutError:
            return

    async def _keep_fresh(self, session: aiohttp.ClientSession) -> None:
        failures = 0
        while True:
            self._last = asyncio.get_running_loop().time()
            self._asked.clear()
            self._fetching = True
            found = await fetch(session, self._url, self._wanted)
            self._fetching = False
            failures = 0 if found.keys else failures + 1
            self.keys, self.failure = found.keys or self.keys, found.failure
            self._fetched.set()
            self._fetched.clear()
            try:
                await asyncio.wait_for(self._asked.wait(), next_fetch(failures, self._refresh))
            except TimeoutError:
                continue
