"""A simulated service of any size in a process of its own, with manifests that declare exactly its pools.

``python -m tests.benchmarks.server POOLS FOLDER`` writes the manifests, prints its address, and serves until
its standard input ends. ``GET /requests`` tells how many requests came since it was last asked.

``… POOLS FOLDER MILLISECONDS JOB_SECONDS`` answers so late and takes so long for a job, and each pool has one disk
more than its manifest.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from reconciler import sandbox
from reconciler.sandbox.world import Pool
from tests.flows.serving import listening

POOLS_A_FILE = 100
HEAD = f"version: 1\ntarget: {{region: {sandbox.REGION}, project_id: {sandbox.PROJECT_ID}}}\n"
WIDE = "limits: {disks: 100000, copies: 1000000, pools: 100000}\n"


class Counting:
    """The service behind a counter."""

    def __init__(self, app: Any, latency: float = 0.0) -> None:
        self._app = app
        self._latency = latency
        self._count = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/requests":
            self._count += scope["path"].startswith("/v2/")
            await asyncio.sleep(self._latency)
            await self._app(scope, receive, send)
            return
        counted, self._count = str(self._count).encode(), 0
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": counted})


def write_manifests(pools: list[Pool], folder: Path, *, losing: bool = False) -> None:
    """Declare these pools as they are, a hundred a file; ``losing``: each without its last disk."""
    folder.mkdir()
    for start in range(0, len(pools), POOLS_A_FILE):
        entries = "".join(_entry(pool, losing=losing) for pool in pools[start : start + POOLS_A_FILE])
        text = f"{HEAD}{WIDE if losing else ''}pools:\n{entries}"
        (folder / f"{start:05d}.yaml").write_text(text, encoding="utf-8")


def _entry(pool: Pool, *, losing: bool) -> str:
    pin = "id: {id}, " if losing else ""
    line = f"      - {{{{{pin}type: {{type}}, size: {{size}}}}}}\n"
    lines = [line.format(**disk) for disk in pool["disks"][: -1 if losing else None]]
    return f"  - name: {pool['name']}\n    disks:\n{''.join(lines)}"


def main(pools: int, folder: Path, milliseconds: float = 0.0, job_seconds: float = 0.0) -> None:
    """Serve until standard input ends."""
    losing = bool(job_seconds)
    world = sandbox.make_world(pools, desktops=1) if losing else sandbox.make_world(pools)
    write_manifests(list(world["projects"][sandbox.PROJECT_ID]["pools"].values()), folder, losing=losing)
    app = sandbox.create_app(sandbox.Store.memory(world), job_seconds=job_seconds or 45.0)
    with listening(Counting(app, milliseconds / 1000)) as url:
        print(url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *map(float, sys.argv[3:]))
