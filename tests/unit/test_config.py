"""Configuration files: what is taken, and for what is refused the exact lines a person reads."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from cli.config import ConfigError, load, load_file
from lb4.address import parse_bind, parse_endpoint
from lb4.model import Affinity, Backend, DnsBackend, Mode, Protocol, Rate, Scheduler, SchedulerKind

CASES = Path(__file__).with_name("config_cases")
EXAMPLE = (CASES / "example.yaml").read_text()

GOOD = """\
version: 1
listeners:
  web: {bind: "192.0.2.10:80", service: web}
services:
  web: {backends: [10.0.0.1:80]}
"""


def with_listener(keys: str, service: str = "backends: [10.0.0.1:80]") -> str:
    """A file whose listener `web` (line 3) has these keys, and whose service `web` (line 5) those."""
    return f"version: 1\nlisteners:\n  web: {{{keys}}}\nservices:\n  web: {{{service}}}\n"


def with_service(keys: str) -> str:
    """A file whose service `web` (line 5) has these keys."""
    return with_listener("bind: '192.0.2.10:80', service: web", keys)


def cases(name: str) -> list[tuple[str, list[str]]]:
    """The cases of a table: a line of keys, and below it, indented, the lines that are expected."""
    blocks = [block.splitlines() for block in (CASES / f"{name}.txt").read_text().split("\n\n")]
    return [(keys, [line.strip() for line in lines]) for keys, *lines in blocks if not keys.startswith("#")]


def refused(text: str) -> list[str]:
    """The lines with which the text is refused."""
    with pytest.raises(ConfigError) as found:
        load(text, "lb.yaml")
    return found.value.lines


def test_the_example_of_the_interface_is_taken_whole() -> None:
    configuration = load(EXAMPLE, "lb.yaml")
    web, dns, ftp, api = (configuration.listeners[name] for name in ("web", "dns", "passive-ftp", "api"))
    assert configuration.workers == 2
    assert configuration.warnings == ()
    assert web.binds == (parse_bind("192.0.2.10:80"), parse_bind("[2001:db8::10]:80"))
    assert (web.mode, web.protocol, dns.protocol) == (Mode.NAT, Protocol.TCP, Protocol.UDP)
    assert ftp.binds[0].is_range
    assert api.mode is Mode.HTTP
    service = configuration.services["web"]
    assert service.affinity == Affinity(timeout=600.0)
    assert service.health is not None
    assert (service.health.type, service.health.every, service.health.path) == ("http", 2.0, "/healthz")
    assert service.backends[1] == Backend(parse_endpoint("10.0.2.2:8080"), weight=3)
    assert configuration.services["resolvers"].scheduler == Scheduler(SchedulerKind.SOURCE_HASH)
    assert configuration.services["payments"].names == (DnsBackend("payments.internal", 8080),)
    assert configuration.http.listeners.keys() == {"api"}


def test_listener_keys() -> None:
    keys = (
        "bind: 192.0.2.10:80, service: web, allow: [10.0.0.0/8], deny: [10.1.2.3], snat: 192.0.2.11, "
        "limits: {connections: 10, connections_per_client: 2, new_connections: 100/s, new_connections_per_client: 5/m}"
    )
    listener = load(with_listener(keys), "lb.yaml").listeners["web"]
    assert listener.allow == (ip_network("10.0.0.0/8"),)
    assert listener.deny == (ip_network("10.1.2.3/32"),)
    assert listener.snat == (ip_address("192.0.2.11"),)
    assert (listener.limits.connections, listener.limits.connections_per_client) == (10, 2)
    assert (listener.limits.new_connections, listener.limits.new_connections_per_client) == (Rate(100), Rate(5, 60))


def test_service_keys() -> None:
    keys = (
        "scheduler: 'python:mine.policy:pick', slow_start: 30s, panic_threshold: 50%, "
        r"health: {type: udp, payload: 'ping\x00\\', expect: pong, jitter: 0.2, port: 99}, "
        "backends: [{address: 10.0.0.1, backup: true}, {address: 10.0.0.2, weight: 0}]"
    )
    service = load(with_service(keys), "lb.yaml").services["web"]
    assert service.scheduler == Scheduler(SchedulerKind.PYTHON, "mine.policy", "pick")
    assert (service.slow_start, service.panic_threshold) == (30.0, 0.5)
    assert service.health is not None
    assert (service.health.payload, service.health.expect, service.health.port) == (b"ping\x00\\", b"pong", 99)
    assert [(b.backup, b.weight, b.endpoint.port) for b in service.backends] == [(True, 1, None), (False, 0, None)]


def test_aliases_and_merge_keys() -> None:
    text = """\
version: 1
listeners:
  a: &base {bind: "192.0.2.10:80", service: web}
  b: {<<: *base, bind: "192.0.2.11:80"}
services:
  web: {backends: &some [10.0.0.1:80]}
  spare: {backends: *some}
"""
    configuration = load(text, "lb.yaml")
    assert configuration.listeners["b"].service == "web"
    assert str(configuration.listeners["b"].binds[0]) == "192.0.2.11:80"
    assert configuration.warnings == ("lb.yaml:7: services.spare: no listener names this service",)


BROKEN_TEXT = [
    ("", "lb.yaml:1: the file is empty; it starts with version: 1"),
    ("just words", "lb.yaml:1: the file is not a mapping; it starts with version: 1"),
    ("- 1", "lb.yaml:1: the file is not a mapping; it starts with version: 1"),
    (
        "version: 1\nlisteners: [",
        "lb.yaml:3: this is not YAML: did not find expected node content, while parsing a flow node",
    ),
    ("version: true", "lb.yaml:1: version: true is not a number"),
    (
        "version: 1\nmetrics: {bind: '127.0.0.1:9100-9101'}",
        "lb.yaml:2: metrics.bind: 127.0.0.1:9100-9101 is a range; metrics take one port",
    ),
    (
        GOOD + "metrics: {bind: '0.0.0.0:80'}\n",
        "lb.yaml:6: metrics.bind: 0.0.0.0:80 overlaps 192.0.2.10:80 of the listener web; "
        "give each its own address or port",
    ),
    ("version: 1\nversion: 1", "lb.yaml:2: the key 'version' stands here a second time; the first is in line 1"),
    ("version: 1\n---\nversion: 1", "lb.yaml:2: a second document starts here; write one document to a file"),
    ("version: *one", "lb.yaml:1: the alias *one names no anchor before it"),
    ("version: &a [*a]", "lb.yaml:1: the alias *a names no anchor before it"),
    ("version: !!python/object:os.system 1", "lb.yaml:1: the tag 'tag:yaml.org,2002:python/object:os.system' means"),
    ("version: !!int x", "lb.yaml:1: 'x' is not what its tag 'tag:yaml.org,2002:int' says"),
    ("? [a]\n: 1", "lb.yaml:1: a key must be a plain text"),
    ("<<: 3", "lb.yaml:1: << takes a mapping or a list of mappings"),
    ("version: \x00", "lb.yaml:1: this is not YAML: control characters are not allowed"),
    ("version: \ud800", "lb.yaml: the text is not Unicode: it has lone surrogates; save the file as UTF-8"),
    ("a: " + "[" * 100, "lb.yaml:1: more than 32 levels of nesting"),
    (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
            for before, name in zip("abcdef", "bcdefg", strict=True)
        ),
        "lb.yaml:6: the aliases of this file stand for too many values",
    ),
]


@pytest.mark.parametrize(("text", "line"), BROKEN_TEXT)
def test_broken_text(text: str, line: str) -> None:
    (found,) = refused(text)
    assert found.startswith(line)


@pytest.mark.parametrize(("keys", "lines"), cases("listeners"))
def test_bad_listeners(keys: str, lines: list[str]) -> None:
    assert refused(with_listener(keys)) == [f"lb.yaml:3: {line}" for line in lines]


@pytest.mark.parametrize(("keys", "lines"), cases("services"))
def test_bad_services(keys: str, lines: list[str]) -> None:
    text = with_service("" if keys == "{}" else keys)
    assert [line.split(": ", 1)[1] for line in refused(text)] == lines


def test_python_schedulers_are_for_packets() -> None:
    text = with_listener(
        "bind: 192.0.2.1:80, mode: terminate, service: web", "scheduler: 'python:a:b', backends: [10.0.0.1:80]"
    )
    assert refused(text) == [
        "lb.yaml:3: listeners.web.service: the scheduler python:a:b of service web is for modes nat, gateway or packet"
    ]


TOP = [
    ("version: 2", "lb.yaml:1: version: 2 is not 1"),
    ("listeners: {}", "lb.yaml:1: the key version is missing; write version: 1"),
    ("version: 1\nworkers: 0", "lb.yaml:2: workers: 0 is less than 1"),
    ("version: 1\nlistners: {}", "lb.yaml:2: listners: unknown key; did you mean listeners?"),
    (
        "version: 1\nlisteners:\n  a b: {bind: '192.0.2.1:1', service: a}",
        "lb.yaml:3: listeners.a b: 'a b' is no name; ",
    ),
    ("version: 1\nlisteners: 3", "lb.yaml:2: listeners: 3 is not a mapping"),
    ("version: 1\nlisteners:\n  a:", "lb.yaml:3: listeners.a: nothing is not a mapping"),
    ("version: 1\nmetrics: {bind: x}", "lb.yaml:2: metrics.bind: 'x' has no port; write x:80"),
]


@pytest.mark.parametrize(("text", "line"), TOP)
def test_top_level(text: str, line: str) -> None:
    (found,) = refused(text)
    assert found.startswith(line)


BINDS = [
    ("192.0.2.1:80 tcp", "192.0.2.1:80 tcp", True),
    ("192.0.2.1:80 tcp", "192.0.2.1:80 udp", False),
    ("192.0.2.1:80 tcp", "192.0.2.1:81 tcp", False),
    ("192.0.2.1:80 tcp", "192.0.2.2:80 tcp", False),
    ("192.0.2.1:80-90 tcp", "192.0.2.1:90-99 tcp", True),
    ("192.0.2.1:80-90 tcp", "192.0.2.1:91-99 tcp", False),
    ("192.0.2.1:1-100 tcp", "192.0.2.1:50 tcp", True),
    ("0.0.0.0:80 tcp", "192.0.2.1:80 tcp", True),
    ("0.0.0.0:80 tcp", "0.0.0.0:80 tcp", True),
    ("0.0.0.0:80 tcp", "192.0.2.1:81 tcp", False),
    ("[::]:80 tcp", "192.0.2.1:80 tcp", False),
    ("[::]:80 tcp", "[2001:db8::1]:80 tcp", True),
]


@pytest.mark.parametrize(("first", "second", "clash"), BINDS)
@pytest.mark.parametrize("turned", [False, True])
def test_two_listeners_at_one_place(first: str, second: str, clash: bool, turned: bool) -> None:
    one, two = (second, first) if turned else (first, second)
    keys = "mode: terminate, service: web"
    text = f"""\
version: 1
listeners:
  a: {{bind: "{one.split()[0]}", protocol: {one.split()[1]}, {keys}}}
  b: {{bind: "{two.split()[0]}", protocol: {two.split()[1]}, {keys}}}
services: {{web: {{backends: [10.0.0.1]}}}}
"""
    if clash:
        (line,) = refused(text)
        assert "overlaps" in line
    else:
        assert len(load(text, "lb.yaml").listeners) == 2


@pytest.mark.parametrize(("keys", "lines"), cases("warnings"))
def test_warnings_stop_nothing(keys: str, lines: list[str]) -> None:
    assert load(with_service(keys), "lb.yaml").warnings == tuple(f"lb.yaml:5: {line}" for line in lines)


def test_all_errors_at_once_in_the_order_of_the_file() -> None:
    text = (
        GOOD.replace("192.0.2.10:80", "192.0.2.10").replace("10.0.0.1:80", "x:80").replace("version: 1", "version: 3")
    )
    assert [line.split(":")[1] for line in refused(text)] == ["1", "3", "5"]


def test_too_many_errors_are_counted() -> None:
    lines = refused("version: 1\n" + "".join(f"unknown{n}: 1\n" for n in range(150)))
    assert len(lines) == 101
    assert lines[-1] == "lb.yaml: and 50 more"


def test_ten_thousand_prefixes() -> None:
    prefixes = ", ".join(f"10.{n // 256}.{n % 256}.0/24" for n in range(10_000))
    listener = load(with_listener(f"bind: 192.0.2.10:80, service: web, deny: [{prefixes}]"), "lb.yaml").listeners["web"]
    assert len(listener.deny) == 10_000


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "lb.yaml"
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        load_file(path)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_file(tmp_path)
    path.write_bytes(b"version: 1\n# \xff\n")
    with pytest.raises(ConfigError, match=f"{path}:2: the file is not UTF-8 text"):
        load_file(path)
    path.write_text("\ufeff" + GOOD)
    assert load_file(path).origin == str(path)
