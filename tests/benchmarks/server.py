"""A simulated service of any size in a process of its own, with manifests that declare exactly its pools.

``python -m tests.benchmarks.server POOLS FOLDER`` writes the manifests, prints its address, and serves until
its standard input ends. ``GET /requests`` tells how many requests came since it was last asked.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from reconciler import sandbox
from reconciler.sandbox.world import Pool
from tests.flows.serving import listening

POOLS_A_FILE = 100
HEAD = f"version: 1\ntarget: {{region: {sandbox.REGION}, project_id: {sandbox.PROJECT_ID}}}\npools:\n"


class Counting:
    """The service behind a counter."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._count = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/requests":
            self._count += scope["path"].startswith("/v2/")
            await self._app(scope, receive, send)
            return
        counted, self._count = str(self._count).encode(), 0
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": counted})


def write_manifests(pools: list[Pool], folder: Path) -> None:
    """Declare these pools as they are, a hundred a file."""
    folder.mkdir()
    for start in range(0, len(pools), POOLS_A_FILE):
        text = HEAD + "".join(_entry(pool) for pool in pools[start : start + POOLS_A_FILE])
        (folder / f"{start:05d}.yaml").write_text(text, encoding="utf-8")


def _entry(pool: Pool) -> str:
    lines = [f"      - {{type: {disk['type']}, size: {disk['size']}}}\n" for disk in pool["disks"]]
    return f"  - name: {pool['name']}\n    disks:\n{''.join(lines)}"


def main(pools: int, folder: Path) -> None:
    """Serve until standard input ends."""
    world = sandbox.make_world(pools)
    write_manifests(list(world["projects"][sandbox.PROJECT_ID]["pools"].values()), folder)
    with listening(Counting(sandbox.create_app(sandbox.Store.memory(world)))) as url:
        print(url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
