"""`lbctl replay`: a recorded capture, as packet mode would have translated it.

The rule: pure: no kernel, no root; the same capture gives the same bytes each time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.commands.command import DEFAULT_FILE, command, present
from cli.operations.error import OperationError
from cli.output import coloured, counted, table

COLUMNS = ("#", "PROTOCOL", "SOURCE", "DESTINATION", "VERDICT", "NEW SOURCE", "NEW DESTINATION", "BYTES")


@command(
    "replay", "lbctl replay web.pcap --config lb.yaml", "lbctl replay web.pcap --config lb.yaml --write out.pcapng"
)
@click.argument("capture", type=click.Path(dir_okay=False))
@click.option("--config", type=click.Path(dir_okay=False), default=DEFAULT_FILE, help="The configuration file.")
@click.option("--write", "out", type=click.Path(dir_okay=False), help="Where to. Default: CAPTURE with .out.pcapng.")
def replay(capture: str, config: str, out: str | None) -> None:
    """Run the packets of CAPTURE (pcap or pcapng) through packet mode: print what would have come out, and write it.

    Listeners of modes nat and gateway are taken as if their mode were packet.
    """
    from cli.trace.captured import CaptureError, captured
    from cli.trace.pcapng import PcapngWriter
    from cli.trace.replay import as_packet_mode
    from cli.trace.replay import replay as run
    from lb4.packet.host import routes_of

    balancer = as_packet_mode(_configured(config))
    target = Path(out) if out else Path(capture).with_suffix(".out.pcapng")
    try:
        found = list(run(balancer, routes_of(balancer), captured(_read(capture))))
        with target.open("wb") as file:
            writer = PcapngWriter(file)
            for each in found:
                if each.out is not None:
                    writer.write(each.time, "replay", each.out, each.verdict)
    except CaptureError as error:
        raise OperationError(f"cannot replay {capture}: {error}", exit=2) from None
    except OSError as error:
        raise OperationError(f"cannot write {target}: {error.strerror}") from None
    rows = [_row(number, each) for number, each in enumerate(found, 1)]
    present({"packets": rows, "written": str(target)}, text)


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise OperationError(f"cannot read {path}: {error.strerror}", exit=2) from None


def _configured(path: str) -> Any:
    from cli.config.loader import load
    from cli.config.reading import given_text

    return load(given_text(path), path).balancer


def _row(number: int, each: Any) -> dict[str, Any]:
    from cli.trace.replay import ends

    protocol, source, destination = ends(each.data)
    _, new_source, new_destination = ends(each.out) if each.out is not None else ("", None, None)
    return {
        "number": number,
        "time": each.time,
        "protocol": protocol,
        "source": source,
        "destination": destination,
        "verdict": each.verdict,
        "new_source": new_source,
        "new_destination": new_destination,
        "bytes": len(each.data),
    }


def text(document: dict[str, Any]) -> str:
    """The table and where the packets were written."""
    names = ("number", "protocol", "source", "destination", "verdict", "new_source", "new_destination", "bytes")
    rows = [[_cell(name, row[name]) for name in names] for row in document["packets"]]
    body = table(COLUMNS, rows, ("#", "BYTES"))
    return f"{body}\n{counted(len(rows), 'packet')}; what came out is in {document['written']}"


def _cell(name: str, value: Any) -> str:
    return coloured(str(value)) if name == "verdict" else str(value if value is not None else "-")
