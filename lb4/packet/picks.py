"""Schedulers as packet mode and first packets ask them: a service in, a function that picks out.

The rule: a client gets the backend that the kernel's own schedulers would give it wherever the kernel has the scheduler
(the same hash, the same slots), so a listener's mode can change and its clients stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lb4.address import Endpoint, Family
from lb4.model import Backend, SchedulerKind, Service
from lb4.packet.decision import Pick, Picks, SchedulerFailed
from lb4.schedulers.jhash import scaled
from lb4.schedulers.picker import Picker
from lb4.schedulers.slots import BY_CLIENT, seed, slots
from lb4.schedulers.turn import Turns, own_turns

Candidates = tuple[Backend, ...]
UsersPick = Callable[[Candidates, Endpoint, Endpoint], object]
"""A user's own scheduler: called with the candidates, the client and the target, it returns one of the candidates."""

Load = Callable[[str, str], UsersPick]
"""Finds a user's function by module and name. Raises SchedulerFailed."""


def picks(random: Callable[[], float], load: Load, turns: Turns = own_turns) -> Picks:
    """random: numbers in [0, 1). turns: by service and family, whose turn it is, for all workers together."""

    def pick_of(service: Service) -> Pick:
        kind = service.scheduler.kind
        if kind is SchedulerKind.PYTHON:
            return _users(service, load)
        return _by_client(service) if kind in BY_CLIENT else _by_turns(service, random, turns)

    return pick_of


def _by_client(service: Service) -> Pick:
    slots_of: dict[Candidates, list[Backend]] = {}
    salt, kind = seed(service), service.scheduler.kind

    def pick(backends: Candidates, client: Endpoint, target: Endpoint, active: Mapping[Endpoint, int]) -> Backend:
        if backends not in slots_of:
            slots_of.clear()
            slots_of[backends] = slots(kind, backends)
        places = slots_of[backends]
        return places[scaled(client.ip.packed, salt, len(places))]

    return pick


def _by_turns(service: Service, random: Callable[[], float], turns: Turns) -> Pick:
    kind, pickers = service.scheduler.kind, dict[Family, Picker]()

    def pick(backends: Candidates, client: Endpoint, target: Endpoint, active: Mapping[Endpoint, int]) -> Backend:
        picker = pickers.get(target.family)
        if picker is None or picker.backends != backends:
            turn = picker.turn if picker else turns(f"{target.family} {service.name}")
            picker = pickers[target.family] = Picker(kind, backends, turn)
        busy = [active.get(b.endpoint, 0) for b in backends] if kind is SchedulerKind.LEAST_CONNECTIONS else ()
        return backends[picker.place(b"", busy, random())]

    return pick


def _users(service: Service, load: Load) -> Pick:
    scheduler = service.scheduler
    function: UsersPick | None = None

    def pick(backends: Candidates, client: Endpoint, target: Endpoint, active: Mapping[Endpoint, int]) -> Backend:
        nonlocal function
        try:
            function = function or load(scheduler.module, scheduler.function)
            backend = function(backends, client, target)
        except Exception as error:  # a user's code may raise anything; it costs this packet alone
            raise SchedulerFailed(f"service {service.name}: scheduler {scheduler} raised {error!r}") from error
        if isinstance(backend, Backend) and backend in backends:
            return backend
        raise SchedulerFailed(f"service {service.name}: scheduler {scheduler} returned {backend!r}, no candidate")

    return pick
