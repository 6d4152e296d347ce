"""What checks find, end to end: in the status, in the kernel, in the log, in the events."""

from __future__ import annotations

import re
import time

import pytest

from cli.lab.plan import LISTEN4
from lb4.kernel.real import RealKernel
from tests.lab import Lab
from tests.run.files import ECHO, backends, nat
from tests.run.running import Run, until
from tests.run.switch import REFUSING, Switch

pytestmark = pytest.mark.root

QUICK = "health: {type: tcp, every: 100ms, timeout: 200ms, rise: 1, fall: 1, jitter: 0}"
TARGET = (LISTEN4, ECHO)


def served_by(lab: Lab, times: int = 12) -> set[str]:
    return {turn(lab) for _ in range(times)}


def test_down_and_up_again(run: Run, lab: Lab, switch: Switch) -> None:
    run.start(nat(more=QUICK))
    assert until(lambda: set(run.health("echo").values()) == {"up"})
    switch.off("server3")
    assert run.says(r"warning health service=echo backend=10\.0\.3\.2:9000 now=down why=\"connection refused\"")
    assert until(lambda: served_by(lab) == {"server1", "server2"})
    switch.on("server3")
    assert run.says(
        r"info health service=echo backend=10\.0\.3\.2:9000 now=up why=answers\n(.*\n)*.*now=up why=answers"
    )
    assert until(lambda: served_by(lab) == {"server1", "server2", "server3"})
    shown = run.command("events").stdout
    assert re.search(r"health +echo 10\.0\.3\.2:9000 is down: connection refused\n", shown), shown
    assert re.search(r"health +echo 10\.0\.3\.2:9000 is up: answers\n", shown), shown


def test_a_backup_serves_when_no_other_is_up(run: Run, lab: Lab, switch: Switch) -> None:
    spare = '{address: "10.0.3.2:9000", backup: true}'
    run.start(nat(more=QUICK).replace(backends(9000), f"{backends(9000, 2)}, {spare}"))
    assert until(lambda: set(run.health("echo").values()) == {"up"})
    assert served_by(lab) == {"server1", "server2"}
    switch.off("server1")
    assert until(lambda: served_by(lab) == {"server2"})
    switch.off("server2")
    assert until(lambda: served_by(lab) == {"server3"})
    switch.on("server1")
    assert until(lambda: served_by(lab) == {"server1"})


def test_a_panic_uses_all(run: Run, lab: Lab, switch: Switch) -> None:
    run.start(nat(more=f"{QUICK}, panic_threshold: 0.5"))
    assert until(lambda: set(run.health("echo").values()) == {"up"})
    switch.off("server1")
    assert until(lambda: list(run.health("echo").values()).count("down") == 1)
    assert until(lambda: served_by(lab) == {"server2", "server3"})
    lab.shell("server2", "nft", "-f", "-", stdin=REFUSING.replace("tcp dport 9000", "tcp dport 9000 ip saddr 10.0.2.1"))
    switch.refusing.add("server2")
    assert until(lambda: list(run.health("echo").values()).count("down") == 2)
    # Two of three are down: health counts no more, and the turns go round all three.
    listing = run.nft("list", "table", "inet", "lbctl")
    assert "10.0.1.2" in listing
    assert until(lambda: refused_turns(lab) == {"refused", "server3"})


def refused_turns(lab: Lab) -> set[str]:
    return {turn(lab) for _ in range(9)}


def test_none_left_is_refused(run: Run, lab: Lab, switch: Switch) -> None:
    run.start(nat(more=QUICK))
    switch.off("server1", "server2", "server3")
    assert until(lambda: set(run.health("echo").values()) == {"down"})
    assert until(lambda: refused_turns(lab) == {"refused"})


def test_a_slow_start_grows(run: Run, lab: Lab, switch: Switch) -> None:
    """The weight of a backend that came back grows in steps; that of one that was up at the start is whole."""
    run.start(nat(count=2, more=f"{QUICK}, slow_start: 4s"))
    assert until(lambda: set(run.health("echo").values()) == {"up"})
    assert share(lab) == 5
    switch.off("server2")
    assert until(lambda: served_by(lab) == {"server1"})
    switch.on("server2")
    seen = []
    assert until(lambda: seen.append(share(lab)) or (len(seen) > 3 and seen[-1] == 5)), seen
    rising = [each for each in seen if each]
    assert rising[0] <= 2, seen
    assert {3, 4} & set(rising), seen
    (service,) = run.do("status")["services"]
    assert [b["weight"] for b in service["backends"]] == [1, 1]


def share(lab: Lab) -> int:
    """How many of ten turns server2 has."""
    time.sleep(0.1)
    return [turn(lab) for _ in range(10)].count("server2")


def turn(lab: Lab) -> str:
    try:
        return lab.who("tcp", TARGET)[0]
    except ConnectionRefusedError:
        return "refused"


def test_a_flapping_backend_changes_the_kernel_once_a_second(run: Run, lab: Lab, switch: Switch) -> None:
    run.start(nat(more=QUICK.replace("100ms", "50ms")))
    assert until(lambda: set(run.health("echo").values()) == {"up"})
    before, begun = generation(run), time.monotonic()
    for _ in range(8):
        switch.off("server3")
        time.sleep(0.2)
        switch.on("server3")
        time.sleep(0.2)
    found = run.log().count("backend=10.0.3.2:9000 now=down")
    changes, took = generation(run) - before, time.monotonic() - begun
    assert found >= 5
    assert 1 <= changes <= took + 1


def generation(run: Run) -> int:
    """How many transactions the kernel has had."""
    with run.lab.inside("balancer"), RealKernel() as kernel:
        return kernel.read().generation
