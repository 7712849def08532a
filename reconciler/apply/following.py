"""One operation while it is waited for: when to ask for its job's details, and when to renew its lease.

The looks themselves, and what follows from them, are left to ``operation`` and ``proof``.
"""

from __future__ import annotations

from reconciler.apply.context import RunContext
from reconciler.apply.polling import Pace, delay_at
from reconciler.journal.records import Intent
from reconciler.workspace import Job, JobEnd

RENEWED_AFTER = 1 / 12
"""Share of a lease after which it is renewed at the next look; looks come up to a quarter of a usual one apart."""


class Following:
    """One accepted job on its way to its end; ages are seconds since it was accepted."""

    def __init__(self, begun: float, pace: Pace) -> None:
        self._begun = begun
        self._pace = pace
        self._was_listed = False
        self._running = 0.0
        """The age at which it was last known to run."""
        self._next_ask = 0.0
        """The age before which its details are not asked for again."""

    def gap(self, moment: float) -> float:
        """Seconds until the next look at it."""
        return self._pace.gap(moment - self._begun)

    def listed(self, moment: float) -> None:
        """The list of unfinished jobs has it, in a reading that began at this moment or later."""
        self._was_listed, self._running, self._next_ask = True, moment - self._begun, 0.0

    def is_asked_for(self, moment: float) -> bool:
        """Whether a job that is not listed (yet, or any more) is asked for its details."""
        return moment - self._begun >= self._next_ask

    def answered(self, moment: float, job: Job | None) -> None:
        """Take in the details that were asked for at this moment."""
        age = moment - self._begun
        if job is None:
            # Several such answers mean that its record is gone, so they must lie apart.
            self._next_ask = age + delay_at(age)
        elif job.end is JobEnd.RUNNING:
            self._running = age
            # One whose sub-jobs the service does not list yet would else cost a request a look.
            told = self._was_listed or self._pace.is_due(age)
            self._next_ask = age if told else age + delay_at(age)
        elif job.end is JobEnd.SUCCEEDED:
            self._pace.learn(self._running, age)


class Hold:
    """The lease of an operation that is waited for: renewed in time, and not at each look, since each is a write."""

    def __init__(self, intent: Intent, ctx: RunContext) -> None:
        self._operation_id = intent.operation_id
        self._ctx = ctx
        self._renewed = ctx.clock.monotonic()

    def keep(self) -> None:
        """Renew the lease if it is time; raises ``PoolHeld`` when another run has taken the operation over."""
        ctx, now = self._ctx, self._ctx.clock.monotonic()
        if now - self._renewed >= ctx.options.lease * RENEWED_AFTER:
            ctx.journal.renew_lease(self._operation_id, ctx.run_id, ctx.options.lease)
            self._renewed = now
