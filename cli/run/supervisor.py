"""The supervisor: the one process of `lbctl run` that may change the kernel, and that watches all others.

The rule: it reads no byte that a client or a backend sent. Whatever ends it, the kernel forwards on; whatever ends a
worker, the worker is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cli.config.model import Configuration
from cli.control.server import ControlServer
from cli.operations import with_text
from cli.operations.context import Context
from cli.operations.error import OperationError
from cli.operations.news import TOLD, news_of
from cli.operations.wanted import wanted, weighed
from cli.run.exposition import Exposition, Tally
from cli.run.fleet import Fleet, Prepared
from cli.run.health import Findings, Known, Steps
from cli.run.log import event, remembered
from cli.run.notify import notify, reloading, watchdog_interval
from cli.run.parts import health_part, parts_of
from cli.run.reconciler import Reconciler
from cli.run.runtime import ANSWER_TIMEOUT, LiveRuntime, Statistics
from cli.run.timed_kernel import TimedKernel
from cli.run.workers import Worker
from cli.state import StateError
from lb4.address import AddressError, parse_ip
from lb4.kernel.interface import KernelError
from lb4.model import Balancer, Service
from lb4.worker.messages import AskStatistics, Scraped, ServicesChanged
from lb7.files import Files

DRAIN_SECONDS = 30.0
"""How long connections may go on after SIGTERM."""
RETRY = 1.0
"""Seconds after which a change of health is brought into the kernel again that it refused."""
REPORTING = frozenset({"http", "terminate", "packet", "assist"})
"""The kinds of workers that have statistics."""
CHANGES = frozenset({"apply", "rollback", "drain", "enable", "disable", "weight", "flush"})
"""The operations after which workers must be told anew."""


class Supervisor:
    """One run of `lbctl run FILE`."""

    def __init__(self, path: Path, configuration: Configuration, context: Context) -> None:
        """The configuration decides how many workers there are and whom they run as, for the whole run."""
        self.path = path
        self._first = configuration
        self._loop = asyncio.get_running_loop()
        size = configuration.workers or os.cpu_count() or 1
        self._fleet = Fleet(size, configuration.settings.user, self._heard, configuration.workers or 1)
        self._kernel = TimedKernel(context.kernel)
        self._runtime = LiveRuntime(self._loop, self._fleet, self._statistics, self._kernel)
        self._context = replace(context, runtime=self._runtime, kernel=self._kernel)
        self._control = ControlServer(self._context, self, configuration.settings.group)
        self._tally = Tally()
        self._findings = Findings(self._loop, self._slow_start, self._publish, self._tally.health_changes)
        self._reconciler = Reconciler(self._context, self._control.aside, self._refresh, self._mends)
        self._exposition = Exposition(
            self._context, self._runtime, self._kernel, self._fleet, self._reconciler, self._tally
        )
        self._configuration: Configuration | None = None
        self._files: Files = {}
        self._to_publish: tuple[Known, Steps] | None = None
        self._publishing = False
        self._answers: dict[str, asyncio.Future[Mapping[str, object]]] = {}
        self._ending = asyncio.Event()
        self._reload_wanted = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        """From the first apply to the end of the last worker. Raises OperationError when it cannot start."""
        self._on_signals()
        await self._apply()
        await self._control.start()
        await self._ready_or_ending()
        # Workers answer in order: with this they have taken up what they were told meanwhile, as addresses of names.
        await self._statistics()
        event(logging.INFO, "ready", file=self.path, pid=os.getpid())
        notify(self._context.environment, "READY=1", f"MAINPID={os.getpid()}")
        self._spawn(self._signs_of_life())
        self._spawn(self._reloads())
        self._spawn(self._reconciler.watch())
        self._spawn(self._reconciler.sweep())
        await self._ending.wait()
        notify(self._context.environment, "STOPPING=1")
        event(logging.INFO, "stopping; kernel forwarding goes on", drain=f"{DRAIN_SECONDS:g}s")
        self._reconciler.close()
        await self._control.stop()
        # Workers that drain are told of health until they end.
        await self._fleet.drain(DRAIN_SECONDS)
        for task in self._tasks:
            task.cancel()
        self._control.close()

    async def _ready_or_ending(self) -> None:
        """A worker that never gets ready must not keep SIGTERM from ending all."""
        waits = {self._loop.create_task(wait) for wait in (self._fleet.ready(), self._ending.wait())}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._ending.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload_wanted.set)

    async def _signs_of_life(self) -> None:
        interval = watchdog_interval(self._context.environment)
        while interval is not None:
            notify(self._context.environment, "WATCHDOG=1")
            await asyncio.sleep(interval)

    # ---- configuration

    async def _apply(self) -> None:
        from cli.operations import OPERATIONS

        try:
            arguments = with_text(OPERATIONS["apply"], {"path": str(self.path)})
        except OperationError as error:
            remembered(logging.ERROR, "failed", "unreadable", operation="apply", path=str(self.path), why=str(error))
            raise
        await self._control.perform("apply", arguments)

    async def _reloads(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            notify(self._context.environment, *reloading())
            try:
                await self._apply()
                event(logging.INFO, "reloaded", file=self.path)
            except OperationError as error:
                event(logging.ERROR, "the old configuration stays in force", file=self.path, error=error)
                for line in error.lines:
                    event(logging.ERROR, line)
            notify(self._context.environment, "READY=1")

    def done(self, name: str, arguments: Mapping[str, Any], document: Any) -> None:
        """An operation was carried out, by a signal or by a client of the control socket."""
        self._tally.operations[name, "done"] += 1
        for words, fields in news_of(name, arguments, document) if name in TOLD else ():
            event(logging.INFO, words, **fields)
        if name not in CHANGES:
            return
        self._reconciler.put_right()
        prepared, self._runtime.prepared = self._runtime.prepared, None
        if prepared is not None:
            self._take_over(prepared)
        else:
            self._tell_services()

    def refused(self, name: str) -> None:
        """An operation could not be carried out: what it had opened is closed again."""
        prepared, self._runtime.prepared = self._runtime.prepared, None
        if prepared is not None:
            prepared.discard()
        self._tally.operations[name, "refused"] += 1
        self._tally.reload_failures += name == "apply"

    def _take_over(self, prepared: Prepared) -> None:
        self._configuration = self._runtime.applied = prepared.configuration
        self._files = prepared.files
        self._tally.loaded = self._context.now()
        if self._configuration.needs_kernel:
            self._reconciler.listen()
        self._runtime.publish(*self._findings.keep_only(self._services()))
        parts = parts_of(self._configuration, self._weighed(), prepared.files, self._fleet)
        self._fleet.take_over(prepared, parts)

    def _services(self) -> Mapping[str, Service]:
        if self._configuration is None:
            return {}
        return wanted(self._context, self._configuration.balancer).services

    def _slow_start(self, name: str) -> float:
        service = self._configuration.balancer.services.get(name) if self._configuration is not None else None
        return 0.0 if service is None else service.slow_start

    def _weighed(self) -> Mapping[str, Service]:
        """The same with the weights that count now."""
        return weighed(self._context, Balancer({}, self._services())).services

    def _tell_services(self) -> None:
        if self._configuration is not None:
            services = self._weighed()
            for kind in ("http", "terminate", "packet", "assist"):
                self._fleet.tell(kind, ServicesChanged(services))
            self._fleet.remember(parts_of(self._configuration, services, self._files, self._fleet))

    # ---- what workers say

    def _heard(self, worker: Worker, report: Mapping[str, object]) -> None:
        statistics = report.get("statistics")
        if isinstance(statistics, dict) and worker.name in self._answers:
            answer = self._answers.pop(worker.name)
            if not answer.done():
                answer.set_result(statistics)
        if "failed" in report:
            event(logging.ERROR, "a worker could not take the configuration", worker=worker.name, why=report["failed"])
        looked_up = report.get("addresses")
        if isinstance(looked_up, list) and len(looked_up) == 3:
            self._learned(*looked_up)
        changes = report.get("health")
        if isinstance(changes, list):
            self._findings.found(changes)
        scrape = report.get("scrape")
        if isinstance(scrape, int):
            self._spawn(self._answer_scrape(worker, scrape))

    async def _answer_scrape(self, worker: Worker, scrape: int) -> None:
        worker.tell(Scraped(scrape, await self._control.aside(self.metrics)))

    async def _statistics(self) -> Statistics:
        workers = [worker for kind in self._fleet.workers.values() for worker in kind if worker.kind in REPORTING]
        waited = [self._answers.setdefault(worker.name, self._loop.create_future()) for worker in workers]
        for worker in workers:
            worker.tell(AskStatistics())
        if waited:
            await asyncio.wait(waited, timeout=ANSWER_TIMEOUT / 2)
        return [future.result() for future in waited if future.done() and not future.cancelled()]

    # ---- names

    def _learned(self, name: object, addresses: object, why: object) -> None:
        """A name was looked up: these are its addresses, or why the last known ones stay."""
        if not isinstance(addresses, list):
            return
        with contextlib.suppress(AddressError):
            self._runtime.learn(str(name), tuple(parse_ip(str(each)) for each in addresses))
        level = logging.WARNING if why else logging.INFO
        event(level, "addresses", name=name, now=" ".join(map(str, addresses)) or "none", why=why or "looked up")
        self._tell_services()
        listeners = self._configuration.listeners.values() if self._configuration else ()
        self._fleet.serve("health", health_part(self._services(), listeners) or None)
        self._runtime.publish(*self._findings.keep_only(self._services()))

    # ---- health and the kernel

    def _publish(self, known: Known, steps: Steps) -> None:
        """One change is brought into force after the other; what comes meanwhile is taken together."""
        self._to_publish = known, steps
        if not self._publishing:
            self._publishing = True
            self._spawn(self._publish_all())

    async def _publish_all(self) -> None:
        try:
            while self._to_publish is not None:
                (known, steps), self._to_publish = self._to_publish, None
                begun = self._loop.time()
                done = await self._reprogrammed(known, steps) and self._told()
                self._tally.told.count(self._loop.time() - begun)
                await self._read_ahead()
                if not done:
                    # What came meanwhile is the newer truth; else the same is tried again.
                    await asyncio.sleep(RETRY)
                    self._to_publish = self._to_publish or (known, steps)
        finally:
            self._publishing = False

    def _told(self) -> bool:
        """Tells the workers. Whether it could."""
        try:
            self._tell_services()
        except StateError as error:
            event(logging.ERROR, "the workers were not told of a change of health", error=error)
            return False
        return True

    async def _reprogrammed(self, known: Known, steps: Steps) -> bool:
        """Health is known to all at the moment in which the kernel is told. Whether it was."""
        try:
            publish = lambda: self._runtime.publish(*self._findings.still(known, steps))  # noqa: E731
            await self._control.perform("refresh", {}, first=publish)
        except OperationError as error:
            event(logging.ERROR, "the kernel was not told of a change of health", error=error)
            return False
        return True

    async def _read_ahead(self) -> None:
        """The kernel is read while nobody waits for it, so that the next change finds it known."""
        if self._configuration is not None and self._configuration.needs_kernel:
            with contextlib.suppress(KernelError):
                await self._control.aside(self._kernel.read)

    async def _refresh(self, sweep: bool) -> int:
        document = await self._control.perform("refresh", {"sweep": sweep})
        return int(document["ended"])

    def _mends(self) -> bool:
        return self._configuration is not None and self._configuration.settings.reconcile

    def metrics(self) -> str:
        """What a scrape gets."""
        return self._exposition.text()
