"""Owns where the outcome of a round goes besides the screen: a Prometheus textfile and webhooks.

Neither changes the outcome: what cannot be told is said on stderr, and the run's own exit code stands.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.api.webhook import Webhook, deliver, webhook
from reconciler.cli.drift_report import Outcome, message, metrics
from reconciler.cli.screen import Screen
from reconciler.errors import BadInput, ServiceError
from reconciler.plan_file import NOT_REPLACEABLE, replaceable


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is told."""

    textfile: Path | None
    webhooks: tuple[Webhook, ...]

    async def told(
        self, outcome: Outcome, screen: Screen, only: tuple[Webhook, ...] | None = None
    ) -> tuple[Webhook, ...]:
        """Write the gauges, and tell every webhook, or some, at the same time; never raises for what goes wrong.

        Returns those that did not take it.
        """
        self.gauges(outcome, screen)
        asked = self.webhooks if only is None else only
        took = await asyncio.gather(*(_deliver(each, outcome, screen) for each in asked))
        return tuple(each for each, taken in zip(asked, took, strict=True) if not taken)

    def gauges(self, outcome: Outcome, screen: Screen) -> None:
        """Write the gauges alone."""
        if self.textfile is None:
            return
        try:
            _replace(self.textfile, metrics(outcome))
        except OSError as error:
            screen.say(f"Warning: the gauges could not be written to {self.textfile}: {error.strerror}")


def audience(textfile: Path | None, webhooks: Sequence[str]) -> Audience:
    """Read the flags; raises ``BadInput`` for a place that cannot be written, before anything is done."""
    if textfile is not None:
        try:
            if not replaceable(textfile):
                raise FileExistsError(0, NOT_REPLACEABLE)
            with tempfile.TemporaryFile(dir=textfile.parent):
                pass
        except OSError as error:
            raise BadInput(
                f"--prometheus {textfile} cannot be written: {error.strerror}",
                "name a file in a writable directory; it is written beside and renamed",
            ) from None
    return Audience(textfile, tuple(map(webhook, webhooks)))


async def _deliver(target: Webhook, outcome: Outcome, screen: Screen) -> bool:
    try:
        await deliver(target, message(outcome))
    except ServiceError as error:
        screen.say(f"Warning: {error.message}")
        return False
    return True


def _replace(path: Path, text: str) -> None:
    """Write beside and rename: the collector must never read half a file."""
    # It reads *.prom only, so the temporary name must not end like that; and it is another user.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
