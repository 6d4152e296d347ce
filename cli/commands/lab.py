"""`lbctl lab`: the namespaces of the demo, to try things in.

The rule: it makes and removes only what goes by the lab's own prefix.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

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


class Node(click.ParamType[str]):
    """The name of one of the lab's namespaces."""

    name = "node"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """All there are."""
        from cli.lab.plan import NODES

        return [CompletionItem(node) for node in NODES if node.startswith(incomplete)]


@click.group("lab")
def lab() -> None:
    """A client, a balancer and three servers as network namespaces on this host; nothing of the host is touched.

    Servers answer HTTP on 8080 and 8181, TCP and UDP echo on 9000, and say who they are and whom they saw.
    """


@lab.command("up", cls=Command, examples=("sudo lbctl lab up",))
def up() -> None:
    """Build the lab, its servers running. A lab that is there is built anew."""
    require_root("lab up")
    from cli.lab import build, interruption, place, servers

    sample = place.directory(place.LAB) / "lb.yaml"
    # The servers live on: whoever reads this command's streams to their end must not wait for them.
    with interruption.held(), Path(os.devnull).open("wb") as nowhere:
        place.clear(place.LAB)
        try:
            build.up(place.LAB)
            place.prepare(place.LAB)
            sample.write_text(SAMPLE)
            servers.start(place.LAB, log=nowhere)
        except (OSError, servers.ServerFailed) as error:
            build.down(place.LAB)
            place.clear(place.LAB)
            raise OperationError(f"the lab could not be built: {error}") from None
    present(document(sample), text)


@lab.command("down", cls=Command, examples=("sudo lbctl lab down",))
def down() -> None:
    """Take the lab down, with all that runs in it, and what a killed demo left. Nothing there is no error."""
    require_root("lab down")
    from cli.lab import abandoned, build, place

    was = build.is_up(place.LAB)
    build.down(place.LAB)
    place.clear(place.LAB)
    was |= abandoned.remove()
    present({"removed": was}, lambda told: "The lab is down." if told["removed"] else "There was no lab.")


@command(
    "exec",
    "sudo lbctl lab exec client -- curl http://192.0.2.10/",
    "sudo lbctl lab exec balancer -- lbctl status",
)
@click.argument("node", type=Node())
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
    words = list(program[program[0] == "--" :])
    if not words:
        raise OperationError("there is no program to run after --", exit=2)
    if words[0] == "lbctl":
        words[:1] = [sys.executable, "-m", "cli"]
    try:
        place.become(place.LAB, node, words)
    except OSError as error:
        raise OperationError(f"cannot run {words[0]}: {error.strerror}") from None


# What follows NODE is the program's own, its options too, as with `ip netns exec`.
execute.allow_interspersed_args = False
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
