"""Keys that would do nothing in mode terminate, or at other modes, are refused with the place where they stand."""

import pytest

from cli.config.errors import ConfigError
from cli.config.loader import load

HEAD = "version: 1\nlisteners:\n  l: {bind: 192.0.2.1:80, service: s, "
TLS = "tls: {certificates: [{cert: a, key: b}]}"


@pytest.mark.parametrize(
    ("listener", "service", "where"),
    [
        (f"mode: terminate, protocol: udp, {TLS}", "", "listeners.l.tls"),
        ("mode: terminate, protocol: udp, sni: {a.org: s}", "", "listeners.l.sni"),
        ("mode: terminate, protocol: udp, proxy_protocol: {trusted: [10.0.0.0/8]}", "", "listeners.l.proxy_protocol"),
        (f"mode: terminate, {TLS}, sni: {{a.org: s}}", "", "listeners.l.sni"),
        (f"mode: terminate, {TLS}, proxy_protocol: {{trusted: [10.0.0.0/8]}}", "", "listeners.l.proxy_protocol"),
        ("mode: terminate, timeouts: {first_byte: 1s}", "", "listeners.l.timeouts.first_byte"),
        ("mode: terminate, limits: {head: 1KiB}", "", "listeners.l.limits.head"),
        ("mode: nat, limits: {body: 1KiB}", "", "listeners.l.limits.body"),
        ("mode: terminate", "max_queued: 5", "listeners.l.service"),
        ("mode: nat", "max_connections: 5", "listeners.l.service"),
        ("mode: terminate, protocol: udp", "proxy_protocol: v2", "listeners.l.service"),
        ("mode: terminate, protocol: udp", "tls: true", "listeners.l.service"),
        ("mode: http, proxy_protocol: {trusted: [10.0.0.0/8]}", "", "listeners.l.proxy_protocol"),
    ],
)
def test_what_does_nothing_is_refused(listener: str, service: str, where: str) -> None:
    text = f"{HEAD}{listener}}}\nservices:\n  s: {{backends: [10.0.0.1:80], {service}}}\n"
    with pytest.raises(ConfigError) as caught:
        load(text, "lb.yaml")
    assert where in str(caught.value)


@pytest.mark.parametrize(("protocol", "seconds"), [("tcp", 3600.0), ("udp", 60.0)])
def test_the_idle_timeout_depends_on_the_protocol(protocol: str, seconds: float) -> None:
    text = f"{HEAD}mode: terminate, protocol: {protocol}}}\nservices: {{s: {{backends: [10.0.0.1:80]}}}}\n"
    assert load(text, "lb.yaml").terminate["l"].idle_timeout == seconds
