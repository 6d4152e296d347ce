"""The base chains of tables that are not lbctl's: read for `doctor`, never changed.

The rule: nothing but where they hook in and their policy is read; which rules they have is their owner's business.
"""

from __future__ import annotations

from contextlib import suppress
from socket import AF_INET, AF_INET6, AF_UNSPEC

from lb4.doctor.findings import ForeignChain
from lb4.netlink import attributes
from lb4.netlink.socket import DumpInterrupted, NetlinkError, NetlinkSocket, generic

GETCHAIN = 10 << 8 | 4
"""linux/netfilter/nf_tables.h: NFT_MSG_GETCHAIN of subsystem NFNL_SUBSYS_NFTABLES."""

CHAIN_TABLE, CHAIN_NAME, CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE = 1, 3, 4, 5, 7
HOOK_NUM, HOOK_PRIORITY = 1, 2
FAMILIES = {1: "inet", AF_INET: "ip", 3: "arp", 5: "netdev", 7: "bridge", AF_INET6: "ip6"}
TRIES = 20
HOOKS = ("prerouting", "input", "forward", "output", "postrouting", "ingress")


def foreign_chains() -> tuple[ForeignChain, ...]:
    """All base chains but those of tables named lbctl; none where the kernel does not tell."""
    try:
        with NetlinkSocket() as sock:
            found = [_chain(body) for body in _dumped(sock)]
    except NetlinkError:
        return ()
    return tuple(chain for chain in found if chain is not None and chain.table != "lbctl")


def _dumped(sock: NetlinkSocket) -> list[bytes]:
    """All chains; where somebody keeps changing them, none."""
    for _ in range(TRIES):
        with suppress(DumpInterrupted):
            return sock.dump(GETCHAIN, generic(AF_UNSPEC))
    return []


def _chain(body: bytes) -> ForeignChain | None:
    found = attributes.parse(body, 4)
    if CHAIN_HOOK not in found:
        return None
    hook = attributes.parse(found[CHAIN_HOOK])
    number = attributes.number(hook[HOOK_NUM])
    return ForeignChain(
        family=FAMILIES.get(body[0], str(body[0])),
        table=attributes.text_of(found[CHAIN_TABLE]),
        name=attributes.text_of(found[CHAIN_NAME]),
        type=attributes.text_of(found[CHAIN_TYPE]) if CHAIN_TYPE in found else "",
        hook=HOOKS[number] if number < len(HOOKS) else str(number),
        priority=int.from_bytes(hook[HOOK_PRIORITY], "big", signed=True),
        policy="accept" if CHAIN_POLICY not in found or attributes.number(found[CHAIN_POLICY]) else "drop",
    )
