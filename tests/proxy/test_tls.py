"""TLS on both sides of the proxy, over real sockets."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from lb4.model import BackendTls
from lb7.auth.model import MtlsAuth
from lb7.model import Certificate, ClientCertificates, Tls
from tests.certificate import authority, issued
from tests.proxy.world import LOCALHOST, OK, Server, Talk, World, answering, status_of

CA = authority()
ONE, TWO = issued(CA, "one", "h"), issued(CA, "two", "h")
CLIENT = issued(CA, "client one")
BACKEND = issued(CA, "backend", LOCALHOST)
FILES = {"cert": ONE.cert, "key": ONE.key, "ca": CA.cert, "cert2": TWO.cert, "key2": TWO.key}
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def tls(number: str = "", **changes: object) -> Tls:
    return Tls((Certificate(f"cert{number}", f"key{number}"),), **changes)  # type: ignore[arg-type]


def trusting() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=CA.cert.decode())


async def dial(world: World, context: ssl.SSLContext) -> Talk:
    streams = await asyncio.open_connection(LOCALHOST, world.port, ssl=context, server_hostname="h")
    talk = Talk(*streams)
    world.clients.append(talk)
    return talk


def common_name(talk: Talk) -> str:
    certificate = talk.writer.get_extra_info("ssl_object").getpeercert()
    return dict(pair for part in certificate["subject"] for pair in part)["commonName"]


async def test_requests_over_tls(world: World) -> None:
    heads: list[bytes] = []
    await world.serve(await world.backend(answering(OK, heads=heads)), tls=tls(), files=FILES)
    talk = await dial(world, trusting())
    for _ in range(3):
        await talk.send(GET)
        assert status_of(await talk.response()) == 200
    assert b"X-Forwarded-Proto: https\r\n" in heads[0]


async def test_a_new_certificate_drops_no_connection(world: World) -> None:
    server = await world.backend()
    await world.serve(server, tls=tls(), files=FILES)
    old = await dial(world, trusting())
    await world.serve(server, tls=tls("2"), files=FILES)
    new = await dial(world, trusting())
    assert (common_name(old), common_name(new)) == ("one", "two")
    for talk in (old, new):
        await talk.send(GET)
        assert status_of(await talk.response()) == 200


async def test_a_listener_gets_tls_later(world: World) -> None:
    server = await world.backend()
    await world.serve(server)
    plain = await world.client(GET)
    assert status_of(await plain.response()) == 200
    await world.serve(server, tls=tls(), files=FILES)
    talk = await dial(world, trusting())
    for each in (plain, talk):
        await each.send(GET)
        assert status_of(await each.response()) == 200


@pytest.mark.parametrize("has_certificate", [True, False])
async def test_client_certificates(world: World, has_certificate: bool, tmp_path) -> None:  # type: ignore[no-untyped-def]
    heads: list[bytes] = []
    server = await world.backend(answering(OK, heads=heads))
    asked = tls(client_ca="ca", client_certificates=ClientCertificates.OPTIONAL)
    await world.serve(server, tls=asked, files=FILES, route={"auth": (MtlsAuth(),)})
    context = trusting()
    if has_certificate:
        (tmp_path / "client.pem").write_bytes(CLIENT.cert + CLIENT.key)
        context.load_cert_chain(tmp_path / "client.pem")
    talk = await dial(world, context)
    await talk.send(GET)
    assert (status_of(await talk.response()) == 200) == has_certificate
    assert len(heads) == has_certificate
    if has_certificate:
        assert b"X-Client-Subject: CN=client one,O=Example\\, Inc\r\n" in heads[0]


@pytest.mark.parametrize(
    ("trusts", "status"), [(BackendTls(ca="ca"), 200), (BackendTls(), 502), (BackendTls(verify=False), 200)]
)
async def test_tls_to_backends(world: World, trusts: BackendTls, status: int, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "backend.pem").write_bytes(BACKEND.cert + BACKEND.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "backend.pem")
    server = await Server(answering(OK)).start(context)
    world.servers.append(server)
    await world.serve(server, service={"tls": trusts}, files=FILES)
    assert status_of(await world.ask(GET)) == status
    if status != 200:
        assert (await world.last_logged())["reason"] == "connect-failed"
