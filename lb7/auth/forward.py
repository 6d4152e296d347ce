"""Another service decides who may pass.

The rule: only a clear yes (200 to 299) lets a request through. A clear no goes to the client as it is, and where no
answer comes in time, or one of 500 and above, nobody passes: 503.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

import aiohttp
from multidict import CIMultiDict

from lb7.auth.model import ForwardAuth
from lb7.auth.refusing import undecided
from lb7.auth.verdict import Allowed, ConnectionInfo, Refused, Verdict
from lb7.model import Header

BODY_MAX = 64 * 1024
NEVER_SENT = frozenset(
    b"connection content-length content-type content-encoding expect forwarded host keep-alive proxy-connection te "
    b"trailer transfer-encoding upgrade".split()
)
PASSED_BACK = frozenset(b"content-type www-authenticate location set-cookie cache-control retry-after".split())


class ForwardAuthenticator:
    """Asks an authorization service for each request."""

    def __init__(self, auth: ForwardAuth) -> None:
        self._auth = auth
        self._send = frozenset(name.lower().encode("ascii") for name in auth.send)
        self._keep = tuple(name.encode("ascii") for name in auth.keep)
        self._session: aiohttp.ClientSession | None = None
        self._asking = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    def start(self) -> None:
        """Gets ready, in the running loop."""
        timeout = aiohttp.ClientTimeout(total=self._auth.timeout)
        self._session = aiohttp.ClientSession(
            timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )

    async def close(self) -> None:
        """Closes the connections to the service once who waits for it has its answer."""
        await self._quiet.wait()
        if self._session is not None:
            await self._session.close()

    def authenticate(
        self, method: str, host: str, target: str, headers: Sequence[Header], connection: ConnectionInfo
    ) -> Verdict | Awaitable[Verdict]:
        """What the service says."""
        if self._session is None:
            return undecided("the authorization service is not asked yet")
        return self._asked(self._session, self._question(method, host, target, headers, connection))

    def _question(
        self, method: str, host: str, target: str, headers: Sequence[Header], connection: ConnectionInfo
    ) -> CIMultiDict[str]:
        """The headers of the question."""
        asked: CIMultiDict[str] = CIMultiDict()
        for name, value in headers:
            lower = name.lower()
            chosen = lower in self._send if self._send else lower not in NEVER_SENT
            if chosen and not lower.startswith(b"x-forwarded-"):
                asked.add(name.decode("latin-1"), value.decode("utf-8", "surrogateescape"))
        asked["X-Forwarded-Method"] = method
        asked["X-Forwarded-Proto"] = connection.scheme
        asked["X-Forwarded-Host"] = host
        asked["X-Forwarded-Uri"] = target
        asked["X-Forwarded-For"] = connection.client
        return asked

    async def _asked(self, session: aiohttp.ClientSession, question: CIMultiDict[str]) -> Verdict:
        self._asking += 1
        self._quiet.clear()
        try:
            return await self._decided(session, question)
        finally:
            self._asking -= 1
            if not self._asking:
                self._quiet.set()

    async def _decided(self, session: aiohttp.ClientSession, question: CIMultiDict[str]) -> Verdict:
        try:
            async with session.get(self._auth.url, headers=question, allow_redirects=False) as answer:
                if 200 <= answer.status <= 299:
                    return self._yes(answer)
                if answer.status >= 500:
                    return undecided(f"{self._auth.url} answered {answer.status}")
                return Refused(
                    answer.status,
                    f"{self._auth.url} answered {answer.status}",
                    tuple(field for field in answer.raw_headers if field[0].lower() in PASSED_BACK),
                    await _body(answer),
                )
        except TimeoutError:
            return undecided(f"{self._auth.url} did not answer within {self._auth.timeout:g}s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return undecided(f"{self._auth.url}: {str(error) or type(error).__name__}")

    def _yes(self, answer: aiohttp.ClientResponse) -> Allowed:
        wanted = {name.lower(): name for name in self._keep}
        kept = tuple((wanted[n.lower()], value) for n, value in answer.raw_headers if n.lower() in wanted)
        return Allowed(headers=kept, remove=self._keep)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """The start of the answer's body; what is longer is cut."""
    content = b""
    while len(content) < BODY_MAX and (more := await answer.content.read(BODY_MAX - len(content))):
        content += more
    return content
