"""sd_notify: telling the service manager how far the service is.

The rule: without NOTIFY_SOCKET nothing happens, and a service manager that does not listen is no error of ours.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping


def notify(environment: Mapping[str, str], *states: str) -> None:
    """Sends lines such as `READY=1` (sd_notify(3)). An abstract socket's name starts with `@`."""
    path = environment.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto("\n".join(states).encode(), address)
        except OSError:
            return


def reloading() -> tuple[str, str]:
    """What a reload says first: systemd wants the monotonic time in microseconds with it (Type=notify-reload)."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"


def watchdog_interval(environment: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life, half of what the service manager allows, or None where it asks for none."""
    usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not usec.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2_000_000
