"""The files that HTTP listeners and services name: certificates, keys, passwords.

The rule: they are read once, by who may read them (a worker has no rights of its own), and go on as bytes by name.
What is made of the bytes never looks at the disk again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lb4.model import BackendTls
from lb7.auth.model import ApiKeyAuth, Auth, BasicAuth, JwtAuth
from lb7.model import HttpBalancer, HttpListener, Tls

Files = Mapping[str, bytes]
FILE_MAX = 8 * 1024 * 1024


class FileError(Exception):
    """A file cannot be used: its name, and what is wrong with it or in it."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"{name}: {reason}")


class UnreadableError(FileError):
    """The file exists and this user may not read it: nothing is known of what is in it."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """TLS of a listener, and the contents of the files that it names."""

    tls: Tls
    files: Files


@dataclass(frozen=True, slots=True)
class BackendTlsFiles:
    """TLS to the backends of a service, and the contents of the files that it names."""

    tls: BackendTls
    files: Files


def named_files(balancer: HttpBalancer, more: Iterable[Tls] = ()) -> tuple[str, ...]:
    """All files that it names, each once, in the order of their first mention. more: TLS of other modes."""
    listeners = [name for each in balancer.listeners.values() for name in _of_listener(each)]
    tls = [each.service.tls for each in balancer.services.values() if each.service.tls is not None]
    others = [name for each in more for name in of_tls(each)]
    return tuple(dict.fromkeys(listeners + [name for each in tls for name in of_backend_tls(each)] + others))


def _of_listener(listener: HttpListener) -> list[str]:
    found = [] if listener.tls is None else list(of_tls(listener.tls))
    for route in (*listener.routes, listener.unmatched):
        found += [name for auth in route.auth for name in of_auth(auth)]
    return found


def of_tls(tls: Tls) -> tuple[str, ...]:
    """The files of TLS towards clients."""
    pairs = tuple(name for each in tls.certificates for name in (each.cert, each.key))
    return (*pairs, tls.client_ca) if tls.client_ca else pairs


def of_backend_tls(tls: BackendTls) -> tuple[str, ...]:
    """The files of TLS towards backends."""
    return tuple(name for name in (tls.ca, tls.cert, tls.key) if name)


def of_auth(auth: Auth) -> tuple[str, ...]:
    """The files of one method of authentication."""
    if isinstance(auth, BasicAuth | ApiKeyAuth):
        return (auth.file,)
    return (auth.keys,) if isinstance(auth, JwtAuth) and auth.keys else ()


def read_files(names: Iterable[str]) -> dict[str, bytes]:
    """The contents by name. Raises FileError at the first that cannot be read."""
    return {name: read_file(name) for name in names}


def read_file(name: str) -> bytes:
    """The content of one file. Raises FileError."""
    try:
        with Path(name).open("rb") as file:
            content = file.read(FILE_MAX + 1)
    except PermissionError as error:
        raise UnreadableError(name, f"cannot be read: {error.strerror}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FileError(name, f"cannot be read: {reason}") from None
    if len(content) > FILE_MAX:
        raise FileError(name, f"larger than {FILE_MAX // 2**20} MiB")
    return content
