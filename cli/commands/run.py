"""`lbctl run`: the long-running side, in the foreground.

The rule: what it is and does belongs to `cli.run`; here it is only called.
"""

from __future__ import annotations

import os
from pathlib import Path

from cli.commands.command import command, file_argument


@command("run", "lbctl run lb.yaml", "systemctl start lbctl")
@file_argument
def run(file: str) -> None:
    """Bring FILE into force and stay: health checks, the modes that need a process, metrics, control socket.

    Reloads on SIGHUP and on `lbctl apply`; SIGTERM lets connections end and leaves the kernel forwarding. Files with
    `http` and `terminate` listeners alone need no root.
    """
    from cli.run.start import run as start

    start(Path(file), dict(os.environ))
