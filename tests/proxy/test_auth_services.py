"""Authentication that asks another server: authorization services and key sets, over real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from lb7.auth import key_set
from lb7.auth.gate import Gates
from lb7.auth.key_set import next_fetch
from lb7.auth.model import Algorithm, Auth, ForwardAuth, JwtAuth
from lb7.auth.verdict import Allowed, ConnectionInfo, Refused, Verdict
from lb7.model import Header

HERE = ConnectionInfo(client="192.0.2.1", scheme="https")
Answer = Callable[[web.Request], web.StreamResponse]


@asynccontextmanager
async def served(answer: Answer) -> AsyncIterator[str]:
    """A server that answers so; its URL."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.Request)
        return answer(request)

    application = web.Application()
    application.router.add_route("*", "/{any:.*}", handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def gates(*auths: Auth) -> AsyncIterator[Gates]:
    made = Gates([(auth,) for auth in auths], {})
    made.start()
    try:
        yield made
    finally:
        await made.close()


async def ask(made: Gates, auth: Auth, *headers: Header) -> Verdict:
    gate = made.of((auth,))
    assert gate is not None
    answer = gate.authenticate("POST", "a.org:8443", "/x?y", headers, HERE)
    return answer if isinstance(answer, Allowed | Refused) else await answer


async def test_a_yes_lets_pass_and_its_chosen_headers_go_on() -> None:
    seen: list[tuple[str, dict[str, str]]] = []

    def yes(request: web.Request) -> web.Response:
        seen.append((f"{request.method} {request.path_qs}", dict(request.headers)))
        return web.Response(status=204, headers={"X-User": "ann", "X-Other": "not kept"})

    async with served(yes) as url:
        auth = ForwardAuth(f"{url}/auth?z", keep=("X-User", "X-Role"))
        async with gates(auth) as made:
            given = [(b"Cookie", b"a=b"), (b"X-Forwarded-For", b"forged"), (b"Content-Length", b"9"), (b"Host", b"a")]
            verdict = await ask(made, auth, *given)
    assert verdict == Allowed(headers=((b"X-User", b"ann"),), remove=(b"X-User", b"X-Role"))
    (line, headers) = seen[0]
    assert line == "GET /auth?z"
    assert headers["Cookie"] == "a=b"
    forwarded = {name: headers[f"X-Forwarded-{name}"] for name in ("For", "Method", "Proto", "Host", "Uri")}
    wanted = {"For": "192.0.2.1", "Method": "POST", "Proto": "https", "Host": "a.org:8443", "Uri": "/x?y"}
    assert forwarded == wanted
    assert "Content-Length" not in headers


async def test_only_chosen_headers_are_sent_where_some_are() -> None:
    seen: list[set[str]] = []

    def yes(request: web.Request) -> web.Response:
        seen.append({name.lower() for name in request.headers})
        return web.Response()

    async with served(yes) as url:
        auth = ForwardAuth(url, send=("Authorization",))
        async with gates(auth) as made:
            await ask(made, auth, (b"authorization", b"x"), (b"Cookie", b"a=b"))
    assert "authorization" in seen[0]
    assert "cookie" not in seen[0]


@pytest.mark.parametrize("status", [302, 401, 403])
async def test_a_no_goes_to_the_client_as_it_is(status: int) -> None:
    def no(request: web.Request) -> web.Response:
        headers = {"Location": "https://login.org/", "WWW-Authenticate": "Custom", "X-Secret": "internal"}
        return web.Response(status=status, headers=headers, text="go away")

    async with served(no) as url:
        auth = ForwardAuth(url)
        async with gates(auth) as made:
            verdict = await ask(made, auth)
    assert isinstance(verdict, Refused)
    assert (verdict.status, verdict.body) == (status, b"go away")
    names = {name for name, _ in verdict.headers}
    assert names >= {b"Location", b"WWW-Authenticate", b"Content-Type"}
    assert b"X-Secret" not in names


@pytest.mark.parametrize("behaviour", ["500", "stalls", "closes", "nobody"])
async def test_without_an_answer_nobody_passes(behaviour: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if behaviour == "500":
            writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        if behaviour != "stalls":
            writer.close()
        else:
            held.append(writer)

    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if behaviour == "nobody":
        server.close()
    auth = ForwardAuth(f"http://127.0.0.1:{port}", timeout=0.2)
    async with gates(auth) as made:
        verdict = await ask(made, auth)
    for writer in held:
        writer.close()
    server.close()
    assert isinstance(verdict, Refused)
    assert verdict.status == 503


KEYS = {name: rsa.generate_private_key(65537, 2048) for name in ("old", "new")}


def key_document(*names: str) -> str:
    keys = [{**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEYS[n].public_key())), "kid": n} for n in names]
    return json.dumps({"keys": keys})


def bearer(name: str) -> Header:
    token = jwt.encode({"sub": name, "exp": int(time.time()) + 60}, KEYS[name], "RS256", headers={"kid": name})
    return b"Authorization", f"Bearer {token}".encode()


async def test_key_sets_are_fetched_and_fetched_again_for_unknown_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "SOONEST", 0.0)
    names, fetched = ["old"], []

    def keys(request: web.Request) -> web.Response:
        fetched.append(request.path)
        return web.Response(text=key_document(*names))

    async with served(keys) as url:
        auth = JwtAuth((Algorithm.RS256,), jwks_url=f"{url}/jwks")
        async with gates(auth) as made:
            assert await ask(made, auth, bearer("old")) == Allowed("old")
            assert isinstance(await ask(made, auth, bearer("new")), Refused)
            names[:] = ["new"]
            assert await ask(made, auth, bearer("new")) == Allowed("new")
            assert isinstance(await ask(made, auth, bearer("old")), Refused)
    assert len(fetched) >= 3


async def test_unknown_keys_cannot_flood_the_issuer() -> None:
    fetched = []

    def keys(request: web.Request) -> web.Response:
        fetched.append(request.path)
        return web.Response(text=key_document("old"))

    async with served(keys) as url:
        auth = JwtAuth((Algorithm.RS256,), jwks_url=url)
        async with gates(auth) as made:
            verdicts = [await ask(made, auth, bearer("new")) for _ in range(20)]
    assert all(isinstance(verdict, Refused) and verdict.status == 401 for verdict in verdicts)
    assert len(fetched) == 1


async def test_the_last_good_key_set_is_kept_and_without_one_nobody_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "SOONEST", 0.0)
    broken = True

    def keys(request: web.Request) -> web.Response:
        return web.Response(status=500) if broken else web.Response(text=key_document("old"))

    async with served(keys) as url:
        auth = JwtAuth((Algorithm.RS256,), jwks_url=url)
        async with gates(auth) as made:
            verdict = await ask(made, auth, bearer("old"))
            assert isinstance(verdict, Refused)
            assert verdict.status == 503
            broken = False
            assert await ask(made, auth, bearer("old")) == Allowed("old")
            broken = True
            assert isinstance(await ask(made, auth, bearer("new")), Refused)
            assert await ask(made, auth, bearer("old")) == Allowed("old")


@pytest.mark.parametrize(
    ("failures", "refresh", "seconds"),
    [(0, 300, 300), (1, 300, 1), (2, 300, 2), (5, 300, 16), (50, 300, 300), (3, 2, 2)],
)
def test_failed_fetches_are_repeated_slower_and_slower(failures: int, refresh: float, seconds: float) -> None:
    assert next_fetch(failures, refresh) == seconds
