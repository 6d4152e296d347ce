"""The proxy's pure parts: kept connections, retries, ejection, affinity cookies, bodies, latency buckets, log lines."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb7.access_log import Clock, LogError, Unread, json_line, template, where
from lb7.backends.affinity import cookie_of, cookie_value
from lb7.backends.ejection import Record, observe_failure
from lb7.backends.kept import Kept
from lb7.backends.retrying import BUDGET_FLOOR, Budget, may_retry, may_retry_status
from lb7.exchange.deadlines import overdue
from lb7.fields import BadField, parse_line
from lb7.http1.body import BadBody, ChunkedReader, LengthReader, chunk, last_chunk
from lb7.measures import BOUNDS, bucket_of
from lb7.model import Ejection, Retries


def test_the_most_recent_connection_is_taken_and_the_oldest_goes() -> None:
    kept: Kept[str] = Kept(2)
    assert [kept.keep(each) for each in "abc"] == [None, None, "a"]
    assert [kept.take() for _ in range(3)] == ["c", "b", None]
    assert Kept[str](0).keep("x") == "x"


def test_what_waited_long_enough_is_overdue() -> None:
    assert overdue({"a": 1.0, "b": 2.0, "c": 2.5}, 2.0) == [("a", 1.0), ("b", 2.0)]


ON = Retries(attempts=2, on=("connect", "reset", "503"))
RETRY_CASES = [
    (b"POST", 1, "connect-failed", False, True, True),
    (b"POST", 1, "connection-lost", True, True, False),
    (b"GET", 1, "connection-lost", True, True, True),
    (b"GET", 1, "connection-lost", True, False, False),
    (b"GET", 2, "connection-lost", True, True, True),
    (b"GET", 3, "connection-lost", True, True, False),
    (b"GET", 1, "first-byte-timeout", True, True, False),
    (b"GET", 1, "bad-response", True, True, False),
    (b"PATCH", 1, "connection-lost", True, True, False),
]


@pytest.mark.parametrize(("method", "attempts", "reason", "sent", "replayable", "expected"), RETRY_CASES)
def test_when_a_request_may_be_tried_again(
    method: bytes, attempts: int, reason: str, sent: bool, replayable: bool, expected: bool
) -> None:
    assert may_retry(method, ON, attempts, reason, sent, replayable) is expected


def test_statuses_that_are_tried_again() -> None:
    assert may_retry_status(b"GET", ON, 1, 503, True)
    assert not may_retry_status(b"POST", ON, 1, 503, True)
    assert not may_retry_status(b"GET", ON, 1, 502, True)


def test_the_budget_is_a_fraction_of_the_requests() -> None:
    budget = Budget()
    for _ in range(1000):
        budget.request()
    assert sum(budget.spend(0.2) for _ in range(1000)) == BUDGET_FLOOR + 200


def test_ejection_after_failures_in_a_row_and_its_end() -> None:
    rule, one, two = Ejection(failures=2, duration=10.0, max_fraction=0.5), Record(), Record()
    assert [observe_failure(one, rule, 100.0, [one, two]) for _ in range(2)] == [False, True]
    assert (one.ejected(109.9), one.ejected(110.0)) == (True, False)
    assert [observe_failure(two, rule, 105.0, [one, two]) for _ in range(3)] == [False] * 3


def test_cookies() -> None:
    value = cookie_of("10.0.0.1:80")
    assert b"10.0.0.1" not in value
    assert cookie_value([b"a=1; lb=" + value + b"; c=2"], b"lb") == value
    assert cookie_value([b"xlb=1"], b"lb") is None


@pytest.mark.parametrize("seconds", [0.0, 0.0005, 0.00051, 10.0, 11.0])
def test_buckets_hold_what_is_at_most_their_bound(seconds: float) -> None:
    bucket = bucket_of(seconds)
    assert bucket == len(BOUNDS) or seconds <= BOUNDS[bucket]
    assert bucket == 0 or seconds > BOUNDS[bucket - 1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.lists(st.integers(1, 20)), st.binary(max_size=9))
def test_chunks_are_read_whatever_the_pieces(contents: list[bytes], sizes: list[int], after: bytes) -> None:
    trailer = parse_line(b"X-T: 1")
    wire = b"".join(chunk(each) for each in contents) + last_chunk([trailer]) + after
    reader, content, rest = ChunkedReader(), b"", b""
    while wire and not reader.ended:
        size = sizes.pop() if sizes else len(wire)
        piece, rest = reader.feed(wire[:size])
        content, wire = content + piece, wire[size:]
    assert (content, rest + wire, reader.ended) == (b"".join(contents), after, True)
    assert [each.line for each in reader.trailers] == [b"X-T: 1\r\n"]


PIECES = [b"1", b"0", b"2", b"\r\n", b"\r", b"\n", b"a", b";", b" ", b"X:y", b"Host: z", b"\0", b"\r\n\r\n"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
def test_chunks_of_any_bytes_are_read_or_refused_alike_however_cut(wire: bytes) -> None:
    def read(pieces: list[bytes]) -> tuple[bytes, bool] | None:
        reader, content = ChunkedReader(), b""
        try:
            for piece in pieces:
                if reader.ended:
                    break
                content += reader.feed(piece)[0]
        except BadBody:
            return None
        return content, reader.ended

    assert read([wire]) == read([wire[at : at + 1] for at in range(len(wire))])


def test_a_length_ends_where_it_should() -> None:
    reader = LengthReader(5)
    assert reader.feed(b"abc") == (b"abc", b"")
    assert reader.feed(b"defg") == (b"de", b"fg")
    assert reader.ended


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40))
def test_a_line_is_read_as_it_is_sent_on_or_not_at_all(line: bytes) -> None:
    try:
        field = parse_line(line)
    except BadField:
        return
    assert parse_line(field.line[:-2]).line == field.line
    assert not set(field.line[:-2]) & {0, 10, 13}


def test_a_log_line_is_json_whatever_the_client_says() -> None:
    entry = Unread("::1", 400, "bad-request", 'a "quoted"\n detail\x00', 5, target='/"\\\n\xff', host="h\u2028")
    line = json_line("2026-01-01T00:00:00.000Z", where("web", 'r"1', ""), entry)
    assert line.count("\n") == 1
    assert json.loads(line)["target"] == entry.target


def test_templates() -> None:
    form = template('{client} {route} "{method} {target}" {status} {unquoted}'.replace(" {unquoted}", ""))
    entry = Unread("::1", 400, "bad-request", "", 5, target='/"\n')
    assert form("now", where("web", "r1", ""), entry) == '::1 r1 "- /\\"\\n" 400\n'
    with pytest.raises(LogError, match="nonsense"):
        template("{nonsense}")


def test_the_clock() -> None:
    clock = Clock()
    assert [clock.text(t) for t in (0.0, 0.0015, 1.5)] == [
        "1970-01-01T00:00:00.000Z",
        "1970-01-01T00:00:00.001Z",
        "1970-01-01T00:00:01.500Z",
    ]
