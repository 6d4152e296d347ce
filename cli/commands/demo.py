"""`lbctl demo`: the article's scenes, played with real clients and servers.

The rule: exit status 0 only if every claim of every scene was observed.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from http.client import HTTPException
from importlib import import_module
from json import JSONDecodeError
from subprocess import CalledProcessError, TimeoutExpired

import click

from cli.commands.command import command, wants_json
from cli.demo.scene import Claim, Figure, Report, document
from cli.operations.context import require_root
from cli.operations.error import OperationError

SCENES = ("nat", "keepalive", "http")


@command("demo", "sudo lbctl demo", "sudo lbctl demo nat")
@click.argument("scene", required=False, type=click.Choice(SCENES))
def demo(scene: str | None) -> None:
    """Play the article's scenes in a lab of network namespaces: nat (both addresses of every packet rewritten),
    keepalive (one busy client at layer 4 and at layer 7), http (401, Pong, 404, requests in turn). Without SCENE: all.

    Exit status: 0 when every claim was observed, else 1. The lab is taken down either way.
    """
    require_root("demo")
    signal.signal(signal.SIGTERM, _end)
    reports = [_play(name) for name in ((scene,) if scene else SCENES)]
    if wants_json():
        import json

        click.echo(json.dumps(document(reports), indent=2, ensure_ascii=False))
    else:
        click.echo(closing(reports))
    if not all(report.observed for report in reports):
        click.get_current_context().exit(1)


def _end(number: int, _: object) -> None:
    """Ends as an exception does, so that the lab is taken down."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


def _play(name: str) -> Report:
    from cli.demo.stage import Stage, stage
    from cli.lab.servers import ServerFailed

    scene = import_module(f"cli.demo.{name}")
    play: Callable[[Stage, Report], None] = scene.play
    say: Callable[[str], None] = (lambda _: None) if wants_json() else click.echo
    report = Report(name, lambda told: say(latest(told)))
    say(click.style(scene.TITLE, bold=True))
    try:
        with stage(name) as made:
            play(made, report)
    except CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise OperationError(f"the scene {name} could not be played: {said or error}") from None
    except (OSError, HTTPException, ServerFailed, TimeoutExpired, JSONDecodeError) as error:
        raise OperationError(f"the scene {name} could not be played: {error}") from None
    say("")
    return report


def latest(report: Report) -> str:
    """What the scene said last, for people: figures stand apart, claims together."""
    *before, part = report.parts
    lines = figure_lines(part) if isinstance(part, Figure) else [claim_line(part)]
    apart = isinstance(part, Figure) or not before or isinstance(before[-1], Figure)
    return "\n".join(["", *lines] if apart else lines)


def claim_line(claim: Claim) -> str:
    """A mark, the sentence, and what was seen."""
    mark = click.style("✓", fg="green") if claim.observed else click.style("✗", fg="red", bold=True)
    detail = click.style(f"  {claim.detail}", dim=True) if claim.detail else ""
    return f"  {mark} {claim.text}{detail}"


def figure_lines(figure: Figure) -> list[str]:
    """The title, the columns and the rows, aligned."""
    rows = [figure.columns, *figure.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(figure.columns))]
    written = ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [click.style(f"  {figure.title}", bold=True), click.style(written[0], dim=True), *written[1:]]


def closing(reports: list[Report]) -> str:
    """How many claims were observed."""
    claims = [claim for report in reports for claim in report.claims]
    seen = sum(claim.observed for claim in claims)
    words = f"{seen} of {len(claims)} claims observed."
    return click.style(words, fg="green" if seen == len(claims) else "red", bold=True)
