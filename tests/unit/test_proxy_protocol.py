import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb4.address import Endpoint, parse_endpoint
from lb4.terminate.proxy_protocol import V2_SIGNATURE, ProxyHeader, ProxyProtocolError, build, parse

V4 = parse_endpoint("10.0.0.2:41000"), parse_endpoint("192.0.2.10:80")
V6 = parse_endpoint("[2001:db8::2]:41000"), parse_endpoint("[2001:db8::10]:80")

GOOD = [
    (b"PROXY TCP4 10.0.0.2 192.0.2.10 41000 80\r\nGET", ProxyHeader(*V4, 41)),
    (b"PROXY TCP6 2001:db8::2 2001:db8::10 41000 80\r\n", ProxyHeader(*V6, 46)),
    (b"PROXY UNKNOWN\r\nx", ProxyHeader(None, None, 15)),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ProxyHeader(None, None, 35)),
    (V2_SIGNATURE + b"\x20\x00\x00\x00rest", ProxyHeader(None, None, 16)),
    (V2_SIGNATURE + b"\x21\x11\x00\x0f\x0a\x00\x00\x02\xc0\x00\x02\x0a\xa0\x28\x00\x50abc", ProxyHeader(*V4, 31)),
]
UNFINISHED = [b"", b"P", b"PROXY TCP4 10.0.0.2", b"\r\n\r\n", V2_SIGNATURE, V2_SIGNATURE + b"\x21\x11\x00\x0c\x0a"]
BAD = [
    b"GET / HTTP/1.1\r\n",
    b"PROXY TCP4 10.0.0.2 192.0.2.10 41000\r\n",
    b"PROXY TCP4 2001:db8::2 2001:db8::10 1 2\r\n",
    b"PROXY TCP4 10.0.0.2 192.0.2.10 0 80\r\n",
    b"PROXY TCP4 10.0.0.02 192.0.2.10 1 80\r\n",
    b"PROXY " + b"x" * 120,
    V2_SIGNATURE + b"\x11\x11\x00\x0c" + b"\0" * 12,
    V2_SIGNATURE + b"\x21\x11\x00\x04" + b"\0" * 4,
    V2_SIGNATURE + b"\x21\x11\xff\xff",
]


@pytest.mark.parametrize(("data", "header"), GOOD)
def test_headers(data: bytes, header: ProxyHeader):
    assert parse(data) == header


@pytest.mark.parametrize("data", UNFINISHED)
def test_more_bytes_are_needed(data: bytes):
    assert parse(data) is None


@pytest.mark.parametrize("data", BAD)
def test_what_is_no_header_is_refused(data: bytes):
    with pytest.raises(ProxyProtocolError):
        parse(data)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("pair", [V4, V6])
def test_what_is_built_is_parsed(version: int, pair: tuple[Endpoint, Endpoint]):
    header = build(version, *pair)
    assert parse(header + b"body") == ProxyHeader(*pair, len(header))
    assert all(parse(header[:cut]) is None for cut in range(len(header)))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"PROXY ", V2_SIGNATURE + b"\x21", V2_SIGNATURE + b"\x20\x21"]))
def test_random_bytes_never_raise_anything_else(data: bytes, start: bytes):
    try:
        parse(start + data)
    except ProxyProtocolError:
        return
