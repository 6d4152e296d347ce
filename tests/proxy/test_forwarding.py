"""What goes over each wire when a request is forwarded: transcripts."""

from __future__ import annotations

import pytest

from tests.proxy.world import OK, World, answering, body_of, named, status_of, without_added

GET = b"GET /ping HTTP/1.1\r\nHost: h\r\n"
TRANSCRIPTS = [
    pytest.param(GET + b"\r\n", GET + b"\r\n", OK, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", id="plain"),
    pytest.param(
        GET + b"X-B: 2\r\nx-a: 1\r\nX-B: 3\r\n\r\n",
        GET + b"X-B: 2\r\nx-a: 1\r\nX-B: 3\r\n\r\n",
        b"HTTP/1.1 200 Fine\r\nSet-Cookie: a=1\r\nserver: x\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 Fine\r\nSet-Cookie: a=1\r\nserver: x\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
        id="order, case and duplicates stay",
    ),
    pytest.param(
        GET + b"Connection: keep-alive, X-Mine\r\nKeep-Alive: timeout=5\r\nX-Mine: 1\r\nProxy-Connection: x\r\n\r\n",
        GET + b"\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        id="fields of one hop end here",
    ),
    pytest.param(
        b"POST /u HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /u HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 9\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 9\r\n\r\n",
        id="length up, chunks with trailers down",
    ),
    pytest.param(
        b"POST /u HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
        b"POST /u HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
        OK,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        id="chunks with trailers up",
    ),
    pytest.param(
        b"GET http://h/abs?q=1 HTTP/1.1\r\nHost: H:80\r\n\r\n",
        b"GET /abs?q=1 HTTP/1.1\r\nHost: H:80\r\n\r\n",
        OK,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        id="absolute target",
    ),
    pytest.param(
        b"PURGE /x HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PURGE /x HTTP/1.1\r\nHost: h\r\n\r\n",
        OK,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        id="unknown method",
    ),
    pytest.param(
        GET + b"\r\n",
        GET + b"\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n",
        id="early hints",
    ),
    pytest.param(
        b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n",
        b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: 1\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: 1\r\n\r\n",
        id="HEAD and 304",
    ),
]


@pytest.mark.parametrize(("request_", "at_backend", "answer", "at_client"), TRANSCRIPTS)
async def test_transcript(world: World, request_: bytes, at_backend: bytes, answer: bytes, at_client: bytes) -> None:
    heads: list[bytes] = []
    await world.serve(await world.backend(answering(answer, heads=heads)))
    response = await world.ask(request_)
    assert without_added(heads[0]) == at_backend
    assert without_added(response) == at_client


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"),
    ],
)
async def test_no_body_and_the_connections_go_on(world: World, method: bytes, answer: bytes) -> None:
    server = await world.backend(answering(answer))
    await world.serve(server)
    talk = await world.client()
    for _ in range(3):
        await talk.send(method + b" / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await talk.head()).startswith(answer.partition(b"\r\n")[0])
    assert server.connections == 1


async def test_pipelined_requests_are_answered_in_order(world: World) -> None:
    async def echo(talk) -> None:  # type: ignore[no-untyped-def]
        while True:
            target = (await talk.head()).split(b" ")[1].decode()
            await talk.send(named(target))

    await world.serve(await world.backend(echo), await world.backend(echo))
    talk = await world.client(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(50)))
    assert [body_of(await talk.response()) for _ in range(50)] == [b"/%d" % n for n in range(50)]


async def test_one_client_connection_alternates_between_backends(world: World) -> None:
    await world.serve(await world.backend(named("a")), await world.backend(named("b")))
    talk = await world.client()
    bodies = []
    for _ in range(6):
        await talk.send(GET + b"\r\n")
        bodies.append(body_of(await talk.response()))
    assert bodies == [b"a", b"b"] * 3


@pytest.mark.parametrize("keeps", [True, False])
async def test_http_1_0_clients(world: World, keeps: bool) -> None:
    await world.serve(await world.backend())
    keep = b"Connection: keep-alive\r\n" if keeps else b""
    talk = await world.client(b"GET / HTTP/1.0\r\n" + keep + b"\r\n")
    response = await talk.response()
    assert (b"Connection: keep-alive" in response, b"Connection: close" in response) == (keeps, not keeps)
    if keeps:
        await talk.send(b"GET / HTTP/1.0\r\n\r\n")
    assert (await talk.rest() != b"") == keeps


async def test_http_1_0_clients_get_no_chunks(world: World) -> None:
    await world.serve(await world.backend(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"))
    response = await world.whole(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert body_of(response) == b"ok"
    assert b"chunked" not in response


async def test_a_body_until_the_end_becomes_chunks(world: World) -> None:
    async def until_close(talk) -> None:  # type: ignore[no-untyped-def]
        await talk.head()
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\nhello")

    await world.serve(await world.backend(until_close))
    talk = await world.client(GET + b"\r\n" + GET + b"\r\n")
    for _ in range(2):
        response = await talk.response()
        assert body_of(response) == b"5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        (b"", b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n"),
        (
            b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nForwarded: for=x\r\n",
            b"X-Forwarded-For: 127.0.0.1\r\n",
        ),
    ],
)
async def test_forwarding_fields_of_clients_are_not_believed(world: World, sent: bytes, got: bytes) -> None:
    heads: list[bytes] = []
    await world.serve(await world.backend(answering(OK, heads=heads)))
    await world.ask(GET + sent + b"\r\n")
    assert got in heads[0]
    assert b"1.2.3.4" not in heads[0]
    assert heads[0].count(b"X-Forwarded-Proto: http\r\n") == 1
    assert b"\r\nVia: 1.1 lbctl\r\n" in heads[0]


async def test_trusted_proxies_are_believed(world: World) -> None:
    from ipaddress import ip_network

    heads: list[bytes] = []
    server = await world.backend(answering(OK, heads=heads))
    await world.serve(server, trusted_proxies=(ip_network("127.0.0.0/8"),), forwarded=True)
    await world.ask(GET + b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.2.3.4\r\n\r\n")
    assert b"X-Forwarded-For: 1.2.3.4, 127.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: h\r\n" in heads[0]
    assert b'Forwarded: for=1.2.3.4, for=127.0.0.1;proto=http;host="h"\r\n' in heads[0]
    assert (await world.last_logged())["client"] == "1.2.3.4"


async def test_request_id_and_trace(world: World) -> None:
    heads: list[bytes] = []
    await world.serve(await world.backend(answering(OK, heads=heads)))
    trace = b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
    await world.ask(GET + b"X-Request-Id: mine\r\n" + trace + b"\r\n")
    await world.ask(GET + b"traceparent: nonsense\r\n\r\n")
    assert b"X-Request-Id: mine\r\n" + trace in heads[0]
    assert heads[1].count(b"traceparent: 00-") == 1
    assert (await world.last_logged())["request_id"].encode() in heads[1]


async def test_connect_is_refused(world: World) -> None:
    server = await world.backend()
    await world.serve(server)
    assert status_of(await world.ask(b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n")) == 405
    assert server.connections == 0
