"""All that a route asks of a client, ready to be asked.

The rule: methods agree one after another, in their order, and the first refusal is the answer. A route with one
method has that method itself as its gate, so the common case costs nothing more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence

from lb7.auth.api_keys import ApiKeyAuthenticator
from lb7.auth.header import HeaderAuthenticator
from lb7.auth.model import ApiKeyAuth, Auth, BasicAuth, ForwardAuth, HeaderAuth, JwtAuth, MtlsAuth
from lb7.auth.verdict import ALLOWED, Allowed, Authenticator, ConnectionInfo, Refused, Verdict
from lb7.files import Files
from lb7.model import Header

Request = tuple[str, str, str, Sequence[Header], ConnectionInfo]


class Gate:
    """Several methods that must all agree."""

    def __init__(self, methods: Sequence[Authenticator]) -> None:
        self._methods = tuple(methods)

    def authenticate(
        self, method: str, host: str, target: str, headers: Sequence[Header], connection: ConnectionInfo
    ) -> Verdict | Awaitable[Verdict]:
        """Allowed with what all of them add, the first refusal, or an awaitable of either."""
        return self._from(0, ALLOWED, (method, host, target, headers, connection))

    def _from(self, place: int, allowed: Allowed, request: Request) -> Verdict | Awaitable[Verdict]:
        for number in range(place, len(self._methods)):
            answer = self._methods[number].authenticate(*request)
            if isinstance(answer, Refused):
                return answer
            if not isinstance(answer, Allowed):
                return self._awaited(answer, number, allowed, request)
            allowed = both(allowed, answer)
        return allowed

    async def _awaited(self, waiting: Awaitable[Verdict], number: int, allowed: Allowed, request: Request) -> Verdict:
        answer = await waiting
        if isinstance(answer, Refused):
            return answer
        rest = self._from(number + 1, both(allowed, answer), request)
        return rest if isinstance(rest, Allowed | Refused) else await rest


def both(first: Allowed, second: Allowed) -> Allowed:
    """What two methods allow together; the later one names the user where it knows one."""
    if first is ALLOWED:
        return second
    return Allowed(second.user or first.user, first.headers + second.headers, first.remove + second.remove)


class Gates:
    """The gates of all routes of a listener: one authenticator for each distinct method, shared by its routes."""

    def __init__(self, asked: Iterable[tuple[Auth, ...]], files: Files) -> None:
        """asked: the `auth` of each route; files: the contents of the files they name. Raises FileError."""
        wanted = tuple(dict.fromkeys(asked))
        self._methods = {auth: authenticator(auth, files) for auths in wanted for auth in auths}
        self._gates = {auths: self._gate(auths) for auths in wanted}

    def _gate(self, auths: tuple[Auth, ...]) -> Authenticator | None:
        methods = [self._methods[auth] for auth in auths]
        if not methods:
            return None
        return methods[0] if len(methods) == 1 else Gate(methods)

    def of(self, auths: tuple[Auth, ...]) -> Authenticator | None:
        """The gate of a route; None where everybody passes."""
        return self._gates[auths]

    def start(self) -> None:
        """Begins what must run beside: fetching keys, connections to authorization services. In the running loop."""
        for method in self._methods.values():
            if start := getattr(method, "start", None):
                start()

    async def close(self) -> None:
        """Ends what start began."""
        for method in self._methods.values():
            closing = method.close() if hasattr(method, "close") else None
            if closing is not None:
                await closing


def authenticator(auth: Auth, files: Files) -> Authenticator:
    """One method, ready. Raises FileError."""
    if isinstance(auth, HeaderAuth):
        return HeaderAuthenticator(auth)
    if isinstance(auth, ApiKeyAuth):
        return ApiKeyAuthenticator(auth, files[auth.file])
    return _heavier(auth, files)


def _heavier(auth: BasicAuth | JwtAuth | ForwardAuth | MtlsAuth, files: Files) -> Authenticator:
    """The methods whose libraries take time to import, and are imported only where they are used."""
    match auth:
        case BasicAuth():
            from lb7.auth.basic import BasicAuthenticator

            return BasicAuthenticator(auth, files[auth.file])
        case JwtAuth():
            from lb7.auth.jwt_auth import JwtAuthenticator

            return JwtAuthenticator(auth, files[auth.keys] if auth.keys else None)
        case ForwardAuth():
            from lb7.auth.forward import ForwardAuthenticator

            return ForwardAuthenticator(auth)
        case MtlsAuth():
            from lb7.auth.mtls import MtlsAuthenticator

            return MtlsAuthenticator(auth)
