"""`export`: what lbctl would put into the kernel for a file, as a script.

The rule: it works on the file alone. What the format cannot say is an error; what no script can do is a warning.
"""

from __future__ import annotations

from typing import Any

from cli.operations.error import OperationError
from cli.operations.wanted import configured
from cli.state import Remembered
from lb4.address import Family
from lb4.compile.table import CompileError, compile_table
from lb4.export_iptables import ExportError, export_iptables
from lb4.model import KERNEL_MODES, Balancer
from lb4.nft.text import write_table

FAMILY: dict[str, Family] = {"iptables": "ip", "ip6tables": "ip6"}


def export(*, path: str, text: str, format: str = "nft") -> dict[str, Any]:
    """`{"text": …, "warnings": […]}`. Raises OperationError where the format cannot say what the file asks for."""
    balancer = configured(Remembered(text, path)).balancer
    try:
        made = _script(balancer) if format == "nft" else export_iptables(balancer, FAMILY[format])
    except CompileError as error:
        raise OperationError(str(error), exit=2) from None
    except ExportError as error:
        raise OperationError(f"{path} cannot be written for {format}", lines=error.lines) from None
    return {"text": made, "warnings": _missing(balancer)}


def _script(balancer: Balancer) -> str:
    """The table in place of the one that is there: loaded a second time, its rules would else be there twice."""
    table = compile_table(balancer)
    return f"table {table.family} {table.name}\ndelete table {table.family} {table.name}\n\n{write_table(table)}"


def _missing(balancer: Balancer) -> list[str]:
    """What takes a process, and so is in no script."""
    warnings = [
        f"listener {name} has mode {listener.mode}: not in the script"
        for name, listener in sorted(balancer.listeners.items())
        if listener.mode not in KERNEL_MODES
    ]
    for name in sorted({listener.service for listener in balancer.kernel_listeners()}):
        service = balancer.services[name]
        if service.health is not None:
            warnings.append(f"service {name}: health is not checked by a script")
        if service.affinity is not None and any(b.endpoint.family == "ip6" for b in service.backends):
            warnings.append(f"service {name}: nft 1.0.6 (Debian 12) fails to read IPv6 affinity; newer ones may not")
        if service.scheduler.needs_process:
            warnings.append(f"service {name}: {service.scheduler} takes lbctl; the script takes turns")
    return warnings
