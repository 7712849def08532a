"""``watch``: repeats the round of ``drift`` until stopped, with a health endpoint.

A round is left to ``drift``, the endpoint's server to ``health``.
"""

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
"""Share of the interval by which each wait varies, so that many watchers spread out."""
_TEXT = "text/plain; charset=utf-8"
_GAUGES = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Watch:
    """What the health endpoint knows about the rounds."""

    clock: Clock
    every: timedelta
    alive: float
    """When the last round ended, or the process started; monotonic seconds."""
    last: DriftRound | None = None

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
        return health.Page(200, _GAUGES, metrics(self.last) if self.last else "")


@flags.options
def watch(
    paths: flags.Paths,
    *,
    every: Annotated[str, typer.Option(help="Time between rounds, plus or minus a tenth.")] = "15m",
    correct: drift.Correct = False,
    health_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve /healthz and /metrics on this port; 0 takes a free one."),
    ] = None,
    health_address: Annotated[str, typer.Option(help="Address that the endpoint listens on.")] = "127.0.0.1",
    prometheus: drift.Textfile = None,
    webhook: drift.Webhooks = None,
    connection: flags.ConnectionOptions,
    limits: flags.LimitOptions,
    follow_symlinks: flags.FollowSymlinks = False,
) -> int:
    """Detect drift repeatedly until stopped; notifies webhooks when the outcome changes."""
    console = Console()
    asked = drift.DriftRequest(
        list(paths), limits, connection, correct, follow_symlinks=follow_symlinks, settled=True
    )
    notify = notifications(prometheus, webhook or [])
    interval = duration(every, "--every")

    async def work(stop: Stop) -> ExitCode:
        clock = CLOCK.get()
        state = Watch(clock, interval, clock.monotonic())
        async with AsyncExitStack() as stack:
            if health_port is not None:
                pages = {"/healthz": state.healthz, "/metrics": state.gauges}
                port = await stack.enter_async_context(health.serving(health_address, health_port, pages))
                console.info(f"Health: http://{_host(health_address)}:{port}/healthz and /metrics")
            try:
                return await _rounds(asked, state, notify, console, stop)
            except asyncio.CancelledError:
                if not stop.requested:
                    raise
        console.info("Stopped; no change was in progress.")
        return ExitCode.DONE

    return int(run_async(work))


async def _rounds(
    asked: drift.DriftRequest, state: Watch, notify: Notifications, console: Console, stop: Stop
) -> ExitCode:
    """Run rounds until cancelled; returns only when it was asked to stop while changes were in flight.

    Raises ``BadInput`` when the first round finds wrong input; a later round reports it and the loop continues.
    """
    undelivered: tuple[Webhook, ...] = ()
    while True:
        outcome = await drift.run_round(asked, console, stop)
        if state.last is None and isinstance(outcome.error, BadInput):
            raise outcome.error
        before = state.last
        state.ended(outcome)
        _show(outcome, before, console)
        if stop.requested:
            return outcome.exit_code
        # Without news, only the webhooks whose last delivery failed are notified again.
        undelivered = await notify.send(
            outcome, console.info, None if _news(outcome, before) else undelivered
        )
        await state.clock.sleep(state.every.total_seconds() * random.uniform(1 - JITTER, 1 + JITTER))


def _show(outcome: DriftRound, before: DriftRound | None, console: Console) -> None:
    """Print a round; one that equals the round before takes one line."""
    console.text(f"{outcome.started:%Y-%m-%d %H:%M:%S} UTC  {headline(outcome)}")
    if before is None or _state(outcome) != _state(before) or drift.remediated(outcome):
        drift.show(outcome, flags.Output.TEXT, console)


def _news(outcome: DriftRound, before: DriftRound | None) -> bool:
    """Whether to notify: about drift or an error that is new, about its end, or about a remediation."""
    if before is None or drift.remediated(outcome) or drift.being_changed(before):
        return drift.noteworthy(outcome)
    if drift.being_changed(outcome):
        return False
    return _state(outcome) != _state(before)


def _state(outcome: DriftRound) -> object:
    """What must be equal for two rounds to count as the same."""
    drifting = [(each.pool.label, each.surplus, each.missing, each.differing) for each in outcome.drifting]
    return outcome.exit_code, drifting, [each.id for each in outcome.alarms]


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
