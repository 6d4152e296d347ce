"""The process that undoes an apply which nobody confirmed: waits, then asks for the rollback.

The rule: it belongs to nobody (its parent ends at once), is told to stop by SIGTERM, and else does what it is for.
"""

from __future__ import annotations

import os
import sys
import time

from cli.operations import perform
from cli.operations.error import OperationError

ATTEMPTS = 5


def main(seconds: float) -> int:
    """Tells its process id, waits so many seconds, and rolls back. Returns the exit status."""
    if os.fork():
        return 0
    print(os.getpid(), flush=True)
    # Whoever reads the streams of `lbctl apply` to their end must not wait for this process.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    time.sleep(seconds)
    for _ in range(ATTEMPTS):
        try:
            perform("rollback", {"unconfirmed": True})
        except OperationError:
            time.sleep(1)
        else:
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
