"""Sends what happened to webhooks, and the outcome of a round to a Prometheus textfile.

A failed delivery is a warning on stderr and does not change the exit code. Delivering to one webhook is left to
``webhooks``.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from reconciler.apply.results import DriftRound
from reconciler.clock import Clock
from reconciler.errors import BadInput, ServiceError
from reconciler.files import NOT_REPLACEABLE, replaceable, write_atomically
from reconciler.notify.webhooks import Webhook, deliver, webhook
from reconciler.render.drift_report import metrics
from reconciler.render.message import Compose, Deliveries
from reconciler.values import Struct, field

Warn = Callable[[str], None]
"""Receives one line for stderr."""


class Letter(Struct, frozen=True):
    """What there is to say, before it is known to whom."""

    compose: Compose
    written: datetime


class Notifications(Struct, frozen=True):
    """Where notifications go."""

    textfile: Path | None
    webhooks: tuple[Webhook, ...]
    clock: Clock
    deliveries: Deliveries = field(default_factory=Deliveries)

    @property
    def owners(self) -> frozenset[str]:
        """The owners who have a webhook of their own."""
        return frozenset(each.owner for each in self.webhooks if each.owner)

    async def send(self, letter: Letter, warn: Warn) -> None:
        """Notify all webhooks that it concerns, concurrently; a failure is only a warning, and counted."""
        await asyncio.gather(*(self.deliver_to(each, letter, warn) for each in self.webhooks))

    async def deliver_to(self, target: Webhook, letter: Letter, warn: Warn) -> bool:
        """Notify one webhook; False, and a warning, when the message may not have arrived."""
        name = f"{self.webhooks.index(target)}"
        try:
            message = letter.compose(target.owner)
            if message is None:
                return True
            await deliver(target, message, self.clock)
        except Exception as error:  # whatever it is, it must not end a run whose work is done
            why = error.message if isinstance(error, ServiceError) else "a message could not be made"
            self.deliveries.failed += 1
            self.deliveries.failing.add(name)
            warn(f"Warning: {why}")
            return False
        self.deliveries.delivered += 1
        self.deliveries.failing.discard(name)
        return True

    def write_gauges(self, outcome: DriftRound, warn: Warn) -> None:
        """Write the metrics of a round, with what became of messages so far."""
        if self.textfile is None:
            return
        try:
            # The collector reads *.prom, so the temporary file needs another suffix; it runs as another user,
            # so the file must be readable for all.
            text = metrics(outcome, self.deliveries)
            write_atomically(self.textfile, text, mode=0o644, suffix=".new")
        except OSError as error:
            warn(f"Warning: the gauges could not be written to {self.textfile}: {error.strerror}")


def notifications(
    textfile: Path | None,
    webhooks: Sequence[str],
    clock: Clock,
    owned: Mapping[str, Sequence[str]] | None = None,
) -> Notifications:
    """Read the flags and the webhooks of each owner.

    Raises ``BadInput``, before anything is done, for an address that cannot be used or a file that cannot be written.
    """
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
    everybodys = [webhook(each) for each in webhooks]
    owners = [webhook(each, owner) for owner, addresses in (owned or {}).items() for each in addresses]
    return Notifications(textfile, (*everybodys, *owners), clock)
