<<<<<<< HEAD
"""`lbctl lab`: the namespaces of the demo, to try things in.

The rule: it makes and removes only what goes by the lab's own prefix.
=======
"""`lbctl lab`: the namespaces of the demo, to try things by hand.

The rule: one lab stands under one prefix; what runs in it finds its own state, never the host's.
>>>>>>> 291ccff (lbctl lab: up, down, exec)
"""

from __future__ import annotations

<<<<<<< HEAD
import sys
from pathlib import Path
from typing import Any

import click

from cli.commands.command import Command, command, present
from cli.operations.context import require_root
from cli.operations.error import OperationError

SAMPLE = """\
version: 1

listeners:
  web: {bind: ["192.0.2.10:80", "[2001:db8::10]:80"], service: web}

services:
  web:
    backends:
      - 10.0.1.2:8080
      - 10.0.2.2:8080
      - 10.0.3.2:8080
      - "[2001:db8:1::2]:8080"
      - "[2001:db8:2::2]:8080"
"""
=======
import os
import shutil
import sys

import click

from cli.commands.command import Command, command
from cli.operations.context import require_root
from cli.operations.error import OperationError

PREFIX = "lbctl-"
NODES = ("client", "balancer", "server1", "server2", "server3")
>>>>>>> 291ccff (lbctl lab: up, down, exec)


@click.group("lab")
def lab() -> None:
<<<<<<< HEAD
    """A client, a balancer and three servers as network namespaces on this host; nothing of the host is touched.

    Servers answer HTTP on 8080 and 8181, TCP and UDP echo on 9000, and say who they are and whom they saw.
    """


@lab.command("up", cls=Command, examples=("sudo lbctl lab up",))
def up() -> None:
    """Build the lab, its servers running. A lab that is there is built anew."""
    require_root("lab up")
    from cli.lab import build, place, servers

    place.clear(place.LAB)
    build.up(place.LAB)
    place.prepare(place.LAB)
    sample = place.directory(place.LAB) / "lb.yaml"
    sample.write_text(SAMPLE)
    servers.start(place.LAB)
    present(document(sample), text)


@lab.command("down", cls=Command, examples=("sudo lbctl lab down",))
def down() -> None:
    """Take the lab down, with all that runs in it. One that is not there is no error."""
    require_root("lab down")
    from cli.lab import build, place

    was = build.is_up(place.LAB)
    build.down(place.LAB)
    place.clear(place.LAB)
    present({"removed": was}, lambda told: "The lab is down." if told["removed"] else "There was no lab.")


@command(
    "exec",
    "sudo lbctl lab exec client -- curl http://192.0.2.10/",
    "sudo lbctl lab exec balancer -- lbctl status",
)
@click.argument("node")
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(node: str, program: tuple[str, ...]) -> None:
    """Run PROGRAM in NODE: client, balancer, server1, server2 or server3."""
    require_root("lab exec")
    from cli.lab import build, place
    from cli.lab.plan import NODES

    if node not in NODES:
        raise OperationError(f"the lab has no node {node!r}; it has {', '.join(NODES)}", exit=2)
    if not build.is_up(place.LAB):
        raise OperationError("there is no lab: `lbctl lab up` first")
    words = list(program)
    if words[0] == "lbctl":
        words[:1] = [sys.executable, "-m", "cli"]
    try:
        place.become(place.LAB, node, words)
    except OSError as error:
        raise OperationError(f"cannot run {words[0]}: {error.strerror}") from None


lab.add_command(execute)


def document(sample: Path) -> dict[str, Any]:
    """Who stands where."""
    from cli.lab.plan import NODES, address_of
    from lb4.address import FAMILIES

    nodes = {node: [str(address_of(node, family)) for family in FAMILIES] for node in NODES}
    return {"nodes": nodes, "configuration": str(sample)}


def text(told: dict[str, Any]) -> str:
    """The nodes, and what to try."""
    width = max(map(len, told["nodes"]))
    rows = [f"  {node:{width}}  {'  '.join(addresses)}" for node, addresses in told["nodes"].items()]
    return "\n".join(
        (
            "The lab is up:",
            *rows,
            "",
            "Try:",
            f"  lbctl lab exec balancer -- lbctl apply {told['configuration']}",
            "  lbctl lab exec client -- curl -s http://192.0.2.10/",
            "  lbctl lab exec balancer -- lbctl status",
            "  lbctl lab down",
        )
    )
=======
    """Try lbctl in network namespaces: a client, a balancer and three servers."""


@command("up", "lbctl lab up", "lbctl lab exec client -- curl http://192.0.2.10/")
def up() -> None:
    """Make the namespaces, cables and addresses, and start the servers. What stood there before is taken down first."""
    require_root("lab up")
    from cli.lab import build, servers

    _clear()
    build.up(PREFIX)
    try:
        # Their errors go nowhere: whoever reads this command's streams to their end must not wait for them.
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 -- no file but a device
            servers.start(PREFIX, log=nowhere)
    except servers.ServerFailed as error:
        _clear()
        raise OperationError(str(error)) from None
    click.echo(f"The lab is up: {', '.join(NODES)}. Listen at 192.0.2.10 and 2001:db8::10.")


@command("down", "lbctl lab down")
def down() -> None:
    """Take the lab down with all that runs in it."""
    require_root("lab down")
    _clear()


def _clear() -> None:
    """Takes down what is there, and forgets what its nodes were told."""
    from cli.lab import build

    build.down(PREFIX)
    for node in NODES:
        shutil.rmtree(directory_of(node), ignore_errors=True)


def directory_of(node: str) -> str:
    """Where an lbctl on a node of the lab has its control socket and its state."""
    return f"/run/{PREFIX}{node}"


@command("exec", "lbctl lab exec balancer -- lbctl apply lb.yaml", "lbctl lab exec server1 -- tcpdump -ni eth0")
@click.argument("node", type=click.Choice(NODES))
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND")
def execute(node: str, words: tuple[str, ...]) -> None:
    """Run COMMAND in the namespace of NODE; its exit status is that of COMMAND.

    An lbctl in it has its own LBCTL_RUN_DIR and LBCTL_STATE_DIR, unless they are set.
    """
    require_root("lab exec")
    from cli.lab import build, namespaces

    if not build.is_up(PREFIX):
        raise OperationError("the lab is not up: lbctl lab up")
    environment = environment_of(node)
    program = shutil.which(words[0], path=environment["PATH"])
    if program is None:
        raise OperationError(f"there is no command {words[0]!r}")
    namespaces.enter(f"{PREFIX}{node}")
    os.execve(program, words, environment)


def environment_of(node: str) -> dict[str, str]:
    """The environment of a command in the lab: this very lbctl in PATH, with directories of the node's own."""
    own = {"LBCTL_RUN_DIR": directory_of(node), "LBCTL_STATE_DIR": f"{directory_of(node)}/state"}
    path = f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}"  # noqa: PTH120 -- one of PATH
    return own | dict(os.environ) | {"PATH": path}


for made in (up, down, execute):
    assert isinstance(made, Command)
    lab.add_command(made)
>>>>>>> 291ccff (lbctl lab: up, down, exec)
