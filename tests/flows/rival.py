"""One of several runners: applies the same manifest again and again, each time something comes in.

Its waits are fifty times shorter than they are told to be, so that rounds are quick. To be started by
``tests.flows.forks``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from multiprocessing.connection import Connection

from reconciler import sandbox
from reconciler.api.connect import open_client
from reconciler.apply.context import Options, RunContext
from reconciler.clock import SystemClock
from reconciler.credentials import AccessKeys, Secret
from reconciler.engine.apply import ApplyRequest, apply
from reconciler.errors import ReconcilerError
from reconciler.journal.store import open_journal
from reconciler.manifest.load import load
from reconciler.planner import Connection as Opened
from reconciler.planning.plan import Plan, Service
from reconciler.settings import Settings
from reconciler.workspace import LiveWorkspace

FASTER = 50.0


class HastyClock(SystemClock):
    """Waits a fiftieth of what it is asked to."""

    def monotonic(self) -> float:
        return time.monotonic() * FASTER

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0) / FASTER)


def main(url: str, journal_url: str, path: str, referee: Connection) -> int:
    """Answer whatever comes with the exit code of one apply, until there is no more."""
    with contextlib.suppress(EOFError):
        asyncio.run(_main(url, journal_url, path, referee))
    return 0


async def _main(url: str, journal_url: str, path: str, referee: Connection) -> None:
    clock = HastyClock()
    keys = AccessKeys(sandbox.ACCESS_KEY, Secret(sandbox.SECRET_KEY))
    manifest = load([path])
    [target] = manifest.targets

    async def approve(_plan: Plan) -> None:
        """Everything is approved: the rivals are each other's only obstacle."""

    while referee.recv():
        journal = open_journal(journal_url, clock.now)
        try:
            async with open_client(Settings(endpoint=url), keys, target, clock) as client:
                connections = {target: Opened(Service(target, "sandbox:test"), LiveWorkspace(client), clock)}
                request = ApplyRequest(manifest, manifest.limits, approve, Options(wait_timeout=600))
                run = RunContext(journal, clock, lambda: str(uuid.uuid4()), connections)
                code = int((await apply(request, run)).exit_code)
        except ReconcilerError as error:
            code = int(error.exit_code)
        finally:
            journal.close()
        referee.send(code)
