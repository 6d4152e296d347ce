"""The balancer as the kernel shall hold it: listeners and services in, one ruleset value out.

The rule: compile_table is a function of its arguments and of nothing else, and the order of listeners and services
does not matter. Listeners of modes that a process serves leave nothing here.
"""

from __future__ import annotations

from lb4.compile.base_chains import base_chains
from lb4.compile.counting import count_entrance
from lb4.compile.draft import Draft
from lb4.compile.entrance import CompileError, Entrance, entrances
from lb4.compile.filters import Assistance, filter_chain
from lb4.compile.translation import source_verdict, translation_chain
from lb4.model import Balancer, Listener, Service
from lb4.nft.field import Verdict, VerdictKind
from lb4.nft.ruleset import Table
from lb4.packet.rules import PacketQueues, with_packet_mode

__all__ = ["Assistance", "CompileError", "PacketQueues", "compile_table"]


def compile_table(
    balancer: Balancer, assistance: Assistance | None = None, queues: PacketQueues | None = None
) -> Table:
    """The table for the balancer's `nat`, `gateway` and `packet` listeners; without any, a table with nothing in it.

    assistance: where a hook picks backends for the schedulers that need a process; None: those services are balanced
    round-robin. queues: where packet mode's workers wait; None: its listeners leave nothing here. Raises CompileError
    naming the listener that the kernel cannot forward as it is written.
    """
    draft = Draft()
    for listener in balancer.kernel_listeners():
        _refuse_wildcards(listener)
        _add_listener(draft, listener, balancer.services[listener.service], assistance)
    table = draft.table(base_chains(draft)) if draft.shared else Table()
    return table if queues is None else with_packet_mode(table, balancer, queues)


def _refuse_wildcards(listener: Listener) -> None:
    for bind in listener.binds:
        if bind.is_wildcard:
            raise CompileError(f"listener {listener.name}: {listener.mode} needs an address of its own, not {bind}")


def _add_listener(draft: Draft, listener: Listener, service: Service, assistance: Assistance | None) -> None:
    helped = assistance if service.scheduler.needs_process else None
    chain = filter_chain(draft, listener, service, helped)
    for entrance in entrances(listener, service):
        count_entrance(draft, entrance)
        if chain is not None:
            _add_binds(draft, entrance, "filter", chain)
        if entrance.eligible:
            _add_binds(draft, entrance, "listener", translation_chain(draft, entrance, helped is not None))
            _add_binds(draft, entrance, "source", source_verdict(draft, entrance))
        if helped is not None and entrance.eligible:
            _add_binds(draft, entrance, "queued", None)


def _add_binds(draft: Draft, entrance: Entrance, kind: str, chain: str | None) -> None:
    verdict = None if chain is None else Verdict(VerdictKind.GOTO, chain)
    for bind in entrance.binds:
        draft.add_bind(kind, bind, entrance.listener.protocol, verdict)
