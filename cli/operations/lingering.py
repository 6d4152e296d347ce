"""Backends of mode `packet` that were drained and then left the file: their connections live on, so answers must come.

The rule: one lingers until its last flow is gone, or `lbctl run` ends. The kernel modes need none of this: there
conntrack finds the flow of an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from cli.operations.context import Context
from cli.operations.transition import Unsettled
from lb4.conntrack.attribution import is_drained
from lb4.flow import Flow
from lb4.model import Balancer, Mode, Protocol
from lb4.packet.rules import Lingering


@contextmanager
def lingering(context: Context, befores: Sequence[Balancer], after: Balancer) -> Iterator[None]:
    """What is compiled inside, and later, has a place for the answers of those that linger; not where it fails."""
    runtime = context.runtime
    if runtime is None:
        yield
        return
    known = runtime.lingering
    kept = still_used(known, runtime.flows()) if known else ()
    runtime.lingering = tuple(dict.fromkeys((*kept, *(each for before in befores for each in left(before, after)))))
    try:
        yield
    except Unsettled:
        raise
    except BaseException:
        runtime.lingering = known
        raise


def still_used(known: Iterable[Lingering], flows: Iterable[tuple[str, str, Flow]]) -> tuple[Lingering, ...]:
    """Those that some flow goes to."""
    used = {(listener, flow.backend.ip) for listener, _, flow in flows}
    return tuple(each for each in known if (each[0], each[1].ip) in used)


def left(before: Balancer, after: Balancer) -> Iterator[Lingering]:
    """By listener, the drained backends that its service has no more."""
    for name, listener in after.listeners.items():
        was = before.listeners.get(name)
        if listener.mode is not Mode.PACKET or listener.protocol is not Protocol.TCP or was is None:
            continue
        if (was.mode, was.service) != (listener.mode, listener.service):
            continue
        has = {backend.endpoint for backend in after.services[listener.service].backends}
        for backend in before.services[was.service].backends:
            if is_drained(backend) and backend.endpoint not in has:
                yield name, backend.endpoint
