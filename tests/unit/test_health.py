from ipaddress import ip_address

import pytest

from lb4.address import Endpoint
from lb4.health.hysteresis import Observed, observe
from lb4.health.ramp import STEPS, ramped, step_of
from lb4.model import Backend, Health, HealthCheck, Service

CHECK = HealthCheck("tcp", rise=2, fall=3)


@pytest.mark.parametrize(
    ("results", "healths"),
    [
        ("+", "U"),
        ("-", "D"),
        ("+--", "UUU"),
        ("+---", "UUUD"),
        ("+--+--", "UUUUUU"),
        ("-+", "DD"),
        ("-++", "DDU"),
        ("-+-+", "DDDD"),
    ],
)
def test_hysteresis(results, healths):
    seen, now = "", Observed()
    for result in results:
        now = observe(now, result == "+", CHECK)
        seen += {Health.UP: "U", Health.DOWN: "D"}[now.health]
    assert seen == healths


@pytest.mark.parametrize(("since", "step"), [(0, 1), (1, 1), (5, 5), (9.99, 9), (10, STEPS), (99, STEPS)])
def test_slow_start_steps(since, step):
    assert step_of(since, 10) == step


def test_a_recovering_backend_gets_its_share_little_by_little():
    one, two = (Endpoint(ip_address(f"10.0.{n}.2"), 80) for n in (1, 2))
    service = Service("web", (Backend(one, 3), Backend(two, 3)), slow_start=10)
    assert [b.weight for b in ramped(service, {two: 5}).backends] == [30, 15]
    assert ramped(service, {two: 10}) is service
