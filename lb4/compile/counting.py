"""What is counted per bind and backend, and which packets belong to lbctl's flows at all.

The rule: a backend is counted as long as it is in the service, whatever the operator or its health says of it, so
that what its live flows still carry is seen.
"""

from __future__ import annotations

from lb4.compile.draft import Draft
from lb4.compile.entrance import Entrance

PAIRS = ("connection", "traffic")


def count_entrance(draft: Draft, entrance: Entrance) -> None:
    """Adds the elements that count an entrance's flows, and those by which its invalid packets are known."""
    protocol = entrance.listener.protocol
    for bind in entrance.binds:
        draft.add_bind("bind", bind, protocol)
        for backend in entrance.backends:
            draft.add_pair(PAIRS, bind, protocol, backend.endpoint)
            draft.add_backend(bind, protocol, backend.endpoint)
