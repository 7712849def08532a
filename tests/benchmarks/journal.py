"""``python -m tests.benchmarks.journal``: what commands cost on a journal that has been written to for months.

Makes a journal with a million drift points and a hundred thousand runs, then runs ``drift``, ``report`` and
``history`` as whole processes on it, and ``drift`` on a fresh one. ``--days`` says over how many days the points lie.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Table, insert

from reconciler.journal import rows, schema
from reconciler.journal.database import Database, parse
from reconciler.journal.records import PLAN_APPROVED, PoolKey
from reconciler.journal.states import State
from reconciler.journal.store import open_journal
from reconciler.values import replace
from tests.benchmarks.__main__ import environment, served
from tests.benchmarks.measure import Cost, best, cost
from tests.journal.samples import intent

ROUNDS_A_DAY = 96
"""A round of ``watch`` every 15 minutes."""
RUN_DAYS = 400
"""Over how many days the runs lie."""
TARGET = "ap-southeast-3/0123456789abcdef0123456789abcdef"
BATCH = 10_000


def fill(database: Database, now: datetime, *, points: int, runs: int, days: int) -> None:
    """Write so many drift points over the last days, and so many runs, of which every twentieth removed a disk."""
    _write(database, schema.drift_points, _points(now, points, days))
    _write(database, schema.runs, _runs(now, runs))
    _write(database, schema.operations, _operations(now, runs))
    _write(database, schema.events, _events(now, runs))


def _write(database: Database, table: Table, values: Iterator[dict[str, Any]]) -> None:
    batch: list[dict[str, Any]] = []
    for each in values:
        batch.append(each)
        if len(batch) == BATCH:
            _flush(database, table, batch)
    _flush(database, table, batch)


def _flush(database: Database, table: Table, batch: list[dict[str, Any]]) -> None:
    if batch:
        with database.write() as connection:
            connection.execute(insert(table), batch)
        batch.clear()


def _points(now: datetime, count: int, days: int) -> Iterator[dict[str, Any]]:
    """Rounds of as many pools as that takes; the drift of a pool changes about once in two days."""
    chance = random.Random(1)
    rounds = days * ROUNDS_A_DAY
    pools = max(count // rounds, 1)
    surplus = [chance.randint(1, 5) for _ in range(pools)]
    for number in range(count):
        turn, pool = divmod(number, pools)
        if chance.random() < 1 / (2 * ROUNDS_A_DAY):
            surplus[pool] = chance.randint(0, 5)
        yield {
            "run_id": f"round-{turn}",
            "target": TARGET,
            "service": "workspace.example",
            "pool_id": f"pool-{pool:05}",
            "pool_name": f"pool {pool:05}",
            "at": now - timedelta(days=days) * (1 - turn / rounds),
            "surplus": surplus[pool],
            "missing": 0,
            "surplus_gb": surplus[pool] * 1000,
        }


def _time(now: datetime, number: int, runs: int) -> datetime:
    return now - timedelta(days=RUN_DAYS) * (1 - number / runs)


def _runs(now: datetime, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        started = _time(now, number, count)
        yield {
            "id": f"run-{number}",
            "command": "correct" if number % 20 == 0 else "drift",
            "tool_version": "0.1.0",
            "targets": [TARGET],
            "started": started,
            "ended": started + timedelta(seconds=5),
            "digest": "sha256:" + "0" * 64,
            "exit_code": 2,
            "summary": {"pools": 350, "surplus": 40, "missing": 0, "differing": 0},
            "way": "",
            "principals": [],
            "policy": "",
            "origin": {},
        }


def _operations(now: datetime, runs: int) -> Iterator[dict[str, Any]]:
    for number in range(0, runs, 20):
        opened = _time(now, number, runs)
        key = PoolKey(TARGET, "workspace.example", f"pool-{number % 300:05}")
        given = replace(intent(f"op-{number}", key), run_id=f"run-{number}", signed_at=opened)
        yield rows.summed(
            rows.intent_values(given)
            | dict.fromkeys(["outcome", "job_id", "request_id", "status", "code", "message"])
            | {
                "state": State.DONE.value,
                "owner": f"run-{number}",
                "lease_until": opened,
                "opened": opened,
                "closed": opened + timedelta(seconds=5),
                "verdict": "gone",
                "closed_by": "run",
            }
        )


def _events(now: datetime, runs: int) -> Iterator[dict[str, Any]]:
    for number in range(0, runs, 20):
        shared = {"run_id": f"run-{number}", "at": _time(now, number, runs)}
        yield shared | {"operation_id": None, "kind": PLAN_APPROVED, "detail": {"text": "x" * 4000}}
        for kind in ("operation.opened", "operation.outcome", "operation.closed"):
            yield shared | {"operation_id": f"op-{number}", "kind": kind, "detail": {}}


def main() -> None:
    """Fill, measure, print."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--points", type=int, default=1_000_000)
    asked.add_argument("--runs", type=int, default=100_000)
    asked.add_argument("--days", type=int, default=30)
    asked.add_argument("--url", default="", help="a journal elsewhere, such as in PostgreSQL; it must be new")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder, served(3) as three:
        url = given.url or f"sqlite:///{folder}/journal.db"
        open_journal(url, lambda: datetime.now(UTC)).close()
        database = Database(parse(url))
        fill(database, datetime.now(UTC), points=given.points, runs=given.runs, days=given.days)
        database.close()
        if database.path:
            print(f"{database.path.stat().st_size / 1e6:.0f} MB", file=sys.stderr)
        commands = {
            "drift of three pools, a fresh journal": (f"sqlite:///{folder}/fresh.db", ["drift"]),
            "drift of three pools": (url, ["drift"]),
            "report": (url, ["report", "--out", f"{folder}/report.html"]),
            "history": (url, ["history"]),
        }
        print("| command | first | wall | CPU | memory |\n|---|---:|---:|---:|---:|")
        for name, (journal, words) in commands.items():
            paths = [str(three.manifests)] if words[0] == "drift" else []
            command = [sys.executable, "-m", "reconciler", *words, *paths]
            env = environment(three) | {"RECONCILER_JOURNAL": journal, "HOME": folder}
            first, *others = [cost(command, env) for _ in range(3)]
            print(_row(name, first, best(others)))
        print(f"\n{given.points:,} points over {given.days} days, {given.runs:,} runs over {RUN_DAYS} days.")


def _row(name: str, first: Cost, other: Cost) -> str:
    return (
        f"| {name} | {first.wall:.2f} s | {other.wall:.2f} s | {other.cpu:.2f} s "
        f"| {max(first, other, key=lambda each: each.memory).memory / 1e6:.0f} MB |"
    )


if __name__ == "__main__":
    main()
