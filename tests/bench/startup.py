"""How long a person waits: whole processes of short commands, and of `check` with ten thousand listeners.

`python -m tests.bench.startup` prints a Markdown table. Each figure is the best and the median of several runs.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

EXAMPLE = Path(__file__).parents[1] / "unit" / "config_cases" / "example.yaml"
RUNS = 9
BACKENDS = 3


def many(count: int) -> str:
    """A file of so many listeners, each with a service of three backends."""
    return "\n".join(["version: 1", "listeners:", *_listeners(count), "services:", *_services(count), ""])


def _listeners(count: int) -> Iterator[str]:
    for n in range(count):
        yield f"  l{n}:\n    bind: 10.1.{n // 256 % 256}.{n % 256}:80\n    service: s{n}"


def _services(count: int) -> Iterator[str]:
    for n in range(count):
        backends = "\n".join(f"      - 10.{100 + b}.{n // 256 % 256}.{n % 256}:8080" for b in range(BACKENDS))
        yield f"  s{n}:\n    backends:\n{backends}"


def seconds(arguments: list[str]) -> list[float]:
    """How long each of the runs took, after one that is not counted."""
    return [_timed(arguments) for _ in range(RUNS + 1)][1:]


def _timed(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([Path(sys.executable).with_name("lbctl"), *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Measures and prints the table."""
    with tempfile.TemporaryDirectory() as directory:
        large = Path(directory) / "large.yaml"
        large.write_text(many(10_000))
        rows = [
            ("`lbctl --help`", ["--help"], "0.25 s"),
            ("`lbctl check`, a small file", ["check", str(EXAMPLE)], "0.25 s"),
            ("`lbctl check`, 10,000 listeners with 3 backends each", ["check", str(large)], ""),
        ]
        print("| whole process | best | median | aim |\n|---|---|---|---|")
        for name, arguments, aim in rows:
            found = seconds(arguments)
            print(f"| {name} | {min(found):.3f} s | {statistics.median(found):.3f} s | {aim} |")


if __name__ == "__main__":
    main()
