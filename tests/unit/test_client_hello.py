import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb4.terminate.client_hello import NoClientHelloError, server_name


def hello(name: str | None) -> bytes:
    """What OpenSSL sends first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def in_records(data: bytes, size: int) -> bytes:
    body = data[5:]
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(data[:3] + len(part).to_bytes(2, "big") + part for part in parts)


@pytest.mark.parametrize(("asked", "found"), [("a.Example.org", "a.example.org"), (None, ""), ("127.0.0.1", "")])
def test_the_name_is_read(asked: str | None, found: str):
    assert server_name(hello(asked)) == found


def test_every_prefix_needs_more_bytes():
    data = hello("a.example.org")
    assert all(server_name(data[:cut]) is None for cut in range(len(data)))


def test_a_hello_in_several_records():
    assert server_name(in_records(hello("a.example.org"), 50)) == "a.example.org"


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1", b"\x17\x03\x01", b"\x16\x03\x01\x00\x04\x02\x00\x00\x00"])
def test_what_is_no_hello_is_refused(data: bytes):
    with pytest.raises(NoClientHelloError):
        server_name(data)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 600), st.integers(0, 255))
def test_a_changed_byte_raises_nothing_else(at: int, byte: int):
    data = bytearray(hello("a.example.org"))
    data[at % len(data)] = byte
    try:
        server_name(bytes(data))
    except NoClientHelloError:
        return
