"""The balancer that all packet tests set up: one TCP and one UDP listener, in both families, and one service."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

from lb4.address import parse_bind, parse_endpoint
from lb4.model import Backend, Balancer, Listener, Mode, Protocol, Scheduler, SchedulerKind, Service
from lb4.packet.load_scheduler import load_scheduler
from lb4.packet.picks import picks
from lb4.packet.setup import Setup
from lb4.packet.translate import Translator
from tests.packet.network import BIND, BIND6, SERVERS, SERVERS6

ROUTES = {
    ip_address(f"10.0.{i}.2"): ip_address(f"10.0.{i}.1") for i in (1, 2)
} | {ip_address(f"fd00:{i}::2"): ip_address(f"fd00:{i}::1") for i in (1, 2)}  # fmt: skip


def balancer(
    mode: Mode = Mode.PACKET, backends: int = 1, scheduler: SchedulerKind = SchedulerKind.ROUND_ROBIN
) -> Balancer:
    """The first so many servers."""
    binds = (parse_bind(f"{BIND}:80"), parse_bind(f"[{BIND6}]:80"))
    texts = [f"{ip}:8080" for ip in SERVERS[:backends]] + [f"[{ip}]:8080" for ip in SERVERS6[:backends]]
    service = Service("web", tuple(Backend(parse_endpoint(text)) for text in texts), scheduler=Scheduler(scheduler))
    listeners = {
        name: Listener(name, binds, protocol, mode, "web")
        for name, protocol in (("web", Protocol.TCP), ("dns", Protocol.UDP))
    }
    return Balancer(listeners, {"web": service})


def translator(
    setting: Balancer | None = None, complain: Callable[[str], None] = print, **fields: object
) -> Translator:
    """The pure core with the setting above. fields: of Setup."""
    setup = Setup(setting or balancer(), ROUTES, seed=4711)
    setup = replace(setup, **fields)  # type: ignore[arg-type]
    return Translator(setup, picks(random.Random(1).random, load_scheduler), complain)
