"""Eight processes apply the same manifest at once, on SQLite and on PostgreSQL: one POST per pool each round.

``RECONCILER_ROUNDS=100 python -m pytest tests/flows/test_rivals.py -n 2`` is the long form.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from reconciler import sandbox
from tests.flows import forks
from tests.flows.conftest import FINANCE, STUDIO, bare, manifest
from tests.flows.rival import main
from tests.flows.serving import serving
from tests.postgres import PostgresServer

RIVALS = 8
ROUNDS = int(os.environ.get("RECONCILER_ROUNDS", "12"))
TRUTHFUL = {0, 1, 3, 4, 5}
"""Done or nothing left; the pool changed or was busy under the loser's hands; another run holds it."""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_eight_rivals_send_one_post_per_pool(
    tmp_path: Path,
    kind: str,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    url = f"sqlite:///{tmp_path}/journal.db"
    if kind == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.fresh()
    path = manifest(tmp_path, [FINANCE, STUDIO])
    codes: Counter[int] = Counter()
    with serving(sandbox.default_world(), job_seconds=0.05) as served:
        names = ("finance-analysts", "design-studio")
        surplus = {name: served.pool(name)["disks"][2] for name in names}
        rivals = [_rival(served.url, url, path, tmp_path) for _ in range(RIVALS)]
        try:
            for number in range(ROUNDS):
                before = len(served.posts())
                for _, rival in rivals:
                    rival.send("go")
                round_codes = [rival.recv() for _, rival in rivals]
                codes.update(round_codes)
                assert set(round_codes) <= TRUTHFUL, round_codes
                sent = Counter(entry["path"] for entry in served.posts()[before:])
                assert sorted(sent.values()) == [1, 1], f"round {number}: {sent}"
                while served.world()["running"]:  # pools come to rest shortly after their jobs
                    time.sleep(0.05)
                for name in names:  # the surplus comes back under a new id, for the next round
                    pool = served.pool(name)
                    assert len(pool["disks"]) == 2
                    back = surplus[name].copy()
                    back["id"] = f"{back['id'][:24]}{number:012d}"
                    served.give(name, back)
                    pool["revision"] += 1
        finally:
            for process, rival in rivals:
                process.kill()
                process.join()
                rival.close()
    told = ", ".join(f"{count}× exit {code}" for code, count in sorted(codes.items()))
    record_property("counted", f"rivals on {kind}: {RIVALS} processes, {ROUNDS} rounds, {told}")


def _rival(url: str, journal: str, path: Path, folder: Path) -> tuple[BaseProcess, Connection]:
    here, there = forks.pipe()
    process = forks.start(main, url, journal, str(path), there, folder=folder, env=bare(folder))
    there.close()
    return process, here
