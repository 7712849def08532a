"""A run split over processes that share nothing but the service and a PostgreSQL journal."""

from __future__ import annotations

import signal
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from reconciler import sandbox
from reconciler.model import Shard, Target
from reconciler.sandbox.world import Pool, World
from tests.flows import forks
from tests.flows.conftest import Run, bare, manifest
from tests.flows.mortal import Apply
from tests.flows.mortal import run as apply
from tests.flows.serving import Served, serving
from tests.flows.test_killed import LATER, WRITES
from tests.postgres import PostgresServer

SHARDS = 8
POOLS = 16


def declared(world: World, folder: Path) -> tuple[Path, list[str]]:
    """A manifest that leaves every pool its first disk, under limits that this just fits; the ids of the pools."""
    pools = pools_of(world)
    entries = [
        f"{{id: {pool['id']}, disks: [{{id: {disk['id']}, type: {disk['type']}, size: {disk['size']}}}]}}"
        for pool in pools
        for disk in pool["disks"][:1]
    ]
    limits = f"limits: {{disks: {POOLS}, pools: {POOLS}, copies: {POOLS}}}"
    return manifest(folder, entries, limits), [pool["id"] for pool in pools]


def pools_of(world: World) -> list[Pool]:
    """The pools of a world."""
    return list(world["projects"][sandbox.PROJECT_ID]["pools"].values())


def pools_called(served: Served) -> Counter[str]:
    """How many writes the service was asked for, by pool."""
    return Counter(entry["path"].split("/")[4] for entry in served.posts())


@pytest.mark.parametrize("dies_at", ["before its answer is kept", "after its first pool is done"])
def test_a_process_that_is_killed_and_started_again_changes_nothing_of_that(
    postgres: PostgresServer, tmp_path: Path, dies_at: str
) -> None:
    write = WRITES.index({"before its answer is kept": "record_outcome"}.get(dies_at, "close_operation"))
    world = sandbox.make_world(POOLS, disks=2, desktops=1)
    path, ids = declared(world, tmp_path)
    target = Target(sandbox.REGION, sandbox.PROJECT_ID)
    sizes = {n: sum(Shard(n, SHARDS).owns(target, each) for each in ids) for n in range(1, SHARDS + 1)}
    victim = max(sizes, key=sizes.__getitem__)
    assert sizes[victim] >= 2
    journal = postgres.fresh()
    with serving(world, job_seconds=0.0) as served:

        def start(number: int, dies: int = -1, ahead: float = 0.0) -> BaseProcess:
            share = f"{number}/{SHARDS}"
            what = Apply(
                served.url,
                journal,
                str(path),
                dies,
                dies == WRITES.index("record_outcome"),
                ahead,
                share,
                "night-1",
            )
            return forks.start(apply, what, folder=tmp_path, env=bare(tmp_path))

        started = [start(number, write if number == victim else -1) for number in sizes]
        codes = [forks.ended(process) for process in started]
        assert codes == [-signal.SIGKILL if number == victim else 0 for number in sizes]
        assert len(pools_called(served)) < POOLS
        served.offset[0] = LATER
        assert forks.ended(start(victim, ahead=LATER)) == 0
        assert pools_called(served) == dict.fromkeys(ids, 1)
        assert all(len(served.pool(pool["name"])["disks"]) == 1 for pool in pools_of(world))


def test_eight_processes_do_what_one_run_does_within_its_limits(
    run: Run, postgres: PostgresServer, tmp_path: Path
) -> None:
    world = sandbox.make_world(POOLS, disks=2, desktops=1)
    path, ids = declared(world, tmp_path)
    with serving(world, job_seconds=0.1) as served:
        env = (
            bare(tmp_path)
            | served.env
            | {"RECONCILER_JOURNAL": postgres.fresh(), "RECONCILER_RUN_GROUP": "night-1"}
        )
        logs = [tmp_path / f"{n}.log" for n in range(1, SHARDS + 1)]
        call = ("apply", str(path), "--auto-approve", "--shard")
        started = [
            forks.start(
                forks.command_line, *call, f"{n}/{SHARDS}", folder=tmp_path, env=env, output=logs[n - 1]
            )
            for n in range(1, SHARDS + 1)
        ]
        codes = [forks.ended(process) for process in started]
        assert codes == [0] * SHARDS, [log.read_text() for log in logs]
        assert pools_called(served) == dict.fromkeys(ids, 1)
        assert (
            "No changes. Your infrastructure matches the configuration. 16 pools checked."
            in run("plan", str(path), env=env).out
        )

        # The limits of the group are used up: one disk more is one too many, in whatever share it is.
        pool = served.pool(pools_of(world)[0]["name"])
        more = pool["disks"][0].copy()
        more["id"] = "11111111-2222-4333-8444-555555555555"
        served.give(pool["name"], more)
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
