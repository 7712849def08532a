"""One real apply over TCP in a process of its own that kills itself at its n-th durable write.

Its clock skips what it waits for. To be started by ``tests.flows.forks``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from dataclasses import dataclass
from typing import Any

from reconciler import sandbox
from reconciler.api.connect import open_client
from reconciler.apply.context import Options, RunContext
from reconciler.apply.results import ApplyReport
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
from tests.flows.skipping import SkippingClock
from tests.simulation.scenario import Mortal


class Suicidal(Mortal):
    """Dies like a process: at once, with nothing after it."""

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Apply:
    """One apply of a process of its own."""

    url: str
    journal: str
    manifest: str
    dies_at: int = -1
    """Number of the durable write it dies at; -1 lives."""
    before: bool = False
    """True dies before that write, False right after it."""
    ahead: float = 0.0
    """Seconds by which its clock is ahead of the machine's."""
    share: str = "1/1"
    group: str = ""


def run(what: Apply) -> int:
    """Apply; returns the exit code."""
    return asyncio.run(_run(what))


async def _run(what: Apply) -> int:
    manifest = load([what.manifest])
    clock = SkippingClock(what.ahead)
    [target] = manifest.targets
    keys = AccessKeys(sandbox.ACCESS_KEY, Secret(sandbox.SECRET_KEY))
    async with open_client(Settings(endpoint=what.url), keys, target, clock) as client:
        connections = {target: Connection(Service(target, "sandbox:test"), LiveWorkspace(client), clock)}
        journal: Any = open_journal(what.journal, clock.now, server_now=clock.now)
        if what.dies_at >= 0:
            journal = Suicidal(journal, what.dies_at, before=what.before)

        async def approve(_plan: Plan) -> None:
            """Everything is approved: what may go wrong comes later."""

        shard = Shard(*map(int, what.share.split("/")))
        # With so short a lease every look at the job and every reading renews it: each is a place to die at.
        request = ApplyRequest(manifest, manifest.limits, approve, Options(lease=6.0))
        context = RunContext(
            journal,
            clock,
            lambda: str(uuid.uuid4()),
            connections,
            shard=shard,
            group=what.group,
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
