"""A network namespace without a name: it ends with the object, and nothing else can be in it."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
OWN = "/proc/thread-self/ns/net"


def _checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Namespace:
    def __init__(self) -> None:
        self._home = os.open(OWN, os.O_RDONLY)
        _checked(LIBC.unshare(CLONE_NEWNET))
        self._there = os.open(OWN, os.O_RDONLY)
        _checked(LIBC.setns(self._home, CLONE_NEWNET))

    @contextmanager
    def entered(self) -> Iterator[None]:
        _checked(LIBC.setns(self._there, CLONE_NEWNET))
        try:
            yield
        finally:
            _checked(LIBC.setns(self._home, CLONE_NEWNET))

    def nft(self, *arguments: str, script: str = "") -> str:
        done = subprocess.run(
            ["nft", *arguments],
            input=script,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: _checked(LIBC.setns(self._there, CLONE_NEWNET)),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def close(self) -> None:
        os.close(self._there)
        os.close(self._home)
