"""TLS contexts against each other, in memory: names, versions, client certificates, renewal, errors."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from lb4.address import parse_endpoint
from lb4.model import Backend, BackendTls
from lb7.auth.verdict import ClientCertificate
from lb7.files import FileError
from lb7.model import Certificate, ClientCertificates, Tls
from lb7.tls.certificates import complaints, load
from lb7.tls.contexts import ServerContext, backend_context, backend_server_name, client_certificate
from tests.certificate import Signed, authority, issued

CA = authority()
A = issued(CA, "a", "a.org", "www.a.org")
WILD = issued(CA, "wild", "*.b.org")
CLIENT = issued(CA, "client one", "client.org")
FILES = {"a.pem": A.cert, "a.key": A.key, "b.pem": WILD.cert, "b.key": WILD.key, "ca.pem": CA.cert}
FILES |= {"c.pem": CLIENT.cert, "c.key": CLIENT.key, "empty": b"", "sealed": b""}
BOTH = Tls((Certificate("a.pem", "a.key"), Certificate("b.pem", "b.key")))


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """A handshake in memory."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(up, down, server_side=True)
    theirs = client.wrap_bio(down, up, server_hostname=name)
    for _ in range(4):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ours.cipher() is not None
    return ours, theirs


def served(server: ssl.SSLContext, name: str) -> str:
    """The common name of the certificate that a client asking for the name gets."""
    context = ssl.create_default_context(cadata=CA.cert.decode())
    context.check_hostname = False
    _, theirs = shake(server, context, name)
    found = client_certificate(theirs.getpeercert())
    assert found is not None
    return found.common_name


@pytest.mark.parametrize(
    ("asked", "given"),
    [("a.org", "a"), ("WWW.A.org", "a"), ("x.b.org", "wild"), ("y.x.b.org", "a"), ("b.org", "a"), ("other.net", "a")],
)
def test_the_name_asked_for_picks_the_certificate(asked: str, given: str) -> None:
    assert served(ServerContext(BOTH, FILES), asked) == given


def test_renewing_changes_what_new_connections_get() -> None:
    context = ServerContext(Tls((Certificate("a.pem", "a.key"),)), FILES)
    assert served(context, "x.b.org") == "a"
    context.renew(BOTH, FILES)
    assert served(context, "x.b.org") == "wild"
    with pytest.raises(FileError):
        context.renew(Tls((Certificate("empty", "a.key"),)), FILES)
    assert served(context, "x.b.org") == "wild"


def test_defaults_are_modern() -> None:
    context = ServerContext(BOTH, FILES).current
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    names = [cipher["name"] for cipher in context.get_ciphers()]
    assert all("GCM" in name or "CHACHA20" in name for name in names)
    assert all(name.startswith(("TLS_", "ECDHE-")) for name in names)
    assert context.options & ssl.OP_NO_RENEGOTIATION


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions_below_the_minimum_are_refused(version: ssl.TLSVersion) -> None:
    server = ServerContext(replace(BOTH, min_version="1.3"), FILES)
    client = ssl.create_default_context(cadata=CA.cert.decode())
    client.maximum_version = version
    if version is ssl.TLSVersion.TLSv1_3:
        assert shake(server, client, "a.org")[1].version() == "TLSv1.3"
    else:
        with pytest.raises(ssl.SSLError):
            shake(server, client, "a.org")


def test_alpn_is_http_1_1() -> None:
    client = ssl.create_default_context(cadata=CA.cert.decode())
    client.set_alpn_protocols(["h2", "http/1.1"])
    assert shake(ServerContext(BOTH, FILES), client, "a.org")[1].selected_alpn_protocol() == "http/1.1"


def test_client_certificates_are_verified_and_named() -> None:
    tls = replace(BOTH, client_ca="ca.pem", client_certificates=ClientCertificates.OPTIONAL)
    client = backend_context(BackendTls(ca="ca.pem", cert="c.pem", key="c.key"), FILES)
    ours, _ = shake(ServerContext(tls, FILES), client, "a.org")
    wanted = ClientCertificate(r"CN=client one,O=Example\, Inc", "client one", ("client.org",))
    assert client_certificate(ours.getpeercert()) == wanted
    ours, _ = shake(ServerContext(tls, FILES), backend_context(BackendTls(ca="ca.pem"), FILES), "a.org")
    assert client_certificate(ours.getpeercert()) is None


def test_required_client_certificates_are_required() -> None:
    tls = replace(BOTH, client_ca="ca.pem", client_certificates=ClientCertificates.REQUIRED)
    with pytest.raises(ssl.SSLError):
        shake(ServerContext(tls, FILES), backend_context(BackendTls(ca="ca.pem"), FILES), "a.org")


def test_backends_are_verified_unless_told_otherwise() -> None:
    server = ServerContext(BOTH, FILES)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server, backend_context(BackendTls(ca="ca.pem"), FILES), "other.org")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server, backend_context(BackendTls(), FILES), "a.org")
    shake(server, backend_context(BackendTls(verify=False), FILES), "other.org")


@pytest.mark.parametrize(
    ("tls", "backend", "name"),
    [
        (BackendTls(server_name="x.org"), Backend(parse_endpoint("10.0.0.1:1"), name="n.org"), "x.org"),
        (BackendTls(), Backend(parse_endpoint("10.0.0.1:1"), name="n.org"), "n.org"),
        (BackendTls(), Backend(parse_endpoint("10.0.0.1:1")), "10.0.0.1"),
    ],
)
def test_the_name_backends_are_asked_for(tls: BackendTls, backend: Backend, name: str) -> None:
    assert backend_server_name(tls, backend) == name


@pytest.mark.parametrize(
    ("cert", "key", "reason"),
    [
        ("a.pem", "b.key", r"b\.key: is not the key of a\.pem"),
        ("a.key", "a.key", r"a\.key: holds a key, not a certificate"),
        ("a.pem", "a.pem", r"a\.pem: holds a certificate, not a private key"),
        ("empty", "a.key", "empty: holds no certificate"),
        ("a.pem", "empty", "empty: holds nothing of the kind"),
        ("broken", "a.key", "broken: holds a certificate that cannot be read"),
        ("a.pem", "broken.key", r"broken\.key: holds a key that cannot be read"),
    ],
)
def test_errors_name_the_file_and_what_is_wrong(cert: str, key: str, reason: str) -> None:
    files = FILES | {
        "broken": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "broken.key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    }
    with pytest.raises(FileError, match=reason):
        ServerContext(Tls((Certificate(cert, key),)), files)


def test_unknown_ciphers_are_told() -> None:
    with pytest.raises(FileError, match="selects no cipher suite"):
        ServerContext(replace(BOTH, ciphers="NONSENSE"), FILES)


@pytest.mark.parametrize(
    ("certificate", "said"),
    [
        (issued(CA, "old", "o.org", days=-2), ["expired on"]),
        (issued(CA, "soon", "o.org", days=3), ["expires on"]),
        (issued(CA, "bare"), ["has no subject alternative name"]),
        (A, []),
    ],
)
def test_what_clients_will_not_like_is_told(certificate: Signed, said: list[str]) -> None:
    loaded = load(Certificate("x.pem", "x.key"), {"x.pem": certificate.cert, "x.key": certificate.key})
    lines = list(complaints(loaded, datetime.now(UTC)))
    assert len(lines) == len(said)
    assert all(word in line and line.startswith("x.pem: ") for word, line in zip(said, lines, strict=True))
