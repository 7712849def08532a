"""Where the outcome of a round goes beyond the console: a Prometheus textfile and webhooks.

Neither changes the outcome: a failed delivery is a warning on stderr, and the run's own exit code stands.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.apply.results import DriftRound
from reconciler.errors import BadInput, ServiceError
from reconciler.files import NOT_REPLACEABLE, replaceable, write_atomically
from reconciler.notify.webhooks import Webhook, deliver, webhook
from reconciler.render.drift_report import message, metrics

Say = Callable[[str], None]
"""Gets one line for stderr."""


@dataclass(frozen=True, slots=True)
class Notifications:
    """Who is notified."""

    textfile: Path | None
    webhooks: tuple[Webhook, ...]

    async def send(
        self, outcome: DriftRound, say: Say, only: tuple[Webhook, ...] | None = None
    ) -> tuple[Webhook, ...]:
        """Write the gauges, and tell every webhook, or some, at the same time; never raises for what goes wrong.

        Returns those that did not take it.
        """
        self.write_gauges(outcome, say)
        asked = self.webhooks if only is None else only
        took = await asyncio.gather(*(_deliver(each, outcome, say) for each in asked))
        return tuple(each for each, taken in zip(asked, took, strict=True) if not taken)

    def write_gauges(self, outcome: DriftRound, say: Say) -> None:
        """Write the gauges alone."""
        if self.textfile is None:
            return
        try:
            # The collector reads *.prom only, so the temporary name must not end like that; it is another user.
            write_atomically(self.textfile, metrics(outcome), mode=0o644, suffix=".new")
        except OSError as error:
            say(f"Warning: the gauges could not be written to {self.textfile}: {error.strerror}")


def notifications(textfile: Path | None, webhooks: Sequence[str]) -> Notifications:
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
    return Notifications(textfile, tuple(map(webhook, webhooks)))


async def _deliver(target: Webhook, outcome: DriftRound, say: Say) -> bool:
    try:
        await deliver(target, message(outcome))
    except ServiceError as error:
        say(f"Warning: {error.message}")
        return False
    return True
