"""`explain http`: what would happen to a request, by the routes that are in force.

The rule: the listener's own route table decides; nothing is sent and nobody is asked whether the client may.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import SplitResult, urlsplit

from cli.config.model import Configuration
from cli.operations.documents import CandidateDocument, ExplainDocument
from cli.operations.error import OperationError
from lb4.address import AddressError, parse_ip
from lb4.model import Balancer, Service
from lb7.model import Forward, Header, HttpListener, Route
from lb7.routes.explain import Outcome, Request, explain

PORTS = {"http": 80, "https": 443}


def explain_request(
    configuration: Configuration, balancer: Balancer, method: str, url: str, headers: Sequence[str]
) -> ExplainDocument:
    """The document for a request of that method and URL. Raises OperationError."""
    asked = _url(url)
    listener = _listener(configuration, asked)
    if listener is None:
        return _passed(f"no listener of mode http has port {_port(asked)}")
    target = (asked.path or "/") + (f"?{asked.query}" if asked.query else "")
    given = tuple(_header(text) for text in headers)
    outcome = explain(listener, Request(asked.scheme, method.upper(), asked.netloc.rpartition("@")[2], target, given))
    return _routed(listener, balancer, outcome)


def _routed(listener: HttpListener, balancer: Balancer, outcome: Outcome) -> ExplainDocument:
    told = [*outcome.steps]
    action = outcome.forward
    if action is None:
        return _answer(listener, outcome.route, told)
    candidates = [*_candidates(action, balancer)]
    told += [f"service {s.service} picks by {balancer.services[s.service].scheduler}" for s in action.services]
    document = _answer(listener, outcome.route, told)
    document["service"] = action.services[0].service if len(action.services) == 1 else None
    if not candidates:
        return {**document, "verdict": "respond", "steps": [*told, "no backend is usable: it answers with 503"]}
    only = candidates[0]["backend"] if len(candidates) == 1 else None
    return {**document, "verdict": "forward", "backend": only, "candidates": candidates}


def _candidates(action: Forward, balancer: Balancer) -> Iterator[CandidateDocument]:
    """The usable backends of each service, by the services' shares and their own weights."""
    shares = sum(share.weight for share in action.services)
    for share in action.services:
        weights = _weights(balancer.services[share.service])
        whole = sum(weights.values())
        for backend, weight in weights.items():
            probability = share.weight / shares * weight / whole if shares and whole else 0.0
            yield {"backend": backend, "probability": probability}


def _weights(service: Service) -> dict[str, int]:
    """The weights of the backends that may be picked; a name that was not looked up yet stands for its addresses."""
    resolved = {backend.name for backend in service.backends}
    unknown = {str(name): name.weight for name in service.names if name.name not in resolved}
    return {str(backend): backend.weight for backend in service.eligible()} | unknown


def _answer(listener: HttpListener, route: Route | None, steps: list[str]) -> ExplainDocument:
    return {
        "verdict": "respond",
        "listener": listener.listener.name,
        "service": None,
        "backend": None,
        "candidates": [],
        "steps": steps,
        "route": None if route is None else route.name,
    }


def _passed(why: str) -> ExplainDocument:
    return {
        "verdict": "pass",
        "listener": None,
        "service": None,
        "backend": None,
        "candidates": [],
        "steps": [why],
        "route": None,
    }


def _listener(configuration: Configuration, asked: SplitResult) -> HttpListener | None:
    """The HTTP listener at the URL's port, at its address where it has one and not a name; best of its scheme."""
    port, host = _port(asked), asked.hostname or ""
    try:
        address = parse_ip(host)
    except AddressError:
        address = None
    found = [
        (asked.scheme != ("https" if listener.tls else "http"), address is not None and bind.is_wildcard, name)
        for name, listener in configuration.http.listeners.items()
        for bind in listener.listener.binds
        if address is None or bind.ip == address or (bind.is_wildcard and bind.ip.version == address.version)
        if bind.first <= port <= bind.last
    ]
    return configuration.http.listeners[min(found)[2]] if found else None


def _url(url: str) -> SplitResult:
    try:
        asked = urlsplit(url)
        _ = asked.port
    except ValueError as error:
        raise OperationError(f"{url!r} is no URL: {error}", exit=2) from None
    if asked.scheme not in PORTS or not asked.hostname:
        raise OperationError(f"{url!r} is no URL of http or https; write https://api.example.org/ping", exit=2)
    return asked


def _port(asked: SplitResult) -> int:
    return asked.port or PORTS[asked.scheme]


def _header(text: str) -> Header:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise OperationError(f"{text!r} is no header; write 'NAME: VALUE'", exit=2)
    return name.strip().encode(), value.strip().encode()
