"""What all connections and flows of one terminated listener share: its configuration, who may come in, who chooses.

The rule: the owner changes it in place, and whoever is inside reads it anew each time; who is in stays in.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Iterator

from lb4.admission import Admission
from lb4.ledger import Ledger
from lb4.model import Backend, Service
from lb4.terminate.model import TerminateListener
from lb4.terminate.opening import Opened
from lb4.terminate.tally import Tally

Choose = Callable[[Opened], Iterator[tuple[Service, Backend, Tally]]]
"""The candidates of what was opened, best first, each with its service and what counts it."""

Secure = Callable[[Service, Backend], tuple[ssl.SSLContext, str] | None]
"""The TLS that a backend is spoken to by, and the name it is expected to bear; None for none."""


def in_the_clear(service: Service, backend: Backend) -> None:
    """No backend is spoken to by TLS."""


class Door:
    """One listener's."""

    def __init__(
        self,
        listener: TerminateListener,
        choose: Choose,
        serves: Callable[[Service, Backend], bool],
        ended: Callable[[], object],
        ledger: Ledger | None = None,
    ) -> None:
        """serves: whether a backend that was chosen a while ago may still be gone to.

        ended: called when a connection has ended. ledger: where those that are in are counted.
        """
        self.listener = listener
        self.choose = choose
        self.ended = ended
        self.secure: Secure = in_the_clear
        self.serves = serves
        self.admission = Admission(listener.listener, ledger)
        self.refused: Counter[str] = Counter()

    def change(self, listener: TerminateListener, secure: Secure) -> None:
        """The listener is configured so from now on."""
        self.listener, self.secure = listener, secure
        self.admission = Admission(listener.listener, self.admission.ledger)
