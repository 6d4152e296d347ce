"""Kills, races, deadlines: what is in force is always the old or the new, whole."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from cli.operations import perform_here
from cli.operations.context import passing_context
from cli.operations.error import OperationError
from cli.state import State
from lb4.conntrack.table import ConntrackError, KernelConntrack
from lb4.flow import Flow
from lb4.kernel.real import RealKernel
from lb4.nft.diff import Transaction
from tests.operations.balancer import BOTH, WEB, WEB_FIRST, Balancer, asked
from tests.packet.network import SERVERS, Network

pytestmark = pytest.mark.root


class Meddled(RealKernel):
    """The real kernel, with somebody who changes another table between reading and committing, so many times."""

    times = 0
    meddle = staticmethod(lambda: None)

    def commit(self, transaction: Transaction, generation: int) -> None:
        if self.times > 0:
            self.times -= 1
            self.meddle()
        super().commit(transaction, generation)


@pytest.mark.parametrize(("times", "done"), [(3, True), (1000, False)])
def test_another_writer_in_between(lb: Balancer, served: Network, times: int, done: bool) -> None:
    kernel = Meddled()
    kernel.times, kernel.meddle = times, lambda: lb.nft("add", "table", "ip", f"x{time.monotonic_ns()}")
    with served.inside("lb"), passing_context(lb.environment) as context, closing(kernel):
        meddled = replace(context, kernel=kernel)
        arguments = {"path": lb.file(WEB), "text": WEB}
        with nullcontext() if done else pytest.raises(OperationError, match="somebody else"):
            perform_here(meddled, "apply", arguments)
    assert ("table inet lbctl" in lb.tables()) is done
    assert (lb.plan(WEB) == []) is done


def test_two_at_once(lb: Balancer) -> None:
    files = [lb.file(text, f"{number}.yaml") for number, text in enumerate((WEB, BOTH, WEB_FIRST))]
    processes = [lb.start("apply", file) for file in files]
    ends = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ends
    in_force = (Path(lb.environment["LBCTL_STATE_DIR"]) / "applied.yaml").read_text().partition("\n")[2]
    assert lb.plan(in_force) == []


def test_killed_at_any_moment(lb: Balancer) -> None:
    lb.apply(WEB)
    files = {text: lb.file(text, f"{number}.yaml") for number, text in enumerate((WEB, BOTH))}
    rulesets = {}
    for text, file in files.items():
        lb.do("apply", path=file)
        rulesets[text] = lb.ruleset()
    for step in range(12):
        wanted = (WEB, BOTH)[step % 2]
        process = lb.start("apply", files[wanted])
        time.sleep(0.15 + 0.03 * step)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)
        assert comparable(lb.ruleset()) in [comparable(each) for each in rulesets.values()]
        lb.do("apply", path=files[wanted])
        assert lb.plan(wanted) == []
        assert not (Path(lb.environment["LBCTL_STATE_DIR"]) / "next.yaml").exists()


def comparable(ruleset: dict[str, list[dict[str, dict[str, object]]]]) -> list[str]:
    """Without handles, in no order."""
    stripped = [
        {kind: {key: value for key, value in body.items() if key != "handle"} for kind, body in entry.items()}
        for entry in ruleset["nftables"]
        if "metainfo" not in entry
    ]
    return sorted(map(str, stripped))


def test_killed_before_flows_were_ended(lb: Balancer) -> None:
    """The next apply ends them: it knows from the state directory what was being replaced."""
    lb.apply(WEB)
    with lb.connected() as client:
        who = asked(client)
        leaves = WEB_FIRST if who == "server1" else WEB.replace('"10.0.1.2:8080", ', "")
        state = Path(lb.environment["LBCTL_STATE_DIR"])
        lb.do("apply", path=lb.file(leaves))
        old, new = state / "previous.yaml", state / "applied.yaml"
        new.rename(state / "next.yaml")
        old.rename(new)
    with lb.connected() as client:
        asked(client)
        assert lb.apply(leaves)["changes"] == []
    assert lb.do("plan", path=lb.file(leaves))["changes"] == []
    lb.do("rollback")
    assert lb.plan(WEB) == []


def test_unconfirmed_is_undone(lb: Balancer) -> None:
    lb.apply(WEB)
    assert lb.apply(BOTH, confirm=0.5)["confirm"] == 0.5
    with pytest.raises(OperationError, match="waits for confirmation"):
        lb.apply(WEB_FIRST)
    assert until(lambda: lb.plan(WEB) == [])


def test_unconfirmed_first_apply_is_undone_to_nothing(lb: Balancer) -> None:
    lb.apply(WEB, confirm=0.3)
    assert lb.tables()
    assert until(lambda: lb.tables() == [])
    assert lb.do("status")["services"] == []


def test_confirmed_stays(lb: Balancer) -> None:
    lb.apply(WEB)
    lb.apply(BOTH, confirm=1)
    lb.do("confirm")
    with pytest.raises(OperationError, match="nothing waits"):
        lb.do("confirm")
    time.sleep(1.5)
    assert lb.plan(BOTH) == []


def test_rollback_while_waiting(lb: Balancer) -> None:
    lb.apply(WEB)
    lb.apply(BOTH, confirm=30)
    lb.do("rollback")
    assert lb.plan(WEB) == []
    lb.apply(WEB_FIRST)


@pytest.mark.parametrize("before", [(WEB,), (WEB_FIRST, WEB)], ids=["the first", "another before it"])
def test_what_was_in_force_already_stays_though_nobody_confirms(lb: Balancer, before: tuple[str, ...]) -> None:
    for text in before:
        lb.apply(text)
    lb.apply(WEB, confirm=0.3)
    assert until(lambda: not confirmation_of(lb).exists())
    assert lb.plan(WEB) == []


def confirmation_of(lb: Balancer) -> Path:
    return Path(lb.environment["LBCTL_RUN_DIR"]) / "confirm.json"


class Killed(BaseException):
    """As good as SIGKILL: nobody catches it."""


class KilledBeforeTheCommit(RealKernel):
    def commit(self, transaction: Transaction, generation: int) -> None:
        raise Killed


class KilledAfterTheCommit(RealKernel):
    def commit(self, transaction: Transaction, generation: int) -> None:
        super().commit(transaction, generation)
        raise Killed


class KilledState(State):
    """A process that is killed tidies nothing up."""

    def abandon(self) -> None:
        raise Killed


@pytest.mark.parametrize("when", [KilledBeforeTheCommit, KilledAfterTheCommit])
@pytest.mark.parametrize("by_itself", [True, False], ids=["unconfirmed", "rollback"])
def test_going_back_after_an_apply_that_was_killed(
    lb: Balancer, monkeypatch: pytest.MonkeyPatch, when: type[RealKernel], by_itself: bool
) -> None:
    lb.apply(BOTH)
    lb.apply(WEB)
    monkeypatch.setattr("cli.operations.confirmation.cancel", nobody)
    with lb.network.inside("lb"), passing_context(lb.environment) as context, closing(when()) as kernel:
        dying = replace(context, kernel=kernel, state=KilledState(context.state.directory))
        arguments = {"path": lb.file(WEB_FIRST), "text": WEB_FIRST, "confirm": 0.3 if by_itself else None}
        with pytest.raises(Killed):
            perform_here(dying, "apply", arguments)
    if by_itself:
        assert until(lambda: not confirmation_of(lb).exists())
    else:
        lb.do("rollback")
    committed = by_itself or when is KilledAfterTheCommit
    assert lb.plan(WEB if committed else BOTH) == []


def nobody(*_: object) -> None:
    """Does nothing, as a process that was killed."""


class NoFlows(KernelConntrack):
    """nf_conntrack_netlink is missing, or goes away in the middle."""

    def flows(self, translated: bool = True) -> Iterator[Flow]:
        raise ConntrackError("gone")


class NoConntrack(NoFlows):
    def count(self) -> int:
        raise ConntrackError("gone")


@pytest.mark.parametrize(("conntrack", "in_force"), [(NoConntrack, WEB), (NoFlows, BOTH)])
def test_flows_that_cannot_be_ended(lb: Balancer, conntrack: type[KernelConntrack], in_force: str) -> None:
    """Known beforehand, nothing is changed; else what is said to be in force is."""
    lb.apply(WEB)
    with lb.network.inside("lb"), passing_context(lb.environment) as context:
        arguments = {"path": lb.file(BOTH), "text": BOTH}
        with pytest.raises(OperationError, match="gone"):
            perform_here(replace(context, conntrack=conntrack()), "apply", arguments)
    assert (Path(lb.environment["LBCTL_STATE_DIR"]) / "applied.yaml").read_text().endswith(in_force)
    assert lb.plan(in_force) == []


def test_doctor_finds_what_it_can_where_conntrack_tells_nothing(lb: Balancer) -> None:
    lb.apply(WEB)
    with lb.network.inside("lb"), passing_context(lb.environment) as context:
        found = perform_here(replace(context, conntrack=NoConntrack()), "doctor", {})["findings"]
    assert "source ports" in [finding["name"] for finding in found]


def test_a_refused_apply_leaves_no_deadline(lb: Balancer) -> None:
    (lb.directory / "state").mkdir()
    (lb.directory / "state" / ".next.yaml.new").mkdir()
    with pytest.raises(OperationError, match="cannot write"):
        lb.apply(WEB, confirm=30)
    with pytest.raises(OperationError, match="nothing waits"):
        lb.do("confirm")


def until(true: object, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def test_whole_processes(lb: Balancer) -> None:
    file = lb.file(WEB)
    assert lb.run("plan", "--exit-code", file)[0] == 1
    assert lb.run("apply", file)[0] == 0
    assert lb.run("plan", "--exit-code", file)[0] == 0
    assert lb.run("drain", "web", "10.0.9.9")[0] == 1
    status, _, error = lb.run("apply", lb.file("version: 1\nlisteners: {web: {}}\n"))
    assert status == 2
    assert "bind" in error
    assert lb.run("status")[0] == 0
    assert lb.run("flush")[0] == 0


def test_conntrack_table_full(lb: Balancer) -> None:
    """Filled by datagrams to nobody: whatever asks conntrack still answers, and doctor says what is wrong."""
    lb.apply(WEB)
    most = int(Path("/proc/sys/net/netfilter/nf_conntrack_max").read_text())
    with lb.connected() as kept:
        who = asked(kept)
        for start in range(0, most + 1000, 1 << 17):
            fill(lb, min(1 << 17, most + 1000 - start))
        full = [f for f in lb.do("doctor")["findings"] if f["name"] == "conntrack size"]
        assert [f["level"] for f in full] == ["problem"]
        assert len(lb.do("flows")) == 1
        assert lb.do("status")["services"][0]["backends"]
        assert lb.apply(BOTH)["flows"] == {"kept": 1, "ended": 0}
        assert asked(kept) == who


def fill(lb: Balancer, number: int) -> None:
    """So many flows from one port, up to 131,072."""
    with lb.client(socket.SOCK_DGRAM) as sender:
        for each in range(number):
            sender.sendto(b"", (SERVERS[each >> 16], (each & 0xFFFF) or 1))


def test_a_full_disk(lb: Balancer) -> None:
    lb.apply(WEB)
    state = Path(lb.environment["LBCTL_STATE_DIR"])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(state)], check=True)
    try:
        lb.apply(WEB)
        (state / "filler").write_bytes(b"x" * 8192)
        before = lb.ruleset()
        with pytest.raises(OperationError, match=r"No space left.*LBCTL_STATE_DIR"):
            lb.apply(BOTH + "# filled\n" * 2000)
        assert lb.ruleset() == before
        assert lb.plan(WEB) == []
        (state / "filler").unlink()
        lb.apply(BOTH)
        assert lb.plan(BOTH) == []
    finally:
        subprocess.run(["umount", str(state)], check=True)
