"""``watch``: repeats the round of ``drift`` until stopped, with a health endpoint.

A round is left to ``drift``, the endpoint's server to ``health``.
"""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Annotated

from reconciler.apply.results import DriftRound
from reconciler.apply.stop import Stop
from reconciler.cli import drift, flags, health, messages
from reconciler.cli.connect import duration
from reconciler.cli.console import Console
from reconciler.cli.parameters import flag
from reconciler.cli.signals import run_async
from reconciler.clock import CLOCK, Clock
from reconciler.errors import BadInput, ExitCode
from reconciler.notify.courier import Courier
from reconciler.notify.notifications import Letter, Notifications
from reconciler.render.drift_report import headline, metrics
from reconciler.render.message import Deliveries
from reconciler.render.notification import changing, drift_message, drift_parts
from reconciler.values import Struct, field

JITTER = 0.1
"""Share of the interval by which each wait varies, so that many watchers spread out."""
_TEXT = "text/plain; charset=utf-8"
_GAUGES = "text/plain; version=0.0.4; charset=utf-8"


class Watch(Struct):
    """What the health endpoint knows about the rounds."""

    clock: Clock
    every: timedelta
    alive: float
    """When the last round ended, or the process started; monotonic seconds."""
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by a hang-up: the next round begins at once."""
    deliveries: Deliveries = field(default_factory=Deliveries)
    last: DriftRound | None = None

    async def pause(self) -> bool:
        """Wait for the next round; True when a hang-up has ended the wait."""
        seconds = self.every.total_seconds() * random.uniform(1 - JITTER, 1 + JITTER)
        waits = {asyncio.ensure_future(self.clock.sleep(seconds)), asyncio.ensure_future(self.hurry.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        hurried = self.hurry.is_set()
        self.hurry.clear()
        return hurried

    def ended(self, outcome: DriftRound) -> None:
        """Record that a round has ended, whatever its outcome."""
        self.last = outcome
        self.alive = self.clock.monotonic()

    def healthz(self) -> health.Page:
        """200 while the last round ended within twice the interval."""
        age = self.clock.monotonic() - self.alive
        text = headline(self.last) if self.last else "the first round has not ended yet"
        healthy = age <= 2 * self.every.total_seconds()
        return health.Page(200 if healthy else 503, _TEXT, f"last round ended {age:.0f} s ago: {text}\n")

    def gauges(self) -> health.Page:
        """The gauges of the last round."""
        return health.Page(200, _GAUGES, metrics(self.last, self.deliveries) if self.last else "")


@flags.options
def watch(
    paths: flags.Paths,
    *,
    every: Annotated[str, flag(help="Time between rounds, plus or minus a tenth.", metavar="TIME")] = "15m",
    once: Annotated[
        bool, flag("--once", help="Run one round and end with its exit code, for supervisors.")
    ] = False,
    correct: drift.Correct = False,
    health_port: Annotated[
        int | None,
        flag(min=0, max=65535, help="Serve /healthz and /metrics on this port; 0 takes a free one."),
    ] = None,
    health_address: Annotated[
        str, flag(help="Address that the endpoint listens on.", metavar="ADDRESS")
    ] = "127.0.0.1",
    prometheus: drift.Textfile = None,
    webhook: flags.Webhooks = None,
    connection: flags.ConnectionOptions,
    selection: flags.SelectionOptions,
    limits: flags.LimitOptions,
    anonymise: flags.Anonymise = False,
    follow_symlinks: flags.FollowSymlinks = False,
) -> int:
    """Detect drift repeatedly until stopped; notifies webhooks when the outcome changes."""
    console = Console()
    notify = messages.notifier(webhook, prometheus)
    asked = drift.DriftRequest(
        list(paths),
        limits,
        connection,
        correct,
        follow_symlinks=follow_symlinks,
        selection=selection.selection,
        anonymise=anonymise,
        settled=not once,
        notify=notify,
        command="watch",
        gauges=prometheus is not None or health_port is not None,
    )
    interval = duration(every, "--every")
    hurry = asyncio.Event()

    async def work(stop: Stop) -> ExitCode:
        clock = CLOCK.get()
        state = Watch(clock, interval, clock.monotonic(), hurry, notify.deliveries)
        courier = Courier(notify, console.info)
        async with AsyncExitStack() as stack:
            if health_port is not None:
                pages = {"/healthz": state.healthz, "/metrics": state.gauges}
                port = await stack.enter_async_context(health.serving(health_address, health_port, pages))
                console.note(f"Health: http://{_host(health_address)}:{port}/healthz and /metrics")
            await stack.enter_async_context(courier.working())
            try:
                if once:
                    return await _once(asked, console, stop)
                return await _rounds(asked, state, _Listeners(notify, courier, console), stop)
            except asyncio.CancelledError:
                if once or not stop.requested:
                    raise
        console.note("Stopped; no change was in progress.")
        return ExitCode.DONE

    # A terminal that is closed hangs up too, and must not leave a watch behind that nobody sees.
    return int(run_async(work, hung_up=None if once or sys.stdin.isatty() else hurry.set))


class _Listeners(Struct, frozen=True):
    """Who hears of a round."""

    notify: Notifications
    courier: Courier
    console: Console


async def _once(asked: drift.DriftRequest, console: Console, stop: Stop) -> ExitCode:
    """One round, whose webhooks are waited for; raises what is wrong with the input."""
    with console.working("Reading the live pools"):
        outcome = await drift.run_round(asked, console, stop)
    if isinstance(outcome.error, BadInput):
        raise outcome.error
    _show(outcome, None, console)
    await drift.notified(asked, outcome, console, stop)
    return outcome.exit_code


async def _rounds(asked: drift.DriftRequest, state: Watch, listeners: _Listeners, stop: Stop) -> ExitCode:
    """Run rounds until cancelled; returns only when it was asked to stop while changes were in flight.

    Raises ``BadInput`` when the first round finds wrong input; a later round reports it and the loop continues.
    """
    while True:
        with listeners.console.working("Reading the live pools"):
            outcome = await drift.run_round(asked, listeners.console, stop)
        if state.last is None and isinstance(outcome.error, BadInput):
            raise outcome.error
        before = state.last
        state.ended(outcome)
        _show(outcome, before, listeners.console)
        if stop.requested:
            return outcome.exit_code
        listeners.notify.write_gauges(outcome, listeners.console.info)
        compose = drift_message(outcome, messages.source(asked.command, anonymise=asked.anonymise))
        listeners.courier.post(Letter(compose, outcome.started), partial(_news, outcome, before))
        if await state.pause():
            listeners.console.note("Hung up: reading everything again.")
            asked.memory.noted.clear()


def _show(outcome: DriftRound, before: DriftRound | None, console: Console) -> None:
    """Print a round; one that equals the round before takes one line."""
    console.text(f"{outcome.started:%Y-%m-%d %H:%M:%S} UTC  {headline(outcome)}")
    if before is None or _state(outcome) != _state(before) or drift.remediated(outcome):
        drift.show(outcome, flags.Output.TEXT, console)


def _news(outcome: DriftRound, before: DriftRound | None, owner: str) -> bool:
    """Whether to notify: about drift or an error that is new, about its end, or about a remediation."""
    if owner:
        return _own_news(outcome, before, owner)
    if before is None or drift.remediated(outcome) or drift.being_changed(before):
        return drift.noteworthy(outcome)
    if drift.being_changed(outcome):
        return False
    return _state(outcome) != _state(before)


def _own_news(outcome: DriftRound, before: DriftRound | None, owner: str) -> bool:
    """The same, judged by the owner's pools alone; a round that measured none of them is no news of them."""
    if outcome.report is None or changing(outcome, owner):
        return False
    if before is None or before.report is None or changing(before, owner):
        return drift.concerns(outcome, owner)
    return drift_parts(outcome, owner) != drift_parts(before, owner)


def _state(outcome: DriftRound) -> object:
    """What must be equal for two rounds to count as the same."""
    drifting = [(each.pool.label, each.surplus, each.missing, each.differing) for each in outcome.drifting]
    return outcome.exit_code, drifting, [each.id for each in outcome.alarms]


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
