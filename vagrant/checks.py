"""What only a whole machine shows, as root in the machine of vagrant/Vagrantfile: a stock kernel, systemd, IPVS, netem.

The rule: one line for each thing that was seen, `ok` or `FAIL`; exit status 0 only without a FAIL.

The machine itself is the balancer. A client and two servers are network namespaces beside it:

    client 10.88.0.2 ---- 10.88.0.1 the machine 10.88.N.1 ---- 10.88.N.2 server1, server2
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1]
CONFIG = Path("/etc/lbctl/lb.yaml")
HERE = "10.88.0.1"
SERVERS = ("server1", "server2")
TCP = {"nat": 8001, "gateway": 8002, "packet": 8003, "terminate": 8004, "http": 8005, "least-connections": 8006}
UDP = {"nat": 9001, "gateway": 9002, "packet": 9003, "terminate": 9004}
IPVS_PORT = 8010
PATIENCE = 300.0
SLOW = Path("/run/systemd/system/lbctl.service.d/slow.conf")
"""What an emulated machine needs more of: it takes minutes to start eight processes."""

failed: list[str] = []


def run(*words: str, check: bool = True) -> str:
    """The standard output of a program. Raises CalledProcessError."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(words)}: {done.stdout}{done.stderr}".strip())
    return done.stdout


def inside(node: str, *words: str) -> list[str]:
    """The words that run a program in a node."""
    return ["ip", "netns", "exec", f"vm-{node}", *words]


def until(true: Callable[[], object], what: str) -> None:
    """Returns when it is true. Raises AssertionError when that does not come."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if true():
                return
        except AssertionError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"in vain waited for: {what}")


def check(text: str, seen: Callable[[], str | None]) -> None:
    """Prints whether it was seen."""
    begun = time.monotonic()
    try:
        detail = seen() or ""
        print(f"ok    {text}{f': {detail}' if detail else ''}", flush=True)
    except (AssertionError, subprocess.SubprocessError, OSError, ValueError) as error:
        failed.append(text)
        print(f"FAIL  {text}: {error}", flush=True)
    print(f"      ({time.monotonic() - begun:.0f} s)", file=sys.stderr, flush=True)


# ---- the network


def lay() -> None:
    """Makes the client and the servers."""
    take_away()
    for number, node in enumerate(("client", *SERVERS)):
        run("ip", "netns", "add", f"vm-{node}")
        run("ip", "link", "add", f"vm-{number}", "type", "veth", "peer", "name", "eth0", "netns", f"vm-{node}")
        run("ip", "addr", "add", f"10.88.{number}.1/24", "dev", f"vm-{number}")
        run("ip", "link", "set", f"vm-{number}", "up")
        run(*inside(node, "ip", "addr", "add", f"10.88.{number}.2/24", "dev", "eth0"))
        for link in ("lo", "eth0"):
            run(*inside(node, "ip", "link", "set", link, "up"))
        run(*inside(node, "ip", "route", "add", "default", "via", f"10.88.{number}.1"))
    ports = ("--http", "8080", "--udp", "9000")
    for node in SERVERS:
        words = inside(node, "python3", "-m", "cli.lab.server", "--name", node, *ports)
        run("systemd-run", "-q", f"--unit=vm-{node}", f"--working-directory={SOURCES}", *words)


def take_away() -> None:
    """Removes them."""
    for node in ("client", *SERVERS):
        run("systemctl", "stop", f"vm-{node}", check=False)
        run("ip", "netns", "del", f"vm-{node}", check=False)


def configure(servers: tuple[str, ...] = SERVERS) -> None:
    """Writes the unit's configuration: every mode, TCP and UDP, to these servers."""
    listeners = {}
    for name, port in TCP.items():
        mode = {"least-connections": "nat"}.get(name, name)
        service = {"least-connections": "least"}.get(name, "web")
        listeners[f"tcp-{name}"] = {"bind": f"{HERE}:{port}", "mode": mode, "service": service}
    for mode, port in UDP.items():
        listeners[f"udp-{mode}"] = {"bind": f"{HERE}:{port}", "protocol": "udp", "mode": mode, "service": "echo"}
    numbers = [SERVERS.index(server) + 1 for server in servers]
    web = [f"10.88.{number}.2:8080" for number in numbers]
    services = {
        "web": {"health": {"type": "tcp", "every": "5s", "timeout": "5s"}, "backends": web},
        "least": {"scheduler": "least-connections", "backends": web},
        "echo": {"backends": [f"10.88.{number}.2:9000" for number in numbers]},
    }
    CONFIG.write_text(json.dumps({"version": 1, "workers": 1, "listeners": listeners, "services": services}, indent=1))


# ---- a client

CLIENT = """
import http.client, json, socket, sys
def tcp(port, count, path):
    for _ in range(count):
        connection = http.client.HTTPConnection(HERE, port, timeout=30)
        connection.request('GET', path)
        body = connection.getresponse().read()
        connection.close()
        told = json.loads(body) if path == '/' else {'length': len(body)}
        print(told.get('server'), told.get('client', '').rpartition(':')[0], told.get('length'))
def udp(port, count, tries):
    for number in range(count):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(2)
        for attempt in range(int(tries)):
            sock.sendto(b'%d' % number, (HERE, port))
            try:
                name, _, rest = sock.recv(2048).partition(b' ')
            except TimeoutError:
                continue
            assert rest.endswith(b'\\n%d' % number), rest
            print(name.decode(), rest.decode().split('\\n')[0].rpartition(':')[0], None)
            break
        else:
            sys.exit(f'no answer to datagram {number} on port {port}')
"""


def ask(kind: str, port: int, count: int, argument: str) -> list[list[str]]:
    """What a client saw: server, client address as the server saw it, length."""
    program = f"HERE = {HERE!r}\n{CLIENT}\n{kind}({port}, {count}, {argument!r})"
    return [line.split() for line in run(*inside("client", "python3", "-c", program)).splitlines()]


def shares(port: int, count: int = 12) -> Counter[str]:
    """Connections by server."""
    return Counter(server for server, _, _ in ask("tcp", port, count, "/"))


def every_mode() -> str:
    """Every mode serves, TCP and UDP."""
    for mode, port in TCP.items():
        assert set(shares(port, 4)) == set(SERVERS), mode
    for mode, port in UDP.items():
        assert {server for server, _, _ in ask("udp", port, 4, "5")} == set(SERVERS), mode
    return f"TCP {', '.join(TCP)}; UDP {', '.join(UDP)}"


# ---- the unit


def shown(field: str) -> str:
    """A property of the unit."""
    return run("systemctl", "show", "-P", field, "lbctl").strip()


def starts() -> str:
    """The unit comes up with a configuration of every mode."""
    configure()
    SLOW.parent.mkdir(parents=True, exist_ok=True)
    SLOW.write_text("[Service]\nTimeoutStartSec=10min\nWatchdogSec=60s\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", "lbctl")
    assert shown("ActiveState") == "active"
    until(lambda: len(json.loads(run("lbctl", "--json", "status"))["listeners"]) == len(TCP) + len(UDP), "status")
    until(lambda: healths() == {"up"}, "healthy backends")
    score = run("systemd-analyze", "--no-pager", "security", "lbctl", check=False).strip().splitlines()[-1]
    return score.partition("lbctl.service: ")[2].strip(" \N{SLIGHTLY SMILING FACE}")


def healths() -> set[str]:
    """The health of the checked service's backends."""
    services = json.loads(run("lbctl", "--json", "status"))["services"]
    return {b["health"] for s in services if s["name"] == "web" for b in s["backends"]}


@contextmanager
def held(port: int) -> Iterator[Callable[[], str]]:
    """A kept connection of the client: who answers on it."""
    program = (
        f"import http.client, json, sys\nc = http.client.HTTPConnection({HERE!r}, {port}, timeout=60)\n"
        "for line in sys.stdin:\n    c.request('GET', '/')\n"
        "    print(json.loads(c.getresponse().read())['server'], flush=True)"
    )
    words = inside("client", "python3", "-uc", program)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None

        def asked() -> str:
            print("ask", file=client.stdin, flush=True)
            return client.stdout.readline().strip()

        yield asked
        client.stdin.close()


def reloads() -> str:
    """A reload changes what is served, in the same process; a kept connection lives on."""
    before = shown("MainPID")
    run("lbctl", "drain", "web", "10.88.2.2:8080")
    with held(TCP["nat"]) as nat, held(TCP["http"]) as http:
        assert (nat(), http()) == ("server1", "server1")
        run("lbctl", "enable", "web", "10.88.2.2:8080")
        configure(SERVERS[:1])
        run("systemctl", "reload", "lbctl")
        for name in ("nat", "http"):
            until(lambda port=TCP[name]: set(shares(port, 4)) == {"server1"}, f"{name} with one server")
        assert (nat(), http()) == ("server1", "server1")
    configure()
    run("systemctl", "reload", "lbctl")
    for name in ("nat", "http", "packet", "terminate"):
        until(lambda port=TCP[name]: set(shares(port, 4)) == set(SERVERS), f"{name} with both servers")
    assert shown("MainPID") == before
    return "a server less, a server more; the same process, kept connections answered"


def killed() -> str:
    """kill -9 of the unit's process: the kernel forwards on, the unit comes back."""
    before = shown("MainPID")
    with held(TCP["nat"]) as nat:
        server = nat()
        os.kill(int(before), 9)
        assert shares(TCP["nat"], 6) == {"server1": 3, "server2": 3}
        assert shares(TCP["gateway"], 6) == {"server1": 3, "server2": 3}
        until(lambda: shown("ActiveState") == "active" and shown("MainPID") != before, "the unit again")
        assert nat() == server
    until(every_mode, "every mode again")
    return "nat and gateway served on, a kept connection lived; then every mode again"


def watched() -> str:
    """A process that hangs is ended by the watchdog and started again."""
    before, restarts = shown("MainPID"), int(shown("NRestarts"))
    os.kill(int(before), 19)
    assert shares(TCP["nat"], 6) == {"server1": 3, "server2": 3}
    until(lambda: int(shown("NRestarts")) > restarts and shown("ActiveState") == "active", "the watchdog")
    journal = run("journalctl", "-u", "lbctl", "-o", "cat", "--no-pager", "-n", "60")
    assert "atchdog" in journal, journal
    until(every_mode, "every mode again")
    return "nat served on; then every mode again"


def stops() -> str:
    """A stopped unit leaves the kernel's forwarding; flush takes it away, and nothing else."""
    run("nft", "add", "table", "inet", "others")
    run("systemctl", "stop", "lbctl")
    assert shares(TCP["nat"], 6) == {"server1": 3, "server2": 3}
    run("lbctl", "flush")
    tables = run("nft", "list", "tables").split("\n")
    run("nft", "delete", "table", "inet", "others")
    assert "table inet others" in tables
    assert not any("lbctl" in table for table in tables), tables
    return "nat served on after the stop, flush removed lbctl's tables alone"


# ---- the kernel


def queue_expression() -> str:
    """nft shows the queue rules as its own."""
    ruleset = run("nft", "list", "ruleset")
    rules = [line.strip() for line in ruleset.splitlines() if " queue " in f" {line}"]
    assert rules, ruleset
    assert "NFQUEUE" not in ruleset
    return rules[0]


def doctor() -> str:
    """doctor on a stock host: what it finds, mends what it may, and then is content."""
    first = json.loads(run("lbctl", "--json", "doctor"))["findings"]
    run("lbctl", "doctor", "--fix")
    left = [f for f in json.loads(run("lbctl", "--json", "doctor"))["findings"] if f["level"] == "problem"]
    assert not left, left
    return "; ".join(f"{f['name']}: {f['level']}" for f in first)


def ipvs() -> str:
    """The same clients through IPVS's NAT, through gateway and through nat see the same."""
    run("modprobe", "-a", "ip_vs", "ip_vs_rr")
    # Without it, replies of IPVS's flows are invalid to conntrack, and lbctl drops what is invalid from its backends.
    run("sysctl", "-w", "net.ipv4.vs.conntrack=1")
    run("ipvsadm", "-A", "-t", f"{HERE}:{IPVS_PORT}", "-s", "rr")
    for number in (1, 2):
        run("ipvsadm", "-a", "-t", f"{HERE}:{IPVS_PORT}", "-r", f"10.88.{number}.2:8080", "-m")
    seen = {}
    for name, port in (("IPVS", IPVS_PORT), ("gateway", TCP["gateway"]), ("nat", TCP["nat"])):
        answers = ask("tcp", port, 12, "/")
        order = [server for server, _, _ in answers]
        assert all(a != b for a, b in pairwise(order)), (name, order)
        seen[name] = {client for _, client, _ in answers}
        assert Counter(order) == {"server1": 6, "server2": 6}, (name, order)
    assert seen["IPVS"] == seen["gateway"] == {"10.88.0.2"}, seen
    assert seen["nat"] == {"10.88.1.1", "10.88.2.1"}, seen
    run("ipvsadm", "-C")
    return "12 connections: 6 and 6 by turns in all three; the client's address seen through IPVS and gateway"


def netem(*disturbance: str) -> Callable[[], str]:
    """TCP and UDP in every mode over a disturbed line, both ways."""

    def seen() -> str:
        line = ("dev", "eth0", "root", "netem", *disturbance)
        ours = ("dev", "vm-0", "root", "netem", *disturbance)
        run(*inside("client", "tc", "qdisc", "replace", *line))
        run("tc", "qdisc", "replace", *ours)
        try:
            for mode, port in TCP.items():
                lengths = {length for _, _, length in ask_bytes(port)}
                assert lengths == {"200000"}, (mode, lengths)
            for mode, port in UDP.items():
                assert len(ask("udp", port, 10, "8")) == 10, mode
        finally:
            run(*inside("client", "tc", "qdisc", "del", "dev", "eth0", "root"))
            run("tc", "qdisc", "del", "dev", "vm-0", "root")
        return "200,000 bytes by TCP, 10 datagrams by UDP, every mode"

    return seen


def ask_bytes(port: int) -> list[list[str]]:
    """Three downloads; words that a line lacks are filled in."""
    return [["", "", words[-1]] for words in ask("tcp", port, 3, "/bytes/200000")]


# ---- all of it


def demo() -> str:
    """The article's scenes."""
    return run("lbctl", "demo").strip().splitlines()[-1]


def main() -> int:
    """Everything; returns the exit status."""
    print(f"      Linux {os.uname().release}, {run('systemctl', '--version').splitlines()[0]}", flush=True)
    check("lab up", lambda: run("lbctl", "lab", "exec", "client", "--", "ip", "-br", "addr").split()[0] and None)
    before = CONFIG.read_text()
    lay()
    try:
        check("doctor on a stock host", doctor)
        check("systemctl start, every kind of worker under the unit's sandbox", starts)
        check("every mode serves", every_mode)
        check("the queue rule is nft's queue expression", queue_expression)
        check("systemctl reload", reloads)
        check("kill -9", killed)
        check("watchdog", watched)
        check("IPVS beside", ipvs)
        check("netem: delay", netem("delay", "20ms", "5ms"))
        check("netem: loss", netem("loss", "3%"))
        check("netem: reordering", netem("delay", "10ms", "reorder", "30%", "50%"))
        check("systemctl stop, flush", stops)
        check("lbctl demo", demo)
    finally:
        take_away()
        SLOW.unlink(missing_ok=True)
        CONFIG.write_text(before)
        run("systemctl", "daemon-reload")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
