"""Whether the files that a balancer names can be served, told before anything is served.

The rule: everything is made of them that a worker would make, and thrown away; all errors are told, not the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial

from lb4.model import BackendTls
from lb7.auth.gate import authenticator
from lb7.files import FileError, Files, of_auth, of_backend_tls, of_tls
from lb7.model import HttpBalancer, HttpListener, Tls

Making = tuple[tuple[str, ...], Callable[[], object]]


def unfit(
    balancer: HttpBalancer, files: Files, more: Iterable[Tls] = (), backends: Iterable[BackendTls] = ()
) -> tuple[FileError, ...]:
    """What is wrong in the files; those that are not among the given ones are not judged.

    more, backends: of other modes.
    """
    found: dict[str, FileError] = {}
    others: Iterator[Making] = ((of_tls(tls), partial(_server, tls, files)) for tls in more)
    spoken: Iterator[Making] = (
        (of_backend_tls(tls), partial(_backend, tls, files)) for tls in backends if of_backend_tls(tls)
    )
    for names, make in (*_makings(balancer, files), *others, *spoken):
        if all(name in files for name in names):
            try:
                make()
            except FileError as error:
                found.setdefault(str(error), error)
    return tuple(found.values())


def _makings(balancer: HttpBalancer, files: Files) -> Iterator[Making]:
    for listener in balancer.listeners.values():
        if listener.tls is not None:
            yield of_tls(listener.tls), partial(_server, listener.tls, files)
        for auth in dict.fromkeys(auth for route in (*listener.routes, listener.unmatched) for auth in route.auth):
            yield of_auth(auth), partial(authenticator, auth, files)
    for service in balancer.services.values():
        tls = service.service.tls
        if tls is not None and of_backend_tls(tls):
            yield of_backend_tls(tls), partial(_backend, tls, files)


def _server(tls: Tls, files: Files) -> object:
    from lb7.tls.contexts import server_context

    return server_context(tls, files)


def _backend(tls: BackendTls, files: Files) -> object:
    from lb7.tls.contexts import backend_context

    return backend_context(tls, files)


def doubtful(balancer: HttpBalancer, files: Files, now: datetime) -> tuple[str, ...]:
    """What clients will not like of certificates that can be served, as one that expires; one line each."""
    return tuple(line for listener in balancer.listeners.values() for line in _doubts(listener, files, now))


def _doubts(listener: HttpListener, files: Files, now: datetime) -> Iterator[str]:
    if listener.tls is None:
        return
    from lb7.tls.certificates import complaints, load

    for pair in listener.tls.certificates:
        if pair.cert in files and pair.key in files:
            try:
                loaded = load(pair, files)
            except FileError:
                continue
            yield from complaints(loaded, now)
