"""What `plan` and `apply` warn of: things that are not wrong in the file, but keep it from doing what it says.

The rule: a warning stops nothing, and says what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cli.operations.context import Context
from lb4.model import KERNEL_MODES, Listener, Mode, Service

if TYPE_CHECKING:
    from cli.config.model import Configuration

FORWARDING = {
    "ip": ("IPv4", Path("/proc/sys/net/ipv4/ip_forward"), "net.ipv4.ip_forward"),
    "ip6": ("IPv6", Path("/proc/sys/net/ipv6/conf/all/forwarding"), "net.ipv6.conf.all.forwarding"),
}


def warnings_of(context: Context, configuration: Configuration) -> list[str]:
    """The warnings of a configuration on this host."""
    return [
        *configuration.warnings,
        *(line for family in configuration.balancer.routed_families() for line in _forwarding(family)),
        *(_needs_run(configuration) if context.runtime is None else ()),
    ]


def _forwarding(family: str) -> Iterator[str]:
    name, path, key = FORWARDING[family]
    try:
        off = path.read_text().strip() == "0"
    except OSError:
        return
    if off:
        yield f"{name} forwarding is off, so nothing reaches the backends: sysctl -w {key}=1 (or lbctl doctor --fix)"


def _needs_run(configuration: Configuration) -> Iterator[str]:
    """One line for each reason why listeners need `lbctl run`, while none runs."""
    reasons: dict[str, list[str]] = {}
    for name in sorted(configuration.listeners):
        reason = reason_for_run(configuration.listeners[name], configuration.services)
        if reason:
            reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        plural, verb = ("s", "need") if len(names) > 1 else ("", "needs")
        yield f"listener{plural} {shown} {verb} `lbctl run`, and none is running: {reason}"


def reason_for_run(listener: Listener, services: object) -> str:
    """Why the listener needs a process of lbctl; empty where it needs none."""
    if listener.mode not in KERNEL_MODES:
        what = {Mode.PACKET: "every packet goes through it", Mode.TERMINATE: "it holds the connections"}
        return f"mode {listener.mode} is served by it: {what.get(listener.mode, 'it reads the requests')}"
    service = services[listener.service] if isinstance(services, dict) else None
    return _reason_of_service(service) if isinstance(service, Service) else ""


def _reason_of_service(service: Service) -> str:
    if service.scheduler.needs_process:
        return f"until then {service.scheduler} is round-robin"
    return "until then no health is checked" if service.health is not None else ""
