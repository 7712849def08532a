"""Owns ``watch``: rounds of ``drift`` for as long as the process lives, with a health endpoint."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import typer

from reconciler.api.webhook import Webhook
from reconciler.apply.context import Stop
from reconciler.cli import drifting, flags, health
from reconciler.cli.connect import Place, duration
from reconciler.cli.drift_report import Outcome, headline, metrics
from reconciler.cli.running import run_story
from reconciler.cli.screen import Screen
from reconciler.cli.telling import Audience, audience
from reconciler.clock import Clock, SystemClock
from reconciler.errors import BadInput, ExitCode

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
    last: Outcome | None = None

    def ended(self, outcome: Outcome) -> None:
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


def watch(
    paths: flags.Paths,
    every: Annotated[str, typer.Option(help="Time between rounds, give or take a tenth.")] = "15m",
    correct_it: drifting.Correct = False,
    health_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve /healthz and /metrics there; 0 takes a free port."),
    ] = None,
    health_address: Annotated[str, typer.Option(help="Address that the endpoint listens on.")] = "127.0.0.1",
    prometheus: drifting.Textfile = None,
    webhook: drifting.Webhooks = None,
    endpoint: flags.Endpoint = None,
    sandbox: flags.Sandbox = False,
    no_color: flags.NoColor = False,
    journal_url: flags.JournalUrl = None,
    limit_disks: flags.LimitDisks = None,
    limit_copies: flags.LimitCopies = None,
    limit_pools: flags.LimitPools = None,
    limit_gigabytes: flags.LimitGigabytes = None,
    limit_users: flags.LimitUsers = None,
) -> int:
    """Look for drift again and again until stopped; tells webhooks when the outcome changes."""
    screen = Screen(False if no_color else None)
    limits = flags.limits(limit_disks, limit_copies, limit_pools, limit_gigabytes, limit_users)
    asked = drifting.Round(list(paths), limits, Place(endpoint, sandbox, journal_url), correct_it)
    told = audience(prometheus, webhook or [])
    interval = duration(every, "--every")

    async def story(stop: Stop) -> ExitCode:
        clock = SystemClock()
        state = Watch(clock, interval, clock.monotonic())
        async with AsyncExitStack() as stack:
            if health_port is not None:
                pages = {"/healthz": state.healthz, "/metrics": state.gauges}
                port = await stack.enter_async_context(health.serving(health_address, health_port, pages))
                screen.say(f"Health: http://{_host(health_address)}:{port}/healthz and /metrics")
            try:
                return await _rounds(asked, state, told, screen, stop)
            except asyncio.CancelledError:
                if not stop.requested:
                    raise
        screen.say("Stopped; nothing was being changed.")
        return ExitCode.DONE

    return int(run_story(story))


async def _rounds(
    asked: drifting.Round, state: Watch, told: Audience, screen: Screen, stop: Stop
) -> ExitCode:
    """Look, tell, wait; ends when a stop came while changes were in flight, else only by being cancelled.

    Raises ``BadInput`` when the first round finds its own input wrong; a later one tells it and goes on.
    """
    untold: tuple[Webhook, ...] = ()
    while True:
        outcome = await drifting.go(asked, screen, stop)
        if state.last is None and isinstance(outcome.error, BadInput):
            raise outcome.error
        before = state.last
        state.ended(outcome)
        _show(outcome, before, screen)
        if stop.requested:
            return outcome.exit_code
        # What is no news any more is told again to those alone that did not take it.
        untold = await told.told(outcome, screen, None if _news(outcome, before) else untold)
        await state.clock.sleep(state.every.total_seconds() * random.uniform(1 - JITTER, 1 + JITTER))


def _show(outcome: Outcome, before: Outcome | None, screen: Screen) -> None:
    """A round that is like the one before takes one line."""
    screen.text(f"{outcome.started:%Y-%m-%d %H:%M:%S} UTC  {headline(outcome)}")
    if before is None or _state(outcome) != _state(before) or drifting.corrected(outcome):
        drifting.show(outcome, flags.Output.TEXT, screen)


def _news(outcome: Outcome, before: Outcome | None) -> bool:
    """Whether anybody elsewhere should hear of it: drift or trouble that is new, its end, a correction."""
    if before is None or drifting.corrected(outcome):
        return drifting.noteworthy(outcome)
    return _state(outcome) != _state(before)


def _state(outcome: Outcome) -> object:
    """What makes two rounds alike."""
    drift = [(each.pool.label, each.surplus, each.missing, each.differing) for each in outcome.drifting]
    return outcome.exit_code, drift


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
