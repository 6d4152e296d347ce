"""What an operation works on: the kernel, its tracked flows, the state directory, the clock.

The rule: an operation reaches the world through its Context alone, so that the process of `lbctl run` and a command
on its own call the same function.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cli.operations.error import OperationError
from cli.state import State

if TYPE_CHECKING:
    from cli.config.model import Configuration
    from lb4.address import Endpoint, IPAddress
    from lb4.compile.filters import Assistance
    from lb4.conntrack.table import Conntrack
    from lb4.flow import Flow
    from lb4.kernel.interface import Kernel
    from lb4.model import Health
    from lb4.packet.rules import Lingering, PacketQueues

CAP_NET_ADMIN = 12
"""linux/capability.h: the bit of CAP_NET_ADMIN."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What one backend carried, as its process counted: open connections now, and since the start all of them."""

    active: int = 0
    total: int = 0
    packets: int = 0
    bytes: int = 0


class Runtime(Protocol):
    """What only the process of `lbctl run` knows. Keys are (service, backend).

    lingering: see cli.operations.lingering.
    """

    lingering: tuple[Lingering, ...]

    def prepare(self, configuration: Configuration) -> None:
        """Opens what the configuration needs, before anything is changed. Raises OperationError where it cannot."""
        ...

    def assistance(self) -> Assistance | None:
        """The queues of the hook that picks backends for the kernel, None while it does not run."""
        ...

    def queues(self) -> PacketQueues | None:
        """The queues of mode `packet`, None while nobody serves them."""
        ...

    def health(self) -> Mapping[tuple[str, Endpoint], Health]:
        """What the checks found; a backend that is not checked has no entry."""
        ...

    def configuration(self) -> Configuration | None:
        """The configuration that was applied last, so that it need not be read again."""
        ...

    def steps(self) -> Mapping[tuple[str, Endpoint], int]:
        """How far the weights of recovering backends have grown: steps of lb4.health.ramp; all others are whole."""
        ...

    def addresses(self) -> Mapping[str, tuple[IPAddress, ...]]:
        """The addresses of the DNS names that backends are given by, as far as they were looked up."""
        ...

    def activity(self) -> Mapping[tuple[str, Endpoint], Activity]:
        """What passed through the modes that need a process."""
        ...

    def refused(self) -> Mapping[str, Mapping[str, int]]:
        """By listener, by reason, packets that workers did not let in."""
        ...

    def packet_queues(self) -> tuple[Mapping[str, int], ...]:
        """What each packet queue holds, dropped and could not do; keys: see lb4.packet.service."""
        ...

    def flows(self) -> tuple[tuple[str, str, Flow], ...]:
        """(listener, service, flow) of the modes that need a process."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """Everything an operation may touch. runtime: the process of `lbctl run` when it is the one that is asked.

    close: gives back the sockets it opened.
    """

    run_dir: Path
    state: State
    kernel: Kernel
    conntrack: Conntrack
    now: Callable[[], float] = time.time
    runtime: Runtime | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    close: Callable[[], None] = lambda: None


def run_directory(environment: Mapping[str, str]) -> Path:
    """Where the control socket is: LBCTL_RUN_DIR, or /run/lbctl."""
    return Path(environment.get("LBCTL_RUN_DIR") or "/run/lbctl")


def state_directory(environment: Mapping[str, str]) -> Path:
    """Where what was applied is remembered: LBCTL_STATE_DIR, or /var/lib/lbctl."""
    return Path(environment.get("LBCTL_STATE_DIR") or "/var/lib/lbctl")


def local_context(environment: Mapping[str, str], runtime: Runtime | None = None) -> Context:
    """The Context of this process in its network namespace. Opens no socket before one is needed."""
    from lb4.conntrack.table import KernelConntrack
    from lb4.kernel.real import RealKernel

    kernel = RealKernel()
    return Context(
        run_dir=run_directory(environment),
        state=State(state_directory(environment)),
        kernel=kernel,
        conntrack=KernelConntrack(),
        runtime=runtime,
        environment=environment,
        close=kernel.close,
    )


@contextmanager
def passing_context(environment: Mapping[str, str]) -> Iterator[Context]:
    """The same for one operation: its socket is closed afterwards."""
    context = local_context(environment)
    try:
        yield context
    finally:
        context.close()


def require_root(name: str) -> None:
    """Raises OperationError (exit 1) where this process may not change the network's configuration."""
    if not may_administer():
        raise OperationError(f"this takes root, or CAP_NET_ADMIN (try: sudo lbctl {name} …)")


def may_administer() -> bool:
    """Whether this process has CAP_NET_ADMIN, which root has everywhere but in some containers."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return os.geteuid() == 0
    effective = next((line for line in status.splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(effective.split()[1], 16) >> CAP_NET_ADMIN & 1)
