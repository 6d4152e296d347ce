"""What is refused: everything two parsers could read differently, in both directions, and what is too much."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network

import pytest

from lb4.model import Limits, Listener, Mode
from lb7.model import HttpLimits, Timeouts
from tests.proxy.world import OK, Talk, World, answering, eventually, status_of

START = b"POST / HTTP/1.1\r\nHost: h\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"
AMBIGUOUS = {
    "length and chunked": START + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": START + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "two different lengths": START + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
    "list of lengths": START + b"Content-Length: 4, 4\r\n\r\nabcd",
    "signed length": START + b"Content-Length: +4\r\n\r\nabcd",
    "negative length": START + b"Content-Length: -4\r\n\r\nabcd",
    "hexadecimal length": START + b"Content-Length: 0x4\r\n\r\nabcd",
    "empty length": START + b"Content-Length:\r\n\r\n",
    "huge length": START + b"Content-Length: 99999999999999999999\r\n\r\n",
    "underscore in length": START + b"Content-Length: 1_0\r\n\r\n",
    "length with another spelling": START + b"Content_Length: 4\r\n\r\nabcd",
    "encoding with another spelling": START + b"Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two encodings": START + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "list of encodings": START + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": START + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "unknown encoding": START + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "vertical tab in encoding": START + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "quoted encoding": START + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "empty encoding": START + b"Transfer-Encoding:\r\n\r\n",
    "chunked in 1.0": b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare LF after the request line": b"GET / HTTP/1.1\nHost: h\r\n\r\n",
    "bare LF after a field": b"GET / HTTP/1.1\r\nHost: h\nX: 1\r\n\r\n",
    "bare LFs alone": b"GET / HTTP/1.1\nHost: h\n\n",
    "bare CR in a value": b"GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
    "bare CR before LF twice": b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\r\n\r\n",
    "length named as of the hop": START + b"Connection: close, Content-Length\r\nContent-Length: 4\r\n\r\nabcd",
    "length named twice": START + b"Connection: TE\r\nConnection: CONTENT-length\r\nContent-Length: 4\r\n\r\nabcd",
    "host without end": b"GET / HTTP/1.1\r\nHost: " + b"h" * 400 + b"\r\n\r\n",
    "method without end": b"G" * 80 + b" / HTTP/1.1\r\nHost: h\r\n\r\n",
    "folded line": b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
    "folded with a tab": b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n\tb\r\n\r\n",
    "folded first line": b"GET / HTTP/1.1\r\n Host: h\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length : 4\r\n\r\nabcd",
    "tab before the colon": b"GET / HTTP/1.1\r\nHost: h\r\nX\t: 4\r\n\r\n",
    "no name": b"GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: h\r\nfoo\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
    "NUL in a name": b"GET / HTTP/1.1\r\nHost: h\r\nX\0: a\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n",
    "control character in a value": b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x08b\r\n\r\n",
    "DEL in a value": b"GET / HTTP/1.1\r\nHost: h\r\nX: a\x7fb\r\n\r\n",
    "separator in a name": b"GET / HTTP/1.1\r\nHost: h\r\nX(y): a\r\n\r\n",
    "letter beyond ASCII in a name": b"GET / HTTP/1.1\r\nHost: h\r\nX\xe4: a\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
    "two different hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "empty host": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "list in host": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "user in host": b"GET / HTTP/1.1\r\nHost: u@h\r\n\r\n",
    "path in host": b"GET / HTTP/1.1\r\nHost: h/x\r\n\r\n",
    "host at odds with the target": b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
    "port at odds with the target": b"GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "user in the target": b"GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "another scheme": b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n",
    "target without a slash": b"GET ping HTTP/1.1\r\nHost: h\r\n\r\n",
    "asterisk for GET": b"GET * HTTP/1.1\r\nHost: h\r\n\r\n",
    "letter beyond ASCII in the target": b"GET /\xe4 HTTP/1.1\r\nHost: h\r\n\r\n",
    "climbing path": b"GET /../etc HTTP/1.1\r\nHost: h\r\n\r\n",
    "broken escape": b"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n",
    "two spaces in the request line": b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
    "tab in the request line": b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n",
    "space at the end of the request line": b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n",
    "space in the target": b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
    "method that is no token": b"GE T / HTTP/1.1\r\nHost: h\r\n\r\n",
    "lower case version": b"GET / http/1.1\r\nHost: h\r\n\r\n",
    "odd version": b"GET / HTTP/1.10\r\nHost: h\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "no request line": b"Host: h\r\n\r\n",
    "chunk size with a space": CHUNKED + b"1 \r\na\r\n0\r\n\r\n",
    "chunk size with 0x": CHUNKED + b"0x1\r\na\r\n0\r\n\r\n",
    "negative chunk size": CHUNKED + b"-1\r\na\r\n0\r\n\r\n",
    "empty chunk size": CHUNKED + b"\r\na\r\n0\r\n\r\n",
    "huge chunk size": CHUNKED + b"1" * 17 + b"\r\na\r\n0\r\n\r\n",
    "chunk size that overflows": CHUNKED + b"ffffffffffffffff1\r\na\r\n0\r\n\r\n",
    "bare LF after a chunk size": CHUNKED + b"1\na\r\n0\r\n\r\n",
    "bare LF after a chunk": CHUNKED + b"1\r\na\n0\r\n\r\n",
    "bare LF in a chunk extension": CHUNKED + b"1;a\nb\r\na\r\n0\r\n\r\n",
    "CR in a chunk extension": CHUNKED + b"1;a\rb\r\na\r\n0\r\n\r\n",
    "long chunk extension": CHUNKED + b"1;" + b"a" * 300 + b"\r\na\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
    "chunk shorter than its size": CHUNKED + b"3\r\na\r\n0\r\n\r\n",
    "length in the trailers": CHUNKED + b"0\r\nContent-Length: 3\r\n\r\n",
    "host in the trailers": CHUNKED + b"0\r\nHost: x\r\n\r\n",
    "folded trailer": CHUNKED + b"0\r\nX: 1\r\n y\r\n\r\n",
    "bare LF in the trailers": CHUNKED + b"0\r\nX: 1\n\r\n\r\n",
}


@pytest.mark.parametrize("payload", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_what_is_ambiguous_gets_400_and_the_connection_closes(world: World, payload: bytes) -> None:
    heads: list[bytes] = []
    await world.serve(await world.backend(answering(OK, heads=heads)))
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
    response = await world.whole(payload + smuggled)
    assert status_of(response) == 400
    assert response.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close\r\n" in response
    assert not any(b"smuggled" in head for head in heads)


@pytest.mark.parametrize("payload", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_and_byte_by_byte_too(world: World, payload: bytes) -> None:
    await world.serve(await world.backend())
    talk = await world.client()
    for at in range(len(payload)):
        talk.writer.write(payload[at : at + 1])
        await asyncio.sleep(0)
    talk.writer.write(b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
    assert status_of(await talk.rest()) == 400


VERSIONS = {b"HTTP/2.0": 505, b"HTTP/1.2": 400, b"HTTP/3.0": 505}


@pytest.mark.parametrize(("version", "status"), VERSIONS.items())
async def test_other_versions(world: World, version: bytes, status: int) -> None:
    await world.serve(await world.backend())
    assert status_of(await world.whole(b"GET / " + version + b"\r\nHost: h\r\n\r\n")) == status


GARBAGE = {
    "no status line": b"hello\r\n\r\n",
    "HTTP/0.9 answer": b"<html>hi</html>",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version 1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status 600": b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
    "bare LFs": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare LF in a field": b"HTTP/1.1 200 OK\r\nA: 1\nB: 2\r\nContent-Length: 0\r\n\r\n",
    "folded line": b"HTTP/1.1 200 OK\r\nA: 1\r\n 2\r\nContent-Length: 0\r\n\r\n",
    "control character": b"HTTP/1.1 200 OK\r\nA: \x01\r\nContent-Length: 0\r\n\r\n",
    "control character in the phrase": b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nA: \0\r\nContent-Length: 0\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "length named as of the hop": b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 1\r\n\r\na",
    "odd length": b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
    "length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "odd encoding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "chunked in 1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70000,
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"A: 1\r\n" * 300 + b"\r\n",
    "101 unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "chunk size at once": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE)
async def test_a_backend_that_answers_so_gives_502(world: World, answer: bytes) -> None:
    await world.serve(await world.backend(answer))
    response = await world.ask(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert status_of(response) == 502
    line = await world.last_logged()
    assert (line["reason"], line["status"]) == ("bad-response", 502)
    assert line["backend"] == str(world.servers[0].endpoint)


async def test_garbage_in_the_middle_of_a_body_cuts_the_response_off(world: World) -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await asyncio.sleep(0.05)
        await talk.send(b"zz\r\n")

    await world.serve(await world.backend(script))
    response = await world.whole(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert status_of(response) == 200
    assert not response.endswith(b"0\r\n\r\n")
    assert (await world.last_logged())["reason"] == "bad-response"


async def test_bytes_that_nobody_asked_for_end_a_kept_connection(world: World) -> None:
    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await talk.rest()

    server = await world.backend(script)
    await world.serve(server)
    for _ in range(3):
        assert (await world.ask(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")).endswith(b"\r\n\r\nok")
    assert server.connections == 3


LIMITS = [
    pytest.param(HttpLimits(target=100), b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414, id="target"),
    pytest.param(HttpLimits(), b"GET /" + b"a" * 9000, 414, id="target without end"),
    pytest.param(HttpLimits(head=500), b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 500 + b"\r\n\r\n", 431, id="head"),
    pytest.param(HttpLimits(), b"GET / HTTP/1.1\r\nX: " + b"a" * 33000, 431, id="head without end"),
    pytest.param(
        HttpLimits(header_count=5), b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: 1\r\n" * 5 + b"\r\n", 431, id="count"
    ),
    pytest.param(HttpLimits(body=3), b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd", 413, id="body"),
    pytest.param(HttpLimits(body=3), CHUNKED + b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n", 413, id="chunked body"),
    pytest.param(HttpLimits(head_timeout=0.1), b"GET / HTTP/1.1\r\nHost", 408, id="slow head"),
]


@pytest.mark.parametrize(("limits", "request_", "status"), LIMITS)
async def test_each_limit_has_its_status(world: World, limits: HttpLimits, request_: bytes, status: int) -> None:
    await world.serve(await world.backend(), limits=limits)
    assert status_of(await world.whole(request_)) == status


async def test_a_client_that_says_nothing_is_closed_without_a_word(world: World) -> None:
    await world.serve(await world.backend(), limits=HttpLimits(head_timeout=0.1))
    assert await world.whole(b"") == b""


async def test_an_idle_client_is_closed_without_a_word(world: World) -> None:
    await world.serve(await world.backend(), limits=HttpLimits(idle_timeout=0.1))
    talk = await world.client(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await talk.response()
    assert await talk.rest() == b""


async def test_the_last_request_of_a_connection_closes_it(world: World) -> None:
    await world.serve(await world.backend(), limits=HttpLimits(requests=2))
    talk = await world.client(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 3)
    responses = await talk.rest()
    assert responses.count(b"HTTP/1.1 200") == 2
    assert responses.count(b"Connection: close") == 1


async def test_connections_per_client(world: World) -> None:
    listener = Listener("web", (), mode=Mode.HTTP, limits=Limits(connections_per_client=2))
    await world.serve(await world.backend(), listener=listener)
    first, _ = await world.client(), await world.client()
    await eventually(lambda: len(world.proxy.listeners["web"].connections) == 2)
    refused = await world.client()
    assert status_of(await refused.response()) == 429
    refused.close()
    first.close()
    await eventually(lambda: len(world.proxy.listeners["web"].connections) == 1)
    assert status_of(await world.ask(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")) == 200


@pytest.mark.parametrize(
    ("lists", "status"),
    [
        ({"deny": (ip_network("127.0.0.0/8"),)}, 0),
        ({"deny": (ip_network("10.0.0.0/8"),)}, 200),
        ({"allow": (ip_network("10.0.0.0/8"),)}, 0),
        ({"allow": (ip_network("127.0.0.1/32"),)}, 200),
    ],
)
async def test_allow_and_deny(world: World, lists: dict[str, object], status: int) -> None:
    await world.serve(await world.backend(), listener=Listener("web", (), mode=Mode.HTTP, **lists))  # type: ignore[arg-type]
    assert status_of(await world.whole(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")) == status


async def test_a_refused_body_is_read_so_that_the_answer_arrives(world: World) -> None:
    await world.serve(await world.backend(), limits=HttpLimits(body=10), timeouts=Timeouts())
    talk = await world.client(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n")
    for _ in range(10):
        await talk.send(b"x" * 50000)
    assert status_of(await talk.rest()) == 413
