"""Authentication methods asked directly: what they let through, what they answer, what they read from files."""

import asyncio
import hashlib
import json
import time
from base64 import b64encode
from collections.abc import Sequence

import bcrypt
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from passlib.hash import apr_md5_crypt, sha256_crypt, sha512_crypt

from lb7.auth import api_keys, htpasswd
from lb7.auth.gate import Gates
from lb7.auth.model import Algorithm, ApiKeyAuth, Auth, BasicAuth, HeaderAuth, JwtAuth, MtlsAuth
from lb7.auth.verdict import Allowed, ClientCertificate, ConnectionInfo, Refused, Verdict
from lb7.files import FileError
from lb7.model import Header

HERE = ConnectionInfo(client="192.0.2.1")
SHA = "{SHA}" + b64encode(hashlib.sha1(b"secret").digest()).decode()
BCRYPT = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()


async def ask(gates: Gates, auths: tuple[Auth, ...], *headers: Header, connection: ConnectionInfo = HERE) -> Verdict:
    gate = gates.of(auths)
    assert gate is not None
    answer = gate.authenticate("GET", "a.org", "/x", headers, connection)
    return answer if isinstance(answer, Allowed | Refused) else await answer


async def once(auth: Auth, files: dict[str, bytes], *headers: Header, connection: ConnectionInfo = HERE) -> Verdict:
    gates = Gates([(auth,)], files)
    try:
        return await ask(gates, (auth,), *headers, connection=connection)
    finally:
        await gates.close()


def basic(user: str, password: str) -> Header:
    return b"Authorization", b"Basic " + b64encode(f"{user}:{password}".encode())


@pytest.mark.parametrize(
    ("auth", "headers", "status"),
    [
        (HeaderAuth("Authorization"), [], 401),
        (HeaderAuth("Authorization"), [(b"Authorization", b"")], 401),
        (HeaderAuth("Authorization"), [(b"Authorization", b" \t")], 401),
        (HeaderAuth("Authorization"), [(b"authorization", b"x")], 0),
        (HeaderAuth("Authorization"), [(b"AUTHORIZATION", b"x"), (b"Authorization", b"")], 401),
        (HeaderAuth("X-Token", ("a", "b")), [(b"X-Token", b" b ")], 0),
        (HeaderAuth("X-Token", ("a", "b")), [(b"X-Token", b"c")], 401),
        (HeaderAuth("X-Token", ("a", "b")), [(b"X-Token", b"a"), (b"X-Token", b"c")], 401),
        (MtlsAuth(), [(b"X-Client-Subject", b"CN=forged")], 403),
    ],
)
async def test_headers_must_be_there_and_filled(auth: Auth, headers: Sequence[Header], status: int) -> None:
    verdict = await once(auth, {}, *headers)
    assert (verdict.status if isinstance(verdict, Refused) else 0) == status
    if status == 401:
        assert isinstance(verdict, Refused)
        assert any(name == b"WWW-Authenticate" for name, _ in verdict.headers)


@pytest.mark.parametrize(
    "stored",
    [
        SHA,
        BCRYPT,
        BCRYPT.replace("$2b$", "$2y$"),
        apr_md5_crypt.hash("secret"),
        sha256_crypt.using(rounds=1000).hash("secret"),
        sha512_crypt.using(rounds=1000).hash("secret"),
    ],
)
async def test_basic_knows_the_hashes_of_htpasswd(stored: str) -> None:
    auth, files = BasicAuth("users", user_header="X-User"), {"users": f"# people\nann:{stored}\n".encode()}
    gates = Gates([(auth,)], files)
    for _ in range(2):
        verdict = await ask(gates, (auth,), basic("ann", "secret"))
        assert verdict == Allowed("ann", ((b"X-User", b"ann"),), (b"X-User",))
        for user, password in (("ann", "wrong"), ("bob", "secret"), ("ann", ""), ("ann", "x" * 100), ("ann", "a\0")):
            refused = await ask(gates, (auth,), basic(user, password))
            assert isinstance(refused, Refused)
            assert refused.status == 401
    await gates.close()


@pytest.mark.parametrize("value", [b"", b"Basic", b"Basic !", b"Basic YQ==", b"Bearer x", b"Basic " + b64encode(b":x")])
async def test_malformed_basic_credentials_are_refused(value: bytes) -> None:
    verdict = await once(BasicAuth("users"), {"users": f"ann:{SHA}".encode()}, (b"Authorization", value))
    assert isinstance(verdict, Refused)
    assert (b"WWW-Authenticate", b'Basic realm="lbctl", charset="UTF-8"') in verdict.headers


async def test_a_right_password_is_hashed_once() -> None:
    auth = BasicAuth("users")
    gates = Gates([(auth,)], {"users": f"ann:{BCRYPT}".encode()})
    gate = gates.of((auth,))
    assert gate is not None
    await ask(gates, (auth,), basic("ann", "secret"))
    assert isinstance(gate.authenticate("GET", "h", "/", [basic("ann", "secret")], HERE), Allowed)
    await gates.close()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("ann:plain", "line 1: the password of ann is hashed in no way known here"),
        (f"ann:{SHA}\nbob:rqXexS6ZhobKA", "line 2: the password of bob"),
        ("ann", "line 1 is not USER:HASH"),
        ("# nobody", "holds no users"),
    ],
)
def test_htpasswd_files_that_cannot_work_are_told(content: str, reason: str) -> None:
    with pytest.raises(FileError, match=reason):
        htpasswd.parse(content.encode(), "users")


async def test_api_keys_are_found_by_their_hash() -> None:
    auth = ApiKeyAuth("keys", user_header="X-Who")
    files = {"keys": f"# keys\nbuild:{hashlib.sha256(b'k1').hexdigest()}\n".encode()}
    assert await once(auth, files, (b"x-api-key", b"k1")) == Allowed("build", ((b"X-Who", b"build"),), (b"X-Who",))
    for headers in ([], [(b"X-API-Key", b"")], [(b"X-API-Key", b"k2")], [(b"X-API-Key", b"k1"), (b"X-API-Key", b"k1")]):
        verdict = await once(auth, files, *headers)
        assert isinstance(verdict, Refused)
        assert verdict.status == 401


@pytest.mark.parametrize(("content", "reason"), [(b"build:k1", "line 1 is not NAME:SHA256"), (b"", "holds no keys")])
def test_key_files_that_cannot_work_are_told(content: bytes, reason: str) -> None:
    with pytest.raises(FileError, match=reason):
        api_keys.parse(content, "keys")


@pytest.mark.parametrize(
    ("subjects", "status"), [((), 0), (("Client One",), 0), (("client.org",), 0), (("other",), 403)]
)
async def test_certificates_give_the_subject(subjects: tuple[str, ...], status: int) -> None:
    certificate = ClientCertificate("CN=client one,O=x", "client one", ("client.org",))
    here = ConnectionInfo("192.0.2.1", certificate=certificate)
    verdict = await once(MtlsAuth(subjects=subjects), {}, connection=here)
    if status:
        assert isinstance(verdict, Refused)
        assert verdict.status == status
    else:
        header = (b"X-Client-Subject", b"CN=client one,O=x")
        assert verdict == Allowed("client one", (header,), (b"X-Client-Subject",))


RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
SECRET = b"a secret of more than thirty-two bytes, as RFC 7518 asks"
NOW = int(time.time())
GOOD = {"sub": "ann", "exp": NOW + 86400, "iss": "issuer", "aud": "us", "role": "admin", "n": 5}
RS = JwtAuth(
    (Algorithm.RS256, Algorithm.ES256),
    keys="keys",
    issuer="issuer",
    audiences=("us", "them"),
    claims=(("role", "X-Role"), ("n", "X-N"), ("absent", "X-Absent")),
)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def bearer(claims: dict[str, object], key: object = RSA, algorithm: str = "RS256", **head: str) -> Header:
    token = jwt.encode(claims, key, algorithm, headers=head)  # type: ignore[arg-type]
    return b"Authorization", f"Bearer {token}".encode()


def key_set() -> bytes:
    entries = [
        {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA.public_key())), "kid": "r", "alg": "RS256"},
        {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(EC.public_key())), "kid": "e"},
        {"kty": "unheard of"},
    ]
    return json.dumps({"keys": entries}).encode()


async def test_a_good_token_passes_and_its_claims_go_on() -> None:
    gates = Gates([(RS,)], {"keys": pem(RSA)})
    for _ in range(2):
        verdict = await ask(gates, (RS,), bearer(GOOD))
        named = ((b"X-Role", b"admin"), (b"X-N", b"5"))
        assert verdict == Allowed("ann", named, (b"X-Role", b"X-N", b"X-Absent"))


@pytest.mark.parametrize(
    "header",
    [
        bearer({**GOOD, "exp": NOW - 60}),
        bearer({name: value for name, value in GOOD.items() if name != "exp"}),
        bearer({**GOOD, "iss": "other"}),
        bearer({**GOOD, "aud": "nobody"}),
        bearer({name: value for name, value in GOOD.items() if name != "aud"}),
        bearer({**GOOD, "nbf": NOW + 86400}),
        bearer({**GOOD, "role": "a\r\nX-Evil: 1"}),
        bearer(GOOD, OTHER_RSA),
        bearer(GOOD, EC, "ES256"),
        bearer(GOOD, RSA, "PS256"),
        bearer(GOOD, SECRET, "HS256"),
        (b"Authorization", b"Bearer " + jwt.encode(GOOD, None, "none").encode()),  # type: ignore[arg-type]
        (b"Authorization", b"Bearer a.b.c"),
        (b"Authorization", b"Bearer " + b"a" * 20000),
        (b"Authorization", bearer(GOOD)[1] + b"x"),
        (b"Authorization", b"Basic " + bearer(GOOD)[1][7:]),
        (b"Authorization", b""),
    ],
)
async def test_other_tokens_are_refused(header: Header) -> None:
    verdict = await once(RS, {"keys": pem(RSA)}, header)
    assert isinstance(verdict, Refused)
    assert verdict.status == 401
    assert dict(verdict.headers)[b"WWW-Authenticate"].startswith(b"Bearer")


async def test_a_public_key_is_no_secret() -> None:
    """The confusion of RFC 8725 section 2.1: a token signed by HMAC with the public key."""
    import hmac

    def part(value: object) -> bytes:
        from jwt.utils import base64url_encode

        return base64url_encode(json.dumps(value).encode())

    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(GOOD)
    from jwt.utils import base64url_encode

    token = signed + b"." + base64url_encode(hmac.new(pem(RSA), signed, "sha256").digest())
    verdict = await once(RS, {"keys": pem(RSA)}, (b"Authorization", b"Bearer " + token))
    assert isinstance(verdict, Refused)
    assert verdict.status == 401


@pytest.mark.parametrize(
    ("header", "passes"),
    [
        (bearer(GOOD, RSA, "RS256", kid="r"), True),
        (bearer(GOOD, EC, "ES256", kid="e"), True),
        (bearer(GOOD, EC, "ES256"), True),
        (bearer(GOOD, RSA, "RS256", kid="e"), False),
        (bearer(GOOD, RSA, "RS256", kid="unknown"), False),
    ],
)
async def test_key_sets_are_searched_by_id_and_kind(header: Header, passes: bool) -> None:
    assert isinstance(await once(RS, {"keys": key_set()}, header), Allowed) == passes


async def test_secrets_verify_hs_tokens() -> None:
    auth = JwtAuth((Algorithm.HS256,), keys="keys", header="X-Token")
    header = (b"X-Token", bearer(GOOD, SECRET, "HS256")[1][7:])
    assert isinstance(await once(auth, {"keys": SECRET + b"\n"}, header), Allowed)
    assert isinstance(await once(auth, {"keys": SECRET[::-1]}, header), Refused)


@pytest.mark.parametrize(
    ("content", "algorithm", "reason"),
    [
        (b"short", Algorithm.HS256, "at least 32"),
        (pem(RSA), Algorithm.HS256, "holds no key for HS256"),
        (pem(RSA), Algorithm.ES256, "holds no key for ES256"),
        (SECRET, Algorithm.RS256, "holds no key for RS256"),
        (b"{nonsense", Algorithm.RS256, "is not JSON"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", Algorithm.RS256, "no key that can be read"),
    ],
)
def test_key_files_without_a_usable_key_are_told(content: bytes, algorithm: Algorithm, reason: str) -> None:
    with pytest.raises(FileError, match=reason):
        Gates([(JwtAuth((algorithm,), keys="keys"),)], {"keys": content})


async def test_several_methods_must_all_agree() -> None:
    auths = (HeaderAuth("X-Tenant"), ApiKeyAuth("keys"), BasicAuth("users", user_header="X-User"))
    files = {"keys": f"b:{hashlib.sha256(b'k').hexdigest()}".encode(), "users": f"ann:{BCRYPT}\nbob:{BCRYPT}".encode()}
    gates = Gates([auths, (), (auths[0],)], files)
    given = [(b"X-Tenant", b"t"), (b"X-API-Key", b"k"), basic("ann", "secret")]
    verdict = await ask(gates, auths, *given)
    assert verdict == Allowed("ann", ((b"X-User", b"ann"),), (b"X-User",))
    for left_out in range(3):
        refused = await ask(gates, auths, *(given[:left_out] + given[left_out + 1 :]))
        assert isinstance(refused, Refused)
    assert gates.of(()) is None
    await gates.close()


async def test_too_many_waiting_passwords_are_not_hashed() -> None:
    auth = BasicAuth("users")
    gates = Gates([(auth,)], {"users": f"ann:{BCRYPT}".encode()})
    verdicts = await asyncio.gather(*(ask(gates, (auth,), basic("ann", str(n))) for n in range(100)))
    statuses = {verdict.status for verdict in verdicts if isinstance(verdict, Refused)}
    assert statuses == {401, 503}
    await gates.close()
