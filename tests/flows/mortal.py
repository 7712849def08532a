"""One real apply over TCP in a process of its own that kills itself at its n-th durable write.

``python -m tests.flows.mortal URL JOURNAL MANIFEST DIES_AT before|after AHEAD [SHARD GROUP]``: ``DIES_AT`` -1 lives;
``AHEAD`` puts the clock that many seconds forward; a share is named as ``3/8``. Exits with the run's own exit code.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from datetime import datetime, timedelta
from typing import Any

from reconciler import sandbox
from reconciler.api.connect import open_client
from reconciler.apply.context import Options, RunContext
from reconciler.apply.results import ApplyReport
from reconciler.clock import SystemClock
from reconciler.credentials import AccessKeys, Secret
from reconciler.engine.apply import ApplyRequest, apply
from reconciler.errors import ReconcilerError
from reconciler.journal.store import open_journal
from reconciler.manifest.load import load
from reconciler.model import Shard
from reconciler.planner import Connection
from reconciler.planning.plan import Plan, Service
from reconciler.settings import Settings
from reconciler.workspace import LiveWorkspace
from tests.simulation.scenario import Mortal


class AheadClock(SystemClock):
    """The machine's clock, put forward."""

    def __init__(self, seconds: float) -> None:
        self._ahead = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return super().now() + self._ahead


class Suicidal(Mortal):
    """Dies like a process: at once, with nothing after it."""

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


async def run(
    url: str, journal_url: str, path: str, dies_at: int, before: bool, ahead: float, share: str, group: str
) -> int:
    manifest = load([path])
    clock = AheadClock(ahead)
    [target] = manifest.targets
    keys = AccessKeys(sandbox.ACCESS_KEY, Secret(sandbox.SECRET_KEY))
    async with open_client(Settings(endpoint=url), keys, target, clock) as client:
        connections = {target: Connection(Service(target, "sandbox:test"), LiveWorkspace(client))}
        journal: Any = open_journal(journal_url, clock.now)
        if dies_at >= 0:
            journal = Suicidal(journal, dies_at, before=before)

        async def approve(_plan: Plan) -> None:
            """Everything is approved: what may go wrong comes later."""

        options = Options(lease=1.0, wait_timeout=30)
        shard = Shard(*map(int, share.split("/")))
        request = ApplyRequest(manifest, manifest.limits, approve, options)
        context = RunContext(
            journal,
            clock,
            lambda: str(uuid.uuid4()),
            connections,
            shard=shard,
            group=group,
            log=lambda message: print(message, file=sys.stderr),
        )
        try:
            report: ApplyReport = await apply(request, context)
        except ReconcilerError as error:
            print(error.message, file=sys.stderr)
            return int(error.exit_code)
    for result in report.results:
        print(result.pool, result.status.value, result.message)
    return int(report.exit_code)


if __name__ == "__main__":
    _, URL, JOURNAL, MANIFEST, DIES_AT, WHEN, AHEAD, *SHARE = sys.argv
    share, group = SHARE or ("1/1", "")
    sys.exit(
        asyncio.run(run(URL, JOURNAL, MANIFEST, int(DIES_AT), WHEN == "before", float(AHEAD), share, group))
    )
