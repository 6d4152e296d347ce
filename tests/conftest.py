"""For all tests: what they need is said at once, what the kernel lacks is listed at the end, nothing is left over."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lb4.kernel.interface import KernelError
from lb4.kernel.real import RealKernel

OPTIONAL = ("queue", "flow_offload", "socket", "tproxy")
"""Parts of nf_tables that lbctl uses where they are there."""
NAMESPACES = Path("/run/netns")

settings.register_profile("lbctl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lbctl")


def features() -> frozenset[str]:
    """What this kernel's nf_tables has. Raises KernelError and OSError."""
    with closing(RealKernel()) as kernel:
        return kernel.features()


def needs() -> str:
    """What the tests lack here, in one line, or nothing."""
    if os.geteuid() != 0:
        return "the tests take root: sudo make test"
    try:
        features()
    except (KernelError, OSError) as error:
        return f"the tests take a kernel with nf_tables: {error}"
    return ""


def ours() -> set[str]:
    """The namespaces that this run made and has not removed."""
    names = [entry.name for entry in NAMESPACES.iterdir()] if NAMESPACES.is_dir() else []
    return {name for name in names if f"-{os.getpid()}-" in name}


def pytest_configure(config: pytest.Config) -> None:
    missing = needs()
    if missing:
        pytest.exit(missing, returncode=1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    here = features()
    lacking = [name for name in OPTIONAL if name not in here]
    if lacking:
        terminalreporter.write_line(f"this kernel lacks, and so was not tested: {', '.join(lacking)}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    left = ours()
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\nnamespaces left over by these tests: {', '.join(sorted(left))}")
