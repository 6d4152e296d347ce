"""Backends that fail: what the client hears, what is tried again, what the access log says."""

from __future__ import annotations

import asyncio
import socket

import pytest

from lb4.address import Endpoint, parse_ip
from lb4.model import Affinity, Health, Scheduler, SchedulerKind, Service
from lb7.model import Ejection, HttpLimits, Retries, Timeouts
from tests.proxy.world import LOCALHOST, OK, Server, Talk, World, answering, body_of, eventually, named, status_of

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"


async def stall(talk: Talk) -> None:
    await talk.head()
    await talk.rest()


async def close_early(talk: Talk) -> None:
    await talk.head()
    talk.close()


async def reset(talk: Talk) -> None:
    await talk.head()
    talk.reset()


async def close_within_head(talk: Talk) -> None:
    await talk.head()
    await talk.send(b"HTTP/1.1 200 OK\r\nCont")
    talk.close()


async def half_close(talk: Talk) -> None:
    await talk.head()
    talk.writer.write_eof()
    await talk.rest()


async def never_reached(talk: Talk) -> None:
    await talk.rest()


def nobody() -> Server:
    """A port where connections are refused."""
    with socket.create_server((LOCALHOST, 0)) as sock:
        port = sock.getsockname()[1]
    server = Server(never_reached)
    server.endpoint = Endpoint(parse_ip(LOCALHOST), port)
    return server


FAILURES = [
    pytest.param(close_early, 502, "connection-lost", id="closes early"),
    pytest.param(reset, 502, "connection-lost", id="resets"),
    pytest.param(close_within_head, 502, "connection-lost", id="closes within the head"),
    pytest.param(half_close, 502, "connection-lost", id="half-closes"),
    pytest.param(stall, 504, "first-byte-timeout", id="stalls"),
]


@pytest.mark.parametrize(("script", "status", "reason"), FAILURES)
async def test_what_the_client_hears(world: World, script, status: int, reason: str) -> None:  # type: ignore[no-untyped-def]
    server = await world.backend(script)
    await world.serve(server, timeouts=Timeouts(first_byte=0.1), retries=Retries(attempts=0))
    assert status_of(await world.ask(GET)) == status
    line = await world.last_logged()
    assert (line["status"], line["reason"], line["backend"]) == (status, reason, str(server.endpoint))


async def test_no_backend_at_all(world: World) -> None:
    await world.serve()
    assert status_of(await world.ask(GET)) == 503
    assert (await world.last_logged())["reason"] == "no-backend"


async def test_refused_connections(world: World) -> None:
    await world.serve(nobody(), retries=Retries(attempts=0))
    assert status_of(await world.ask(GET)) == 502
    assert (await world.last_logged())["reason"] == "connect-failed"


RETRIED = [
    pytest.param(GET, nobody, True, id="GET, nothing sent"),
    pytest.param(POST, nobody, True, id="POST, nothing sent"),
    pytest.param(GET, close_early, True, id="GET, closed before an answer"),
    pytest.param(POST, close_early, False, id="POST, closed before an answer"),
    pytest.param(GET.replace(b"GET", b"PUT"), reset, True, id="PUT, reset before an answer"),
    pytest.param(GET, close_within_head, False, id="GET, closed within the answer"),
    pytest.param(GET, stall, False, id="GET, late, not asked for"),
]


@pytest.mark.parametrize(("request_", "failing", "again"), RETRIED)
async def test_what_is_tried_again(world: World, request_: bytes, failing, again: bool) -> None:  # type: ignore[no-untyped-def]
    first = nobody() if failing is nobody else await world.backend(failing)
    await world.serve(first, await world.backend(named("b")), timeouts=Timeouts(first_byte=0.1))
    response = await world.ask(request_)
    assert (status_of(response) == 200) == again
    assert (await world.last_logged())["attempts"] == (2 if again else 1)


async def test_a_replayed_body_is_whole(world: World) -> None:
    heads: list[bytes] = []
    put = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX: 1\r\n\r\n"

    async def reads_all_and_closes(talk: Talk) -> None:
        await talk.head()
        await talk.chunks()
        talk.close()

    await world.serve(await world.backend(reads_all_and_closes), await world.backend(answering(OK, heads=heads)))
    assert status_of(await world.ask(put)) == 200
    assert heads[0].endswith(b"\r\n\r\n5\r\nabcde\r\n0\r\nX: 1\r\n\r\n")


async def test_statuses_that_are_tried_again(world: World) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
    await world.serve(await world.backend(busy), await world.backend(named("b")), retries=Retries(on=("503",)))
    assert [body_of(await world.ask(GET)) for _ in range(3)] == [b"b"] * 3


async def test_the_last_answer_stands_when_no_candidate_is_left(world: World) -> None:
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
    await world.serve(await world.backend(busy), retries=Retries(on=("503",)))
    assert body_of(await world.ask(GET)) == b"busy"


async def test_retries_have_a_budget(world: World) -> None:
    first, second = await world.backend(close_early), await world.backend(close_early)
    await world.serve(first, second, retries=Retries(attempts=1, budget=0.0), http_service={"ejection": None})
    for _ in range(40):
        assert status_of(await world.ask(GET)) == 502
    assert first.connections + second.connections == 40 + 10


async def test_a_kept_connection_that_the_backend_closed_costs_no_get(world: World) -> None:
    async def one_answer(talk: Talk) -> None:
        await talk.head()
        await talk.send(OK)
        await asyncio.sleep(0.02)
        talk.close()

    server = await world.backend(one_answer)
    await world.serve(server)
    for _ in range(10):
        assert status_of(await world.ask(GET)) == 200
        await asyncio.sleep(0.015)


async def test_a_body_that_ends_early_is_cut_off_for_the_client(world: World) -> None:
    await world.serve(
        await world.backend(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), timeouts=Timeouts(idle=0.1)
    )
    talk = await world.client(GET)
    assert (await talk.head()).startswith(b"HTTP/1.1 200")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await talk.exactly(10)
    assert (await world.last_logged())["reason"] == "idle-timeout"


async def test_the_whole_request_has_a_time(world: World) -> None:
    await world.serve(await world.backend(stall), timeouts=Timeouts(request=0.1))
    assert status_of(await world.ask(GET)) == 504
    assert (await world.last_logged())["reason"] == "whole-timeout"


async def test_a_body_that_does_not_come(world: World) -> None:
    await world.serve(await world.backend(stall), timeouts=Timeouts(idle=0.1))
    assert status_of(await world.whole(POST[:-1])) == 408


async def test_a_client_that_leaves_is_noted_and_costs_the_backend_its_connection(world: World) -> None:
    server = await world.backend(stall)
    await world.serve(server)
    talk = await world.client(GET)
    await eventually(lambda: server.connections == 1)
    talk.reset()
    line = await world.last_logged()
    assert (line["status"], line["reason"]) == (499, "client-gone")
    await eventually(server.talks[0].reader.at_eof)


async def test_ejection_after_failures_in_a_row(world: World) -> None:
    bad, good = await world.backend(close_early), await world.backend(named("good"))
    rule = Ejection(failures=3, duration=60.0, max_fraction=0.5)
    await world.serve(bad, good, http_service={"ejection": rule})
    for _ in range(20):
        assert status_of(await world.ask(GET)) == 200
    assert bad.connections == 3


async def test_no_ejection_of_too_many(world: World) -> None:
    servers = [await world.backend(close_early) for _ in range(2)]
    await world.serve(*servers, http_service={"ejection": Ejection(failures=1, max_fraction=0.4)})
    for _ in range(6):
        assert status_of(await world.ask(GET)) == 502
    assert all(server.connections >= 6 for server in servers)


async def test_queue_full_and_queue_timeout(world: World) -> None:
    server = await world.backend(stall)
    service = {"max_connections": 1, "max_queued": 1}
    await world.serve(server, service=service, timeouts=Timeouts(connect=0.2))
    await world.client(GET)
    await eventually(lambda: server.connections == 1)
    waiting = await world.client(GET)
    await eventually(lambda: len(world.proxy.services["ping"].waiting) == 1)
    assert status_of(await world.ask(GET)) == 503
    assert (await world.last_logged())["reason"] == "queue-full"
    assert status_of(await waiting.response()) == 503
    assert (await world.last_logged())["reason"] == "queue-timeout"


async def test_who_waits_goes_when_a_connection_is_free(world: World) -> None:
    server = await world.backend()
    await world.serve(server, service={"max_connections": 1, "max_queued": 100})
    talks = [await world.client(GET) for _ in range(20)]
    assert {status_of(await talk.response()) for talk in talks} == {200}
    assert server.connections == 1


@pytest.mark.parametrize(
    ("affinity", "sent"),
    [
        (Affinity("client-ip"), lambda answer: b""),
        (Affinity("header", "X-User"), lambda answer: b"X-User: me\r\n"),
        (
            Affinity("cookie", "lb"),
            lambda answer: b"Cookie: a=1; " + answer.split(b"Set-Cookie: ")[1].split(b";")[0] + b"\r\n",
        ),
    ],
)
async def test_affinity(world: World, affinity: Affinity, sent) -> None:  # type: ignore[no-untyped-def]
    servers = [await world.backend(named(name)) for name in "abc"]
    await world.serve(*servers, service={"affinity": affinity})
    first = await world.ask(GET[:-2] + (b"X-User: me\r\n" if affinity.key == "header" else b"") + b"\r\n")
    again = GET[:-2] + sent(first) + b"\r\n"
    assert {body_of(await world.ask(again)) for _ in range(6)} == {body_of(first)}


async def test_least_connections_means_requests_in_flight(world: World) -> None:
    busy, free = await world.backend(stall), await world.backend(named("free"))
    await world.serve(busy, free, service={"scheduler": Scheduler(SchedulerKind.LEAST_CONNECTIONS)})
    for _ in range(2):
        await world.client(GET)
    service = world.proxy.services["ping"]
    await eventually(lambda: service.budget.requests == 2 and service.in_flight == 1)
    assert [body_of(await world.ask(GET)) for _ in range(4)] == [b"free"] * 4


async def test_health_and_admin_changes_count_at_once(world: World) -> None:
    from dataclasses import replace

    await world.serve(await world.backend(named("a")), await world.backend(named("b")))
    model = world.proxy.services["ping"].model.service
    down = replace(model.backends[0], health=Health.DOWN)
    world.proxy.change_services({"ping": replace(model, backends=(down, model.backends[1]))})
    assert {body_of(await world.ask(GET)) for _ in range(4)} == {b"b"}
    nothing: Service = replace(model, backends=tuple(replace(b, weight=0) for b in model.backends))
    world.proxy.change_services({"ping": nothing})
    assert status_of(await world.ask(GET)) == 503


async def test_a_limit_on_idle_clients_spares_busy_ones(world: World) -> None:
    async def slow(talk: Talk) -> None:
        await talk.head()
        await asyncio.sleep(0.3)
        await talk.send(OK)

    await world.serve(await world.backend(slow), limits=HttpLimits(idle_timeout=0.1, head_timeout=0.1))
    assert status_of(await world.ask(GET)) == 200
