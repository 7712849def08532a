"""``watch``: rounds of ``drift`` for as long as the process lives, with a health endpoint."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer

from reconciler.apply.context import Stop
from reconciler.apply.results import DriftRound
from reconciler.cli import drift, flags, health
from reconciler.cli.connect import duration
from reconciler.cli.console import Console
from reconciler.cli.signals import run_async
from reconciler.clock import CLOCK, Clock
from reconciler.errors import BadInput, ExitCode
from reconciler.notify.notifications import Notifications, notifications
from reconciler.notify.webhooks import Webhook
from reconciler.render.drift_report import headline, metrics

JITTER = 0.1
"""Share of the interval by which each wait is longer or shorter, so that many watchers spread out."""
_TEXT = "text/plain; charset=utf-8"
_GAUGES = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Watch:
    """What the health endpoint knows of the rounds."""

    clock: Clock
    every: timedelta
    alive: float
    """When the last round ended, or the process started; monotonic seconds."""
    last: DriftRound | None = None

    def ended(self, outcome: DriftRound) -> None:
        """Note that a round is over, whatever came of it."""
        self.last = outcome
        self.alive = self.clock.monotonic()

    def healthz(self) -> health.Page:
        """200 while the last round ended within twice the interval."""
        age = self.clock.monotonic() - self.alive
        told = headline(self.last) if self.last else "the first round has not ended yet"
        healthy = age <= 2 * self.every.total_seconds()
        return health.Page(200 if healthy else 503, _TEXT, f"last round ended {age:.0f} s ago: {told}\n")

    def gauges(self) -> health.Page:
        """The gauges of the last round."""
        return health.Page(200, _GAUGES, metrics(self.last) if self.last else "")


@flags.options
def watch(
    paths: flags.Paths,
    *,
    every: Annotated[str, typer.Option(help="Time between rounds, give or take a tenth.")] = "15m",
    correct: drift.Correct = False,
    health_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve /healthz and /metrics there; 0 takes a free port."),
    ] = None,
    health_address: Annotated[str, typer.Option(help="Address that the endpoint listens on.")] = "127.0.0.1",
    prometheus: drift.Textfile = None,
    webhook: drift.Webhooks = None,
    connection: flags.ConnectionOptions,
    limits: flags.LimitOptions,
) -> int:
    """Look for drift again and again until stopped; notifies webhooks when the outcome changes."""
    console = Console()
    asked = drift.DriftRequest(list(paths), limits, connection, correct)
    notify = notifications(prometheus, webhook or [])
    interval = duration(every, "--every")

    async def work(stop: Stop) -> ExitCode:
        clock = CLOCK.get()
        state = Watch(clock, interval, clock.monotonic())
        async with AsyncExitStack() as stack:
            if health_port is not None:
                pages = {"/healthz": state.healthz, "/metrics": state.gauges}
                port = await stack.enter_async_context(health.serving(health_address, health_port, pages))
                console.say(f"Health: http://{_host(health_address)}:{port}/healthz and /metrics")
            try:
                return await _rounds(asked, state, notify, console, stop)
            except asyncio.CancelledError:
                if not stop.requested:
                    raise
        console.say("Stopped; nothing was being changed.")
        return ExitCode.DONE

    return int(run_async(work))


async def _rounds(
    asked: drift.DriftRequest, state: Watch, notify: Notifications, console: Console, stop: Stop
) -> ExitCode:
    """Look, tell, wait; ends when a stop came while changes were in flight, else only by being cancelled.

    Raises ``BadInput`` when the first round finds its own input wrong; a later one tells it and goes on.
    """
    untold: tuple[Webhook, ...] = ()
    while True:
        outcome = await drift.run_round(asked, console, stop)
        if state.last is None and isinstance(outcome.error, BadInput):
            raise outcome.error
        before = state.last
        state.ended(outcome)
        _show(outcome, before, console)
        if stop.requested:
            return outcome.exit_code
        # What is no news any more is told again to those alone that did not take it.
        untold = await notify.send(outcome, console.say, None if _news(outcome, before) else untold)
        await state.clock.sleep(state.every.total_seconds() * random.uniform(1 - JITTER, 1 + JITTER))


def _show(outcome: DriftRound, before: DriftRound | None, console: Console) -> None:
    """A round that is like the one before takes one line."""
    console.text(f"{outcome.started:%Y-%m-%d %H:%M:%S} UTC  {headline(outcome)}")
    if before is None or _state(outcome) != _state(before) or drift.corrected(outcome):
        drift.show(outcome, flags.Output.TEXT, console)


def _news(outcome: DriftRound, before: DriftRound | None) -> bool:
    """Whether anybody elsewhere should hear of it: drift or trouble that is new, its end, a correction."""
    if before is None or drift.corrected(outcome):
        return drift.noteworthy(outcome)
    return _state(outcome) != _state(before)


def _state(outcome: DriftRound) -> object:
    """What makes two rounds alike."""
    drifting = [(each.pool.label, each.surplus, each.missing, each.differing) for each in outcome.drifting]
    return outcome.exit_code, drifting


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
