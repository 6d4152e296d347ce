"""What a plan says of the difference between two balancers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lb4.address import parse_bind, parse_endpoint
from lb4.changes import changes
from lb4.model import (
    AdminState,
    Backend,
    Balancer,
    HealthCheck,
    Limits,
    Listener,
    Rate,
    Scheduler,
    SchedulerKind,
    Service,
)

A, B = Backend(parse_endpoint("10.0.1.2:80")), Backend(parse_endpoint("10.0.2.2:80"))
WEB = Listener("web", (parse_bind("192.0.2.10:80"),), service="web")
DNS = replace(WEB, name="dns", binds=(parse_bind("192.0.2.10:53"),))
EMPTY = Balancer({}, {})


def with_backends(*backends: Backend) -> Balancer:
    return Balancer({"web": WEB}, {"web": Service("web", backends)})


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (EMPTY, EMPTY, []),
        (with_backends(A), with_backends(A), []),
        (EMPTY, with_backends(A), ["add listener web", "add service web", "add backend web 10.0.1.2:80"]),
        (with_backends(A), EMPTY, ["remove listener web", "remove service web", "remove backend web 10.0.1.2:80"]),
        (with_backends(A), with_backends(A, B), ["add backend web 10.0.2.2:80"]),
        (with_backends(A), with_backends(replace(A, weight=3)), ["change backend web 10.0.1.2:80: weight 1 → 3"]),
        (
            with_backends(A),
            with_backends(replace(A, admin=AdminState.DRAINING)),
            ["change backend web 10.0.1.2:80: admin enabled → draining"],
        ),
        (
            with_backends(A),
            Balancer({"web": WEB}, {"web": Service("web", (A,), scheduler=Scheduler(SchedulerKind.MAGLEV))}),
            ["change service web: scheduler round-robin → maglev"],
        ),
        (
            with_backends(A),
            Balancer({"web": replace(WEB, limits=Limits(100, new_connections=Rate(5)))}, {"web": Service("web", (A,))}),
            ["change listener web: limits connections none → 100, limits new connections none → 5/s"],
        ),
        (
            with_backends(A),
            Balancer({"web": WEB}, {"web": Service("web", (A,), health=HealthCheck("tcp", every=1.5))}),
            ["change service web: health none → (type tcp, every 1.5)"],
        ),
        (
            with_backends(A),
            Balancer({"web": replace(WEB, binds=(*WEB.binds, *DNS.binds))}, {"web": Service("web", (A,))}),
            ["change listener web: binds 192.0.2.10:80 → 192.0.2.10:80, 192.0.2.10:53"],
        ),
        (with_backends(A), replace(with_backends(A), listeners={"web": WEB, "dns": DNS}), ["add listener dns"]),
    ],
)
def test_changes(before: Balancer, after: Balancer, told: list[str]) -> None:
    found = changes(before, after)
    said = [f"{c.action} {c.kind} {c.name}" + (f": {c.detail}" if c.detail else "") for c in found]
    assert said == told
