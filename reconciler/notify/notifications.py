"""Sends the outcome of a round to a Prometheus textfile and to webhooks.

A failed delivery is a warning on stderr and does not change the exit code. Delivering to one webhook is left to
``webhooks``.
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

Warn = Callable[[str], None]
"""Receives one line for stderr."""


@dataclass(frozen=True, slots=True)
class Notifications:
    """Where notifications go."""

    textfile: Path | None
    webhooks: tuple[Webhook, ...]

    async def send(self, outcome: DriftRound, warn: Warn) -> None:
        """Write the gauges and notify all webhooks, concurrently; a failure is only a warning."""
        self.write_gauges(outcome, warn)
        await asyncio.gather(*(deliver_to(each, outcome, warn) for each in self.webhooks))

    def write_gauges(self, outcome: DriftRound, warn: Warn) -> None:
        """Write only the gauges."""
        if self.textfile is None:
            return
        try:
            # The collector reads *.prom, so the temporary file needs another suffix; it runs as another user,
            # so the file must be readable for all.
            write_atomically(self.textfile, metrics(outcome), mode=0o644, suffix=".new")
        except OSError as error:
            warn(f"Warning: the gauges could not be written to {self.textfile}: {error.strerror}")


def notifications(textfile: Path | None, webhooks: Sequence[str]) -> Notifications:
    """Read the flags; raises ``BadInput`` for a file that cannot be written, before anything is done."""
    if textfile is not None:
        try:
            if not replaceable(textfile):
                raise FileExistsError(0, NOT_REPLACEABLE)
            with tempfile.TemporaryFile(dir=textfile.parent):
                pass
        except OSError as error:
            raise BadInput(
                f"--prometheus {textfile} cannot be written: {error.strerror}",
                "name a file in a writable directory; a temporary file beside it is renamed to it",
            ) from None
    return Notifications(textfile, tuple(map(webhook, webhooks)))


async def deliver_to(target: Webhook, outcome: DriftRound, warn: Warn) -> bool:
    """Notify one webhook; False, and a warning, when the message may not have arrived."""
    try:
        await deliver(target, message(outcome))
    except ServiceError as error:
        warn(f"Warning: {error.message}")
        return False
    return True
