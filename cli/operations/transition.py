"""Brings a balancer into force in the kernel: one transaction, then the flows and affinities it leaves stale are ended.

The rule: the kernel changes by one commit or not at all; what follows it may be interrupted anywhere and done again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cli.operations.context import Context, may_administer
from cli.operations.error import OperationError
from cli.operations.wanted import weighed
from lb4.compile.names import endpoint_of
from lb4.compile.table import Assistance, CompileError, compile_table
from lb4.conntrack.attribution import Attribution, is_stale
from lb4.conntrack.table import ConntrackError
from lb4.flow import Flow
from lb4.kernel.interface import GenerationMoved, KernelError
from lb4.model import Balancer, Mode
from lb4.nft.diff import Transaction, diff
from lb4.nft.lower import lower_table
from lb4.nft.program import LoweredTable

TRIES = 10
"""How often a plan is made again because somebody else changed the ruleset in between."""


@dataclass(frozen=True, slots=True)
class Flows:
    """How many live flows of ours were left alone, and how many were ended or are to be."""

    kept: int
    ended: int


def table_of(context: Context, balancer: Balancer) -> LoweredTable | None:
    """The table that forwards the balancer's listeners, None where the kernel forwards none. Raises OperationError."""
    hooked = any(each.mode is Mode.PACKET for each in balancer.listeners.values())
    queues = context.runtime.queues() if hooked and context.runtime is not None else None
    if not balancer.kernel_listeners() and queues is None:
        return None
    try:
        table: LoweredTable = lower_table(compile_table(weighed(context, balancer), assistance_of(context), queues))
    except CompileError as error:
        raise OperationError(str(error), exit=2) from None
    return table


def assistance_of(context: Context) -> Assistance | None:
    """Where a hook picks backends, None where none runs."""
    return None if context.runtime is None else context.runtime.assistance()


@dataclass(frozen=True, slots=True)
class Difference:
    """What the kernel has (or had until a commit), and what turns it into what it shall have."""

    actual: LoweredTable | None
    transaction: Transaction


def difference(context: Context, table: LoweredTable | None) -> Difference:
    """Between the kernel as it is now and the table. Raises KernelError."""
    if _is_out_of_reach(table):
        return Difference(None, Transaction())
    actual = context.kernel.read().table
    return Difference(actual, diff(actual, table))


def commit(context: Context, table: LoweredTable | None) -> Difference:
    """Makes the kernel hold the table. Returns what it changed. Raises KernelError and OperationError."""
    if _is_out_of_reach(table):
        return Difference(None, Transaction())
    for _ in range(TRIES):
        snapshot = context.kernel.read()
        transaction = diff(snapshot.table, table)
        try:
            if transaction:
                context.kernel.commit(transaction, snapshot.generation)
        except GenerationMoved:
            continue
        return Difference(snapshot.table, transaction)
    raise OperationError(f"somebody else keeps changing the kernel's ruleset: gave up after {TRIES} attempts")


def _is_out_of_reach(table: LoweredTable | None) -> bool:
    """Whether nothing is wanted of a kernel that this process may not ask: listeners of processes need no root."""
    return table is None and not may_administer()


class Unsettled(OperationError):
    """The kernel has what it was told, but flows and affinities that this leaves stale could not be ended."""


def ask_for_flows(context: Context, balancers: Iterable[Balancer]) -> None:
    """Raises ConntrackError where flows could not be ended after a change: before it, so that nothing is changed."""
    if any(balancer.kernel_listeners() for balancer in balancers):
        context.conntrack.count()


def settle(context: Context, befores: Sequence[Balancer], after: Balancer) -> Flows:
    """Ends the flows and affinities that are stale now that `after` is in force. Raises Unsettled."""
    try:
        forget_affinities(context, after)
        stale, kept = sorted_out(context, befores, after)
        return Flows(kept, context.conntrack.end(stale))
    except (ConntrackError, KernelError) as error:
        raise Unsettled(f"it is in force, but flows that this leaves stale may go on: {error}") from None


def sorted_out(context: Context, befores: Sequence[Balancer], after: Balancer) -> tuple[list[Flow], int]:
    """The live flows that are stale, and how many of ours are not. Conntrack is not asked where none can be ours."""
    if not any(balancer.kernel_listeners() for balancer in (*befores, after)):
        return [], 0
    old, new = [Attribution(before) for before in befores], Attribution(after)
    stale, kept = [], 0
    for flow in context.conntrack.flows():
        if any(is_stale(flow, before, new) for before in old):
            stale.append(flow)
        elif new.owner(flow) is not None:
            kept += 1
    return stale, kept


def forget_affinities(context: Context, after: Balancer) -> None:
    """Clients whose backend takes no new flow any more are let go to another."""
    from lb4.compile.entrance import entrances
    from lb4.compile.translation import affinity_name

    for listener in after.kernel_listeners():
        service = after.services[listener.service]
        for entrance in entrances(listener, service) if service.affinity is not None else ():
            name = affinity_name(entrance)
            eligible = {b.endpoint for b in entrance.eligible}
            live = context.kernel.elements(name)
            gone = [e.low for e in live if e.data is not None and endpoint_of(e.data) not in eligible]
            if gone:
                context.kernel.delete_elements(name, gone)
