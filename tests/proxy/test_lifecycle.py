"""Expectations, tunnels, new configurations and the end: what must not cost a request."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace

import pytest
import websockets

from lb7.auth.model import HeaderAuth
from lb7.model import Forward, Match, Redirect, Respond, Route, Timeouts, WeightedService
from tests.proxy.world import LOCALHOST, OK, Talk, World, answering, body_of, eventually, named, status_of

GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
EXPECT = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n"
UPGRADE = GET + b"Connection: Upgrade\r\nUpgrade: echo\r\n\r\n"
AUTH = {"route": {"auth": (HeaderAuth("Authorization"),)}}


@pytest.mark.parametrize("field", [b"", b"Authorization:\r\n", b"Authorization: \t \r\n"])
@pytest.mark.parametrize("start", [GET, EXPECT])
async def test_401_before_a_backend_and_before_100(world: World, start: bytes, field: bytes) -> None:
    server = await world.backend()
    await world.serve(server, **AUTH)
    talk = await world.client(start + field + b"\r\n")
    assert status_of(await talk.response()) == 401
    assert server.connections == 0


async def test_the_backend_says_100(world: World) -> None:
    async def script(talk: Talk) -> None:
        assert b"Expect: 100-continue\r\n" in await talk.head()
        await talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await talk.exactly(2) == b"ab"
        await talk.send(OK)

    await world.serve(await world.backend(script))
    talk = await world.client(EXPECT + b"\r\n")
    assert await talk.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await talk.send(b"ab")
    assert status_of(await talk.response()) == 200


async def test_the_backend_refuses_before_the_body(world: World) -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    await world.serve(await world.backend(script))
    response = await world.whole(EXPECT + b"\r\n")
    assert status_of(response) == 403
    assert b"Connection: close" in response


async def test_a_backend_that_never_says_100(world: World) -> None:
    await world.serve(await world.backend(answering(OK)))
    talk = await world.client(EXPECT + b"\r\n")
    assert await talk.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await talk.send(b"ab")
    assert status_of(await talk.response()) == 200


async def test_an_early_answer_ends_the_upload(world: World) -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await talk.rest()

    await world.serve(await world.backend(script))
    talk = await world.client(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nabc")
    response = await talk.rest()
    assert status_of(response) == 413
    assert b"Connection: close" in response


async def tunnel_echo(talk: Talk) -> None:
    head = await talk.head()
    assert b"Connection: Upgrade\r\nUpgrade: echo\r\n" in head
    await talk.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello")
    while data := await talk.reader.read(1000):
        await talk.send(data.upper())
    await talk.send(b"bye")


async def test_a_tunnel_and_its_half_close(world: World) -> None:
    await world.serve(await world.backend(tunnel_echo))
    talk = await world.client(UPGRADE + b"first")
    head = await talk.head()
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Connection: Upgrade\r\nUpgrade: echo\r\n" in head
    assert await talk.exactly(10) == b"helloFIRST"
    await talk.send(b"more")
    assert await talk.exactly(4) == b"MORE"
    talk.writer.write_eof()
    assert await talk.rest() == b"bye"
    line = await world.last_logged()
    assert (line["status"], line["bytes_in"], line["bytes_out"]) == (101, 9, 17)


async def test_connect_where_it_is_configured(world: World) -> None:
    async def speaks_first(talk: Talk) -> None:
        await talk.send(b"220 hello\r\n")
        while data := await talk.reader.read(1000):
            await talk.send(data.upper())

    await world.serve(await world.backend(speaks_first), route={"connect": True})
    talk = await world.client(b"CONNECT mail:25 HTTP/1.1\r\nHost: mail:25\r\n\r\nehlo\r\n")
    assert (await talk.head()).startswith(b"HTTP/1.1 200 OK\r\n")
    assert await talk.exactly(17) == b"220 hello\r\nEHLO\r\n"
    talk.writer.write_eof()
    assert await talk.rest() == b""


async def test_an_upgrade_that_the_backend_does_not_want(world: World) -> None:
    await world.serve(await world.backend())
    talk = await world.client(UPGRADE + GET + b"\r\n")
    assert [status_of(await talk.response()) for _ in range(2)] == [200, 200]


async def test_no_upgrade_to_http_2(world: World) -> None:
    heads: list[bytes] = []
    await world.serve(await world.backend(answering(OK, heads=heads)))
    await world.ask(GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n")
    assert b"pgrade" not in heads[0]
    assert b"HTTP2" not in heads[0]


async def test_an_idle_tunnel_ends(world: World) -> None:
    await world.serve(await world.backend(tunnel_echo), timeouts=Timeouts(idle=0.1))
    talk = await world.client(UPGRADE)
    assert (await talk.rest()).endswith(b"hello")
    assert (await world.last_logged())["reason"] == "idle-timeout"


async def test_websockets_survive_a_new_configuration(world: World) -> None:
    async def echo(connection: websockets.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with websockets.serve(echo, LOCALHOST, 0) as server:
        other = await world.backend(named("new"))
        await world.serve(other)
        inner = other.endpoint
        from dataclasses import replace

        other.endpoint = replace(inner, port=server.sockets[0].getsockname()[1])
        await world.serve(other)
        async with websockets.connect(f"ws://{LOCALHOST}:{world.port}/chat") as client:
            await client.send("one")
            assert await client.recv() == "one"
            other.endpoint = inner
            await world.serve(other)
            assert body_of(await world.ask(GET + b"\r\n")) == b"new"
            await client.send("x" * 100_000)
            assert await client.recv() == "x" * 100_000


async def test_no_request_is_lost_in_new_configurations(world: World) -> None:
    servers = [await world.backend(named(name)) for name in "ab"]
    await world.serve(*servers)
    statuses: list[int] = []
    ending = asyncio.Event()

    async def ask_on() -> None:
        talk = await world.client()
        while not ending.is_set():
            await talk.send(GET + b"\r\n")
            statuses.append(status_of(await talk.response()))

    tasks = [asyncio.create_task(ask_on()) for _ in range(8)]
    for number in range(20):
        await world.serve(servers[number % 2])
        await asyncio.sleep(0.01)
    ending.set()
    await asyncio.gather(*tasks)
    assert len(statuses) > 50
    assert set(statuses) == {200}


async def test_a_configuration_that_is_replaced_is_free_at_once(world: World) -> None:
    """What only the collector of cycles could free would stay for good: a worker freezes what it has configured."""
    server = await world.backend()
    forward = Forward((WeightedService("ping"),))
    routes = [
        Route(str(number), number, Match(path_prefix=f"/{number}"), action, auth=(HeaderAuth("X"),))
        for number, action in enumerate((forward, Redirect(), Respond()), 1)
    ]
    for _ in range(3):
        await world.serve(server, routes=routes)
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(3):
            await world.serve(server, routes=[replace(route) for route in routes])
        gc.collect()
        assert [each for each in gc.garbage if type(each).__module__.startswith("lb7.")] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


async def test_drain_answers_what_was_asked_and_closes_what_is_idle(world: World) -> None:
    async def slow(talk: Talk) -> None:
        await talk.head()
        await asyncio.sleep(0.1)
        await talk.send(OK)

    server = await world.backend(slow)
    await world.serve(server)
    idle, busy = await world.client(), await world.client(GET + b"\r\n")
    await eventually(lambda: server.connections == 1)
    draining = asyncio.create_task(world.proxy.drain(5))
    assert await idle.rest() == b""
    response = await busy.rest()
    assert status_of(response) == 200
    assert b"Connection: close" in response
    await draining
    with pytest.raises(ConnectionRefusedError):
        await world.client()


async def test_drain_has_an_end(world: World) -> None:
    await world.serve(await world.backend(tunnel_echo))
    talk = await world.client(UPGRADE)
    await talk.head()
    await world.proxy.drain(0.1)
    assert await talk.rest() in (b"hello", b"")


async def test_statistics(world: World) -> None:
    await world.serve(await world.backend(named("a")), await world.backend(b"nonsense\r\n\r\n"))
    for _ in range(4):
        await world.ask(GET + b"\r\n")
    document = world.proxy.statistics()
    http = document["http"]
    web, ping = http["listeners"]["web"], http["services"]["ping"]  # type: ignore[index]
    assert web["statuses"] == {"2xx": 2, "5xx": 2}
    assert web["reasons"] == {"bad-response": 2}
    assert sum(web["routes"]["all"]["latency"]["buckets"]) == 4
    assert [backend["requests"] for backend in ping["backends"].values()] == [2, 2]
    assert [(row["active"], row["total"]) for row in document["backends"]] == [(0, 2), (0, 2)]  # type: ignore[attr-defined]


async def test_flows(world: World) -> None:
    await world.serve(await world.backend(tunnel_echo))
    talk = await world.client(UPGRADE)
    await talk.head()
    (flow,) = world.proxy.statistics()["flows"]  # type: ignore[misc]
    host, port = talk.writer.get_extra_info("sockname")
    assert flow["client"] == f"{host}:{port}"
    assert flow["target"] == f"{LOCALHOST}:{world.port}"
    assert flow["backend"] == str(world.servers[0].endpoint)
