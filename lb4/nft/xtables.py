"""The xtables NFQUEUE target as an nf_tables expression, for kernels without the `queue` expression.

The rule: layout as in linux/netfilter/xt_NFQUEUE.h, struct xt_NFQ_info_v3, padded to eight bytes as the kernel does.
"""

from __future__ import annotations

from struct import Struct

from lb4.nft.expression import Target

REVISION = 3
FLAG_BYPASS = 1
FLAG_CPU_FANOUT = 2
_INFO = Struct("=HHHxx")


def nfqueue(first: int, total: int, bypass: bool) -> Target:
    """Hands packets to total queues from first, spread by CPU where there are several."""
    flags = FLAG_BYPASS * bypass | FLAG_CPU_FANOUT * (total > 1)
    return Target("NFQUEUE", REVISION, _INFO.pack(first, total, flags))
