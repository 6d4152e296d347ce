"""What a hostile client tries beside ambiguous bytes: laundered headers, other spellings, more than it will read."""

from __future__ import annotations

import asyncio
import hashlib
import re
from base64 import b64encode
from ipaddress import ip_network

import pytest

from lb4.address import Endpoint, parse_ip
from lb4.model import Backend
from lb7.auth.model import Algorithm, BasicAuth, ForwardAuth, HeaderAuth, JwtAuth
from lb7.model import (
    Forward,
    Header,
    HeaderChanges,
    Match,
    Redirect,
    Respond,
    Retries,
    Route,
    WeightedService,
)
from tests.proxy.world import LOCALHOST, OK, Server, Talk, World, answering, body_of, eventually, named, status_of

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
BASIC = BasicAuth("users", user_header="X-User")
USERS = b"ann:{SHA}" + b64encode(hashlib.sha1(b"pw").digest()) + b"\n"
ANN = b"Authorization: Basic " + b64encode(b"ann:pw") + b"\r\n"
OWN_ADDRESS = b"x-forwarded-for: 127.0.0.1"
LAUNDERED = {
    "named client address": (
        b"Connection: X-Forwarded-For\r\nX-Forwarded-For: 6.6.6.6\r\n",
        OWN_ADDRESS,
    ),
    "claimed client address": (b"X-Forwarded-For: 6.6.6.6\r\n", OWN_ADDRESS),
    "named user": (b"Connection: X-User\r\nX-User: root\r\n", b"x-user: ann"),
    "claimed user": (b"X-User: root\r\n", b"x-user: ann"),
    "user by another spelling": (b"X_User: root\r\nx_uSER: root\r\n", b"x-user: ann"),
    "named host": (b"Connection: Host\r\n", b"host: h"),
    "named trace": (b"Connection: traceparent\r\n", b"traceparent: 00-"),
    "set by the route": (b"X_Zone: evil\r\nX-Zone: evil\r\n", b"x-zone: inner"),
}


@pytest.mark.parametrize(("lines", "wanted"), LAUNDERED.values(), ids=LAUNDERED)
async def test_no_client_says_what_is_ours_to_say(world: World, lines: bytes, wanted: bytes) -> None:
    heads: list[bytes] = []
    changes = {"auth": (BASIC,), "request_headers": HeaderChanges(set=((b"X-Zone", b"inner"),))}
    await world.serve(await world.backend(answering(OK, heads=heads)), route=changes, files={"users": USERS})
    assert status_of(await world.ask(b"GET / HTTP/1.1\r\nHost: h\r\n" + ANN + lines + b"\r\n")) == 200
    name = wanted.partition(b":")[0].replace(b"-", b"[-_]")
    found = re.findall(rb"(?i)\r\n(" + name + rb": [^\r]*)", heads[0])
    assert len(found) == 1
    assert found[0].lower().startswith(wanted)


UPGRADES = {
    b"h2c": b"",
    b"H2C": b"",
    b"h2c/1": b"",
    b"h2c, websocket": b"websocket",
    b"websocket,h2c": b"websocket",
    b"websocket": b"websocket",
    b" , ": b"",
}


@pytest.mark.parametrize(("asked", "passed"), UPGRADES.items())
async def test_http2_in_the_clear_is_never_asked_for(world: World, asked: bytes, passed: bytes) -> None:
    heads: list[bytes] = []
    await world.serve(await world.backend(answering(OK, heads=heads)))
    await world.ask(GET[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: " + asked + b"\r\n\r\n")
    assert b"".join(re.findall(rb"\r\nUpgrade: ([^\r]*)", heads[0])) == passed


SWITCHES = {
    "to what was not asked": (
        GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"h2c",
    ),
    "before the body's end": (
        b"POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 9\r\n\r\nabc",
        b"x",
    ),
}


@pytest.mark.parametrize(("request_", "protocol"), SWITCHES.values(), ids=SWITCHES)
async def test_no_tunnel(world: World, request_: bytes, protocol: bytes) -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.send(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n")
        await talk.rest()

    await world.serve(await world.backend(script))
    assert status_of(await world.ask(request_)) == 502
    assert (await world.last_logged())["reason"] == "bad-response"


async def test_interim_responses_lose_their_length(world: World) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nLink: </a>\r\n\r\n"
    await world.serve(await world.backend(early + OK))
    assert await (await world.client(GET)).head() == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nVia: 1.1 lbctl\r\n\r\n"


CLAIMS = {
    b'fe80::1%" "x': "fe80::1",
    b"fe80::1%\\": "fe80::1",
    b'1.2.3.4","x":"': "127.0.0.1",
    b"[2001:db8::1]": "2001:db8::1",
}


@pytest.mark.parametrize(("claim", "client"), CLAIMS.items())
async def test_an_address_cannot_write_into_the_log(world: World, claim: bytes, client: str) -> None:
    await world.serve(await world.backend(), trusted_proxies=(ip_network("127.0.0.0/8"),))
    await world.ask(b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: " + claim + b"\r\n\r\n")
    assert (await world.last_logged())["client"] == client


REFUSED_TOKENS = {
    "nested without end": b"[" * 9000,
    "nested objects": b'{"alg":' * 1500,
    "none": b'{"alg":"none"}',
    "None": b'{"alg":"NoNe"}',
    "no object": b"3",
    "list of algorithms": b'{"alg":["HS256"]}',
}


@pytest.mark.parametrize("head", REFUSED_TOKENS.values(), ids=REFUSED_TOKENS)
async def test_token_heads(world: World, head: bytes) -> None:
    token = b64encode(head).replace(b"=", b"") + b".e30."
    auth = JwtAuth((Algorithm.HS256,), keys="key")
    await world.serve(await world.backend(), route={"auth": (auth,)}, files={"key": b"k" * 32})
    answer = await world.ask(b"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + token + b"\r\n\r\n")
    assert status_of(answer) == 401
    assert world.servers[0].connections == 0


LOGIN = Route("login", 1, Match(path="/login"), Redirect(scheme="https"))
PONG = Route("pong", 2, Match(path="/pong"), Respond(200, ((b"X", b"1"),), b"pong"))
DATED = Route("dated", 3, Match(path="/dated"), Respond(200, ((b"Date", b"yesterday"),)))
LOCKED = Route("locked", 4, Match(path="/locked"), Respond(), auth=(HeaderAuth("Authorization"),))
OWN = {
    "redirect": (b"GET /login HTTP/1.1\r\nHost: h\r\n\r\n", 302),
    "respond": (b"GET /pong HTTP/1.1\r\nHost: h\r\n\r\n", 200),
    "respond with a Date": (b"GET /dated HTTP/1.1\r\nHost: h\r\n\r\n", 200),
    "unauthorized": (b"GET /locked HTTP/1.1\r\nHost: h\r\n\r\n", 401),
    "not found": (b"GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n", 404),
    "bad target": (b"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "bad request": (b"GET /pong HTTP/1.1\r\n\r\n", 400),
}


@pytest.mark.parametrize(("request_", "status"), OWN.values(), ids=OWN)
async def test_answers_of_our_own_are_dated_once(world: World, request_: bytes, status: int) -> None:
    await world.serve(await world.backend(), routes=(LOGIN, PONG, DATED, LOCKED))
    answer = await world.ask(request_)
    assert status_of(answer) == status
    assert len(re.findall(rb"\r\nDate: (?:\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT|yesterday)\r\n", answer)) == 1


async def test_who_pipelines_and_half_closes_gets_every_answer(world: World) -> None:
    await world.serve(
        await world.backend(),
        routes=(PONG, Route("all", 5, Match(path_prefix="/"), Forward((WeightedService("ping"),)))),
    )
    requests = (GET, b"GET /pong HTTP/1.1\r\nHost: h\r\n\r\n", GET, b"GET /pong HTTP/1.1\r\nHost: h\r\n\r\n")
    talk = await world.client()
    talk.writer.write(b"".join(requests))
    talk.writer.write_eof()
    assert (await talk.rest()).count(b"HTTP/1.1 200 OK\r\n") == len(requests)


def world_forward() -> object:
    from lb7.model import Forward, WeightedService

    return Forward((WeightedService("ping"),))


async def test_who_pipelines_and_does_not_read_fills_no_memory(world: World) -> None:
    page = Route("page", 1, Match(path_prefix="/"), Respond(200, (), b"x" * 256 * 1024))
    await world.serve(await world.backend(), routes=(page,))
    talk = await world.client()
    talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
    count = 200
    await talk.send(GET * count)
    connections = world.proxy.listeners["web"].connections
    await eventually(lambda: any(connection.write_paused for connection in connections))
    await asyncio.sleep(0.05)
    (connection,) = connections
    assert connection._transport.get_write_buffer_size() < 8 * 1024 * 1024
    talk.writer.transport.resume_reading()  # type: ignore[attr-defined]
    for _ in range(count):
        assert len(body_of(await talk.response())) == 256 * 1024


async def test_a_second_pipelined_answer_waits_for_a_client_that_does_not_read(world: World) -> None:
    first = b"HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n" + b"x" * 8_000_000
    sent = 0

    async def script(talk: Talk) -> None:
        nonlocal sent
        await talk.head()
        await talk.send(first)
        await talk.head()
        talk.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            sent += 65536
            talk.writer.write(b"10000\r\n" + b"y" * 65536 + b"\r\n")
            await talk.writer.drain()

    await world.serve(await world.backend(script))
    talk = await world.client()
    talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await talk.send(GET * 2)
    await asyncio.sleep(0.5)
    assert sent < 64_000_000


async def test_a_slow_reader_is_told_from_one_that_does_not_read(world: World) -> None:
    size = 24_000_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    await world.serve(await world.backend(answer + b"x" * size))
    talk = await world.client(GET)
    talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
    connections = world.proxy.listeners["web"].connections
    await eventually(lambda: any(connection.write_paused for connection in connections))
    await asyncio.sleep(0.1)
    (connection,) = connections
    assert [connection.takes() for _ in range(3)] == [True, False, False]
    talk.writer.transport.resume_reading()  # type: ignore[attr-defined]
    await talk.exactly(size // 2)
    assert connection.takes()


async def test_another_address_of_a_name_is_no_retry(world: World) -> None:
    one, two = await world.backend(named("one")), await world.backend(named("two"))
    ports = [server.endpoint.port for server in (one, two)]
    backends = tuple(
        Backend(Endpoint(parse_ip(address), port), name="localhost") for address in (LOCALHOST, "::1") for port in ports
    )
    await world.serve(service={"backends": backends}, retries=Retries(attempts=0, budget=0.0))
    talk = await world.client()
    heard = []
    for _ in range(40):
        await talk.send(GET)
        heard.append(body_of(await talk.response()))
    assert heard == [b"one", b"two"] * 20
    assert world.proxy.services["ping"].budget.retries == 0
    assert {line["attempts"] for line in world.logged()} == {1}


async def test_another_name_on_the_port_is_a_retry(world: World) -> None:
    server = await world.backend()
    port = server.endpoint.port
    backends = (Backend(Endpoint(parse_ip("::1"), port), name="a"), Backend(server.endpoint, name="b"))
    await world.serve(service={"backends": backends}, retries=Retries(attempts=0))
    assert sorted([status_of(await world.ask(GET)), status_of(await world.ask(GET))]) == [200, 502]


async def test_a_reload_leaves_who_waits_for_an_authorization_service(world: World) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.head()
        asked.set()
        await go.wait()
        await talk.send(OK)

    service: Server = await world.backend(script)
    auth = ForwardAuth(f"http://{service.endpoint}/")
    server = await world.backend()
    await world.serve(server, route={"auth": (auth,)})
    talk = await world.client(GET)
    await asked.wait()
    await world.serve(server)
    go.set()
    assert status_of(await talk.response()) == 200


async def test_a_gate_that_breaks_lets_nobody_pass_and_nobody_wait(world: World) -> None:
    await world.serve(await world.backend(), route={"auth": (BASIC,)}, files={"users": USERS})
    handler = world.proxy.listeners["web"].plan.handlers[1]

    class Broken:
        async def authenticate(self, *_: object) -> Header:
            raise asyncio.CancelledError

    handler.gate = Broken()  # type: ignore[assignment]
    assert status_of(await world.ask(GET)) == 503
    assert (await world.last_logged())["reason"] == "interrupted"
