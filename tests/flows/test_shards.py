"""A run split over processes that share nothing but the service and a PostgreSQL journal."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from reconciler import sandbox
from tests.flows.conftest import Run, bare, manifest
from tests.flows.serving import serving
from tests.postgres import PostgresServer, postgres

__all__ = ["postgres"]

SHARDS = 8
POOLS = 16


def test_eight_processes_do_what_one_run_does_within_its_limits(
    run: Run, postgres: PostgresServer, tmp_path: Path
) -> None:
    world = sandbox.make_world(POOLS, disks=2, desktops=1)
    pools = list(world["projects"][sandbox.PROJECT_ID]["pools"].values())
    entries = [
        f"{{id: {pool['id']}, disks: [{{id: {disk['id']}, type: {disk['type']}, size: {disk['size']}}}]}}"
        for pool in pools
        for disk in pool["disks"][:1]
    ]
    path = manifest(tmp_path, entries, f"limits: {{disks: {POOLS}, pools: {POOLS}, copies: {POOLS}}}")
    with serving(world, job_seconds=0.1) as served:
        env = (
            bare(tmp_path)
            | served.env
            | {"RECONCILER_JOURNAL": postgres.fresh(), "RECONCILER_RUN_GROUP": "night-1"}
        )
        started = [
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "reconciler",
                    "apply",
                    str(path),
                    "--auto-approve",
                    "--shard",
                    f"{n}/{SHARDS}",
                ],
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for n in range(1, SHARDS + 1)
        ]
        told = [(process.communicate(timeout=120)[0], process.returncode) for process in started]
        assert [code for _, code in told] == [0] * SHARDS, told
        called = Counter(entry["path"].split("/")[4] for entry in served.posts())
        assert called == dict.fromkeys((pool["id"] for pool in pools), 1)
        assert "No changes. 16 pools checked" in run("plan", str(path), env=env).out

        # The limits of the group are used up: one disk more is one too many, in whatever share it is.
        pool = served.pool(pools[0]["name"])
        pool["disks"].append(pool["disks"][0] | {"id": "11111111-2222-4333-8444-555555555555"})
        refused = run("apply", str(path), "--auto-approve", env=env)
        assert refused.code == 3
        assert f"limit-disks: {POOLS + 1} over all its runs, the limit is {POOLS}" in refused.err
        assert len(served.posts()) == POOLS


def test_a_share_without_a_group_is_refused(run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, ["{name: x, disks: [{type: SAS, size: 10}]}"])
    ran = run("apply", str(path), "--sandbox", "--shard", "1/2")
    assert ran.code == 9
    assert "without --run-group would give every share the whole limits" in ran.err


def test_shares_of_a_plan_are_the_whole_plan(run: Run, tmp_path: Path) -> None:
    path = manifest(
        tmp_path, [f"{{name: {name}, disks: [{{type: SAS, size: 1000}}]}}" for name in "abcdefgh"]
    )
    seen = Counter(
        line
        for number in (1, 2, 3)
        for line in run("plan", str(path), "--sandbox", "--shard", f"{number}/3").out.splitlines()
        if "pool-not-found" in line
    )
    whole = [
        line for line in run("plan", str(path), "--sandbox").out.splitlines() if "pool-not-found" in line
    ]
    assert seen == Counter(whole)
    assert len(whole) == 8
