"""Giving up root: what a worker does before it touches a byte from outside.

The rule: there is no way back (no_new_privs, empty groups, real, effective and saved ids changed), and a process that
never was root is left as it is.
"""

from __future__ import annotations

import codecs
import ctypes
import os
import pwd

from lb4.worker.early import import_early

PR_SET_NO_NEW_PRIVS = 38
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_VERSION_3 = 0x20080522
CAP_NET_ADMIN = 12
CAP_NET_RAW = 13


class PrivilegeError(Exception):
    """The user is not known, or the kernel did not let go of a right."""


def drop(user: str, keep: tuple[int, ...] = ()) -> None:
    """Becomes `user`, keeping only the capabilities `keep` (linux/capability.h). Raises PrivilegeError."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Python loads this codec when a host is first connected to, maybe from a directory that is root's alone.
    codecs.lookup("idna")
    import_early()
    if os.geteuid() == 0:
        entry = _entry(user)
        libc.prctl(PR_SET_KEEPCAPS, 1 if keep else 0, 0, 0, 0)
        os.setgroups([])
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
        if keep:
            _keep(libc, keep)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise PrivilegeError(f"the kernel refused no_new_privs: {os.strerror(ctypes.get_errno())}")


def _entry(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise PrivilegeError(f"there is no user {user!r} to run the workers as") from None


def _keep(libc: ctypes.CDLL, capabilities: tuple[int, ...]) -> None:
    mask = sum(1 << capability for capability in capabilities)
    header = (ctypes.c_uint32 * 2)(CAP_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(mask, mask, 0, 0, 0, 0)
    if libc.capset(header, data) != 0:
        raise PrivilegeError(f"the kernel refused capabilities: {os.strerror(ctypes.get_errno())}")
