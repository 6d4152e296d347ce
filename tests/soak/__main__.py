"""An hour's worth of events in five minutes, under load: `make soak`, or python -m tests.soak [SECONDS].

Memory of each kind of process shall be flat, and no request lost but within a few seconds of an event that announces
it: a server that is taken away, a worker or the supervisor that is killed.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from cli.lab.plan import CLIENT, LISTEN4
from tests.lab import Lab, lab
from tests.run.files import CHECK, ECHO, TERMINATED, WEB, everything
from tests.run.load import Asker, Connections, Load, Requests
from tests.run.running import Run, kill, until
from tests.run.switch import Switch

SECONDS = 300.0
PACE = 1.5
"""Seconds between two events."""
AFTERMATH = 3.0
"""Seconds after an event in which its losses are announced."""
GROWTH_MAX = 0.10
"""How much more memory a kind of process may have in the last third than in the second one."""
NAMED = {"supervisor": "supervisor", "lb7.worker": "http"}
METRICS = f'metrics: {{bind: "{LISTEN4}:9100"}}\nreconcile: true\n'


class Soak:
    """One run, and what was seen of it."""

    def __init__(self, run: Run, made: Lab) -> None:
        self.run, self.lab, self.switch = run, made, Switch(made)
        self.announced: list[tuple[float, float]] = []
        self.events: Counter[str] = Counter()
        self.memory: list[tuple[float, dict[str, int]]] = []
        self.changes = 0

    def text(self) -> str:
        other = f'  other: {{backends: ["10.0.1.2:{7000 + self.changes % 1000}"]}}\n'
        return everything(check=f"{CHECK}, slow_start: 2s") + other + METRICS

    # ---- events that cost nobody a request

    def change(self) -> None:
        self.changes += 1
        self.run.do("apply", path=self.run.file(self.text()))

    def hang_up(self) -> None:
        self.changes += 1
        self.run.reload(self.text())

    def refuse(self) -> None:
        self.run.file("version: 2\n")
        self.run.hang_up()
        time.sleep(0.3)
        self.run.file(self.text())

    def drain(self) -> None:
        service, backend = random.choice((("web", "10.0.1.2:8080"), ("echo", "10.0.2.2:9000")))
        for name in ("drain", "enable"):
            self.run.do(name, service=service, backend=backend)

    def weigh(self) -> None:
        for weight in (5, 1):
            self.run.do("weight", service="echo", backend="10.0.1.2:9000", weight=weight)

    def look(self) -> None:
        for name in ("status", "flows", "doctor"):
            self.run.do(name)
        with self.lab.inside(CLIENT):
            scraping = subprocess.Popen(["curl", "-sS", f"http://{LISTEN4}:9100/metrics"], stdout=subprocess.PIPE)
        out, _ = scraping.communicate(timeout=20)
        assert b"lbctl_info" in out

    def meddle(self) -> None:
        self.run.nft("add", "rule", "inet", "lbctl", "postrouting-nat", "tcp", "dport", "9999", "drop")
        assert until(lambda: "9999" not in self.run.nft("list", "chain", "inet", "lbctl", "postrouting-nat"))

    # ---- events that announce losses

    def _announcing(self, work: Callable[[], object]) -> None:
        begun = time.monotonic()
        work()
        self.announced.append((begun, time.monotonic() + AFTERMATH))

    def lose_server(self) -> None:
        def work() -> None:
            self.switch.off("server3")
            assert until(lambda: self.run.health("echo")["10.0.3.2:9000"] == "down")
            self.switch.on("server3")
            assert until(lambda: self.run.health("echo")["10.0.3.2:9000"] == "up")

        self._announcing(work)

    def lose_worker(self) -> None:
        pids = [pid for each in self.run.workers().values() for pid in each]
        self._announcing(lambda: kill(random.choice(pids)))

    def lose_supervisor(self) -> None:
        def work() -> None:
            self.run.kill_supervisor()
            self.run.start(self.text())

        self._announcing(work)

    # ---- what is seen

    def measure(self) -> None:
        found: dict[str, int] = {"supervisor": resident(self.run.process.pid)}
        for kind, pids in self.run.workers().items():
            found[NAMED.get(kind, kind)] = max(map(resident, pids))
        self.memory.append((time.monotonic(), found))

    def unannounced(self, load: Load) -> Counter[str]:
        return Counter(
            what for at, what in load.lost_at if not any(begin <= at <= end for begin, end in self.announced)
        )


def resident(pid: int) -> int:
    """KiB of memory that a process has for itself."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_", "Swap:")))


def growth(memory: list[tuple[float, dict[str, int]]]) -> dict[str, tuple[float, float]]:
    """By kind, MiB on average in the second third and in the last one."""
    third = len(memory) // 3
    parts = memory[third : 2 * third], memory[2 * third :]
    kinds = sorted({kind for _, found in memory for kind in found})
    return {kind: (mean(parts[0], kind), mean(parts[1], kind)) for kind in kinds}


def mean(part: list[tuple[float, dict[str, int]]], kind: str) -> float:
    values = [found[kind] for _, found in part if found.get(kind)]
    return sum(values) / max(1, len(values)) / 1024


def soak(seconds: float) -> int:
    """Returns the exit status."""
    with lab() as made, tempfile.TemporaryDirectory(prefix="lbctl-soak-") as directory:
        Path(directory).chmod(0o755)
        run = Run(made, Path(directory))
        try:
            return judged(played(Soak(run, made), seconds))
        finally:
            run.close()


def played(it: Soak, seconds: float) -> tuple[Soak, Load]:
    """All of it."""
    run, made = it.run, it.lab
    run.start(it.text())
    askers: list[Asker] = [Requests(made, WEB), Requests(made, WEB, kept=False)]
    askers += [Connections(made, ECHO), Connections(made, TERMINATED)]
    usual = (it.change, it.hang_up, it.refuse, it.weigh, it.look, it.meddle, it.drain)
    rare = (it.lose_server, it.lose_worker)
    begun = time.monotonic()
    with Load(*askers, pause=0.01) as load:
        while time.monotonic() - begun < seconds:
            # Whose memory is compared lives through the last two thirds.
            early = time.monotonic() - begun < seconds / 3
            seldom = (*rare, it.lose_supervisor) if early else rare
            event = random.choice(seldom) if random.random() < 0.2 else random.choice(usual)
            event()
            it.events[event.__name__] += 1
            it.measure()
            time.sleep(PACE)
    print(f"{load.answered} requests answered, {sum(load.lost.values())} lost within what was announced", flush=True)
    return it, load


def judged(seen: tuple[Soak, Load]) -> int:
    """Prints the verdict."""
    it, load = seen
    print("events:", json.dumps(dict(it.events)))
    lost, failed = it.unannounced(load), False
    for what, count in lost.items():
        print(f"LOST {count}: {what}")
        failed = True
    for kind, (before, after) in growth(it.memory).items():
        grown = after / before - 1 if before else 0.0
        bad = grown > GROWTH_MAX
        failed |= bad
        print(f"{'GREW' if bad else 'flat'} {kind:18} {before:6.1f} MiB, then {after:6.1f} MiB ({grown:+.1%})")
    tracebacks = it.run.log().count("Traceback")
    print(f"tracebacks in the log: {tracebacks}")
    return int(failed or tracebacks > 0)


if __name__ == "__main__":
    sys.exit(soak(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
