"""Where a lab's own files are, and how a program is run in one of its nodes.

The rule: a lab is its prefix: its directory, its lbctl directories and its resolver go by it as its namespaces do.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from cli.lab import namespaces
from cli.lab.plan import BALANCER, NAME_SERVER

LAB = "lbctl-lab-"
"""The prefix of the lab that `lbctl lab up` makes."""
DIRECTORY = Path("/run")
RESOLVER = Path("/etc/resolv.conf")


def directory(prefix: str) -> Path:
    """The lab's directory: lbctl's run and state directories, resolver and sample configuration."""
    return DIRECTORY / prefix.rstrip("-")


def environment(prefix: str, base: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program in the lab: an lbctl in it has directories of its own."""
    own = directory(prefix)
    return {**base, "LBCTL_RUN_DIR": str(own / "run"), "LBCTL_STATE_DIR": str(own / "state")}


def prepare(prefix: str) -> None:
    """Makes the directory, with a resolver that asks the lab's name server."""
    own = directory(prefix)
    own.mkdir(parents=True, exist_ok=True)
    (own / "resolv.conf").write_text(f"nameserver {NAME_SERVER}\noptions timeout:1 attempts:2\n")
    (own / "scratch").mkdir(exist_ok=True)


def clear(prefix: str) -> None:
    """Removes the directory."""
    shutil.rmtree(directory(prefix), ignore_errors=True)


def become(prefix: str, node: str, command: list[str]) -> None:
    """Turns this process into the command, in the node. Raises FileNotFoundError and other OSErrors; never returns."""
    namespaces.own_mounts()
    resolver = directory(prefix) / "resolv.conf"
    if node == BALANCER and resolver.exists():
        if RESOLVER.exists():
            namespaces.cover(RESOLVER.resolve(), resolver)
        else:
            namespaces.add(RESOLVER, resolver, directory(prefix) / "scratch")
    namespaces.enter(f"{prefix}{node}")
    os.execvpe(command[0], command, environment(prefix, os.environ))
