"""Forwarding that needs no lbctl: after it was killed, and from what it exported."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import pytest

from cli.lab.plan import BALANCER, ECHO_PORT, LISTEN, SERVERS
from lb4.address import Endpoint
from tests.lab import Balancer, Lab, addresses, greeting, listen, shares

pytestmark = pytest.mark.root

BOTH = tuple(listen(80, family) for family in ("ip", "ip6"))
FILE = f"""version: 1
listeners:
  echo: {{bind: ["{Endpoint(LISTEN["ip"], 80)}", "{Endpoint(LISTEN["ip6"], 80)}"], service: echo}}
  datagrams: {{bind: ["{Endpoint(LISTEN["ip"], 80)}", "{Endpoint(LISTEN["ip6"], 80)}"], protocol: udp, service: echo}}
services:
  echo: {{backends: [{", ".join(addresses(ECHO_PORT) + addresses(ECHO_PORT, "ip6"))}]}}
"""
CHECKED = FILE.replace("echo: {backends", "echo: {health: {type: tcp, every: 200ms}, backends")


def answers(lab: Lab) -> bool:
    """Whether the listener forwards."""
    with suppress(OSError):
        return lab.who("tcp", BOTH[0])[0] in SERVERS
    return False


def test_killed(lb: Balancer, lab: Lab) -> None:
    process = lb.run(CHECKED)
    control = lb.directory / "run" / "control.sock"
    deadline = time.monotonic() + 60
    while not (control.exists() and answers(lab)) and time.monotonic() < deadline:
        time.sleep(0.02)
    with lab.connect("tcp", BOTH[0]) as sock:
        greeting(sock)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        sock.send(b"still here")
        assert sock.recv(100) == b"still here"
        for address in BOTH:
            assert shares(lab.turns("tcp", address, 6)) == dict.fromkeys(SERVERS, 2)
        # The next start takes over what it finds.
        before = lb.nft("-a", "list", "table", "inet", "lbctl")
        lb.do("apply", path=str(lb.directory / "lb.yaml"))
        assert handles(lb.nft("-a", "list", "table", "inet", "lbctl")) == handles(before)
        sock.send(b"and again")
        assert sock.recv(100) == b"and again"


def handles(listing: str) -> list[str]:
    """The objects of a table, by handle."""
    return [line.rpartition("# handle ")[2] for line in listing.splitlines() if "# handle" in line]


def test_the_nft_script_balances(lb: Balancer, lab: Lab) -> None:
    done = lb.command("export", lb.file(FILE))
    assert done.returncode == 0, done.stderr
    lb.nft("-f", "-", stdin=done.stdout)
    both_protocols(lab)


def test_the_iptables_rules_balance(lb: Balancer, lab: Lab) -> None:
    path = lb.file(FILE)
    for format_, program in (("iptables", "iptables-restore"), ("ip6tables", "ip6tables-restore")):
        done = lb.command("export", "--format", format_, path)
        assert done.returncode == 0, done.stderr
        lab.shell(BALANCER, program, "--noflush", stdin=done.stdout)
    both_protocols(lab)


def both_protocols(lab: Lab) -> None:
    """Turns in each family, for TCP and UDP."""
    for address in BOTH:
        for protocol in ("tcp", "udp"):
            turns = lab.turns(protocol, address, 6)
            assert shares(turns) == dict.fromkeys(SERVERS, 2), (address, protocol, turns)
