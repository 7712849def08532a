"""Many shards together do what one run does: every pool once, within the limits of one run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import sandbox
from reconciler.apply.context import Options, RunContext
from reconciler.apply.results import ApplyReport
from reconciler.cli.flags import shard as parse
from reconciler.engine.apply import ApplyRequest, apply
from reconciler.errors import BadInput, ExitCode, Refused
from reconciler.journal.store import open_journal
from reconciler.model import DesiredPool, Limit, Limits, Manifest, Shard, Target
from reconciler.planner import Connections
from reconciler.planning.plan import Plan
from reconciler.values import replace
from tests.builders import AT, NO_LIMITS, TARGET
from tests.simulation.scenario import Killed, Mortal
from tests.simulation.virtual import VirtualClock
from tests.test_scale import Counted, NewId, declared
from tests.texts import texts

SHARDS = 8
POOLS = 24


@given(st.integers(1, 40), texts(min_size=1), texts())
def test_every_pool_has_exactly_one_shard(count: int, pool: str, region: str) -> None:
    target = Target(region, "0" * 32)
    assert sum(Shard(number, count).owns(target, pool) for number in range(1, count + 1)) == 1


def test_shards_are_of_about_the_same_size_and_stay_the_same() -> None:
    sizes = [sum(Shard(number, 8).owns(TARGET, str(pool)) for pool in range(8000)) for number in range(1, 9)]
    assert sum(sizes) == 8000
    assert min(sizes) > 850
    assert [pool for pool in range(40) if Shard(3, 8).owns(TARGET, str(pool))] == [
        4,
        11,
        12,
        18,
        22,
        32,
    ]


@pytest.mark.parametrize("text", ["0/8", "9/8", "1/0", "x", "1", "-1/8", "1/8/2", "01/8", "١/٢", "1/1٠"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not a share"):
        parse(text)


async def _approve(_plan: Plan) -> None:
    """A person has seen it."""


def _request(manifest: Manifest, limits: Limits) -> ApplyRequest:
    return ApplyRequest(manifest, limits, _approve, Options(parallelism=4))


def _together(
    service: Counted, manifest: Manifest, limits: Limits, url: str, dies_at: int | None = None
) -> list[Any]:
    """Eight shards at once; the first dies at that write to its journal and is started again later."""

    async def one(number: int, opened: Connections, clock: VirtualClock, new_id: NewId) -> Any:
        journal: Any = open_journal(url, clock.now)
        run = RunContext(journal, clock, new_id, opened, shard=Shard(number, SHARDS), group="night")
        if number == 1 and dies_at is not None:
            try:
                mortal: Any = Mortal(journal, dies_at, before=False)
                await apply(_request(manifest, limits), replace(run, journal=mortal))
            except Killed:
                await asyncio.sleep(
                    3600
                )  # until its lease has run out, and a request of it can no longer arrive
        try:
            return await apply(_request(manifest, limits), run)
        except Refused as refused:
            return refused
        finally:
            journal.close()

    async def all_of_them(opened: Connections, clock: VirtualClock, new_id: NewId) -> list[Any]:
        return await asyncio.gather(*(one(number, opened, clock, new_id) for number in range(1, SHARDS + 1)))

    return service.run(all_of_them)


def _exactly(disks: int | None, pools: int | None) -> Limits:
    return replace(NO_LIMITS, disks=Limit(disks), pools=Limit(pools))


def test_eight_shards_do_what_one_run_does(tmp_path: Path) -> None:
    service = Counted(sandbox.make_world(POOLS, disks=2, desktops=1))
    manifest = declared(service.pools, losing=POOLS)
    reports = _together(service, manifest, _exactly(POOLS, POOLS), f"sqlite:///{tmp_path}/j.db")
    assert {report.exit_code for report in reports} == {ExitCode.DONE}
    assert service.requests["batch-delete"] == POOLS
    assert all(len(pool["disks"]) == 1 for pool in service.pools)


@pytest.mark.parametrize("dies_at", [0, 1, 2, 4, 7])
def test_a_shard_that_dies_and_starts_again_counts_once_and_deletes_nothing_twice(
    dies_at: int, tmp_path: Path
) -> None:
    service = Counted(sandbox.make_world(POOLS, disks=2, desktops=1))
    manifest = declared(service.pools, losing=POOLS)
    reports = _together(service, manifest, _exactly(POOLS, POOLS), f"sqlite:///{tmp_path}/j.db", dies_at)
    assert {report.exit_code for report in reports} == {ExitCode.DONE}
    assert service.requests["batch-delete"] == POOLS
    assert all(len(pool["disks"]) == 1 for pool in service.pools)


def test_limits_hold_over_all_shards_together(tmp_path: Path) -> None:
    service = Counted(sandbox.make_world(POOLS, disks=2, desktops=1))
    manifest = declared(service.pools, losing=POOLS)
    reports = _together(service, manifest, _exactly(10, None), f"sqlite:///{tmp_path}/j.db")
    refused = [report for report in reports if isinstance(report, Refused)]
    done = [report for report in reports if isinstance(report, ApplyReport)]
    assert refused
    assert done
    assert "over all its runs, the limit is 10 (default)" in refused[0].message
    assert service.requests["batch-delete"] == sum(len(report.results) for report in done) <= 10


def test_a_pool_declared_twice_is_found_out_in_whatever_shards_its_two_names_are(
    tmp_path: Path,
) -> None:
    service = Counted(sandbox.make_world(1, disks=2, desktops=1))
    [pool] = service.pools
    manifest = declared(service.pools)
    by_id = DesiredPool(TARGET, AT, (), id=pool["id"], allow_empty=True)
    both = replace(manifest, pools=(*manifest.pools, by_id))
    reports = _together(service, both, _exactly(None, None), f"sqlite:///{tmp_path}/journal.db")
    findings = [finding.rule for report in reports for finding in report.plan.all_findings]
    assert findings == ["pool-declared-twice"]
    assert service.requests["batch-delete"] == 0
