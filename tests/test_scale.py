"""What a run asks of the service, counted by the service: requests must not grow with what does not matter."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qs

import pytest

from reconciler import sandbox
from reconciler.api.budget import Budgets
from reconciler.api.connect import open_client
from reconciler.api.transport import sandbox_transport
from reconciler.apply.context import Options, RunContext
from reconciler.apply.results import ApplyReport
from reconciler.credentials import AccessKeys, Secret
from reconciler.engine.apply import ApplyRequest, apply
from reconciler.errors import ExitCode, ReadingDoubtful, ServiceError
from reconciler.model import DesiredDisk, DesiredPool, Manifest, Target
from reconciler.planner import Connection, Connections, PlanMetadata, compute
from reconciler.planning.plan import Plan, Service
from reconciler.sandbox import world as rules
from reconciler.settings import Settings
from reconciler.workspace import LiveWorkspace
from tests.builders import AT, NO_LIMITS
from tests.memory_journal import memory_journal
from tests.simulation.virtual import START, VirtualClock, VirtualLoop

T = TypeVar("T")
NewId = Callable[[], str]
TARGET = Target(sandbox.REGION, sandbox.PROJECT_ID)
JOB_SECONDS = 45.0
EXTRA_LOOKS = 4
"""At the first job alone, of which nobody knows yet how long it takes."""


class Unlimited(Budgets):
    """Of a service that takes as many requests as come."""

    async def read(self, api: str) -> None:
        """Wait for nothing."""

    async def write(self, api: str) -> None:
        """Wait for nothing."""

    def has_room(self, api: str) -> bool:
        """Always."""
        return True


@dataclass
class Counted:
    """The simulated service in this process, on virtual time, behind a counter of requests."""

    world: rules.World
    loop: VirtualLoop = field(default_factory=VirtualLoop)
    requests: Counter[str] = field(default_factory=Counter)
    job_seconds: float = JOB_SECONDS
    latency: float = 0.0
    """Seconds until an answer begins."""
    budgeted: bool = True
    between: Callable[[int], None] = lambda _count: None
    """Called with the number of pages of pools asked for so far, before the next one is answered."""

    def __post_init__(self) -> None:
        self.store = sandbox.Store.memory(self.world)
        self._app: Any = sandbox.create_app(
            self.store, clock=lambda: START.timestamp() + self.loop.moment, job_seconds=self.job_seconds
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        call = _call(scope)
        if call == "list pools":
            self.between(self.requests[call])
        self.requests[call] += 1
        await asyncio.sleep(self.latency)
        await self._app(scope, receive, send)

    @property
    def pools(self) -> list[rules.Pool]:
        return list(self.world["projects"][sandbox.PROJECT_ID]["pools"].values())

    def run(self, scenario: Callable[[Connections, VirtualClock, NewId], Coroutine[Any, Any, T]]) -> T:
        """Run a scenario against this service; waiting takes no time."""
        clock = VirtualClock(self.loop)
        numbers = iter(range(1_000_000))

        async def timed() -> T:
            keys = AccessKeys(sandbox.ACCESS_KEY, Secret(sandbox.SECRET_KEY))
            here = Settings(endpoint=sandbox.IN_PROCESS_BASE_URL)
            async with open_client(here, keys, TARGET, clock, sandbox_transport(self)) as client:
                if not self.budgeted:
                    client.budgets = Unlimited(clock)
                live, room = LiveWorkspace(client), client.budgets.has_room
                opened = {TARGET: Connection(Service(TARGET, "counted"), live, clock=clock, room=room)}
                return await scenario(opened, clock, lambda: f"id-{next(numbers)}")

        try:
            return self.loop.run_until_complete(timed())
        finally:
            self.loop.close()

    def plan(self, manifest: Manifest) -> Plan:
        return self.run(
            lambda opened, clock, new_id: compute(
                manifest, NO_LIMITS, opened, PlanMetadata(new_id(), clock.now(), timedelta(hours=1))
            )
        )


def _call(scope: Any) -> str:
    """A request by its kind."""
    parts = scope["path"].split("/")[3:]
    if scope["method"] == "POST":
        return str(parts[-1])
    if parts[0] == "workspace-sub-jobs":
        one_pool = "desktop_pool_id" in parse_qs(scope["query_string"].decode())
        return "jobs of one pool" if one_pool else "running jobs"
    if parts[0] == "workspace-jobs":
        return "show job"
    return {1: "list pools", 2: "show pool"}.get(len(parts), "list desktops")


def declared(pools: list[rules.Pool], losing: int = 0) -> Manifest:
    """Every pool as it is, but the first ``losing`` ones without their last disk."""
    return Manifest(
        tuple(
            DesiredPool(
                TARGET,
                AT,
                tuple(
                    DesiredDisk(disk["type"], disk["size"], AT, id=disk["id"])
                    for disk in pool["disks"][: -1 if number < losing else None]
                ),
                name=pool["name"],
                allow_empty=True,
            )
            for number, pool in enumerate(pools)
        ),
        NO_LIMITS,
    )


@pytest.mark.parametrize(("pools", "pages"), [(1, 1), (999, 1), (1001, 2), (2500, 3)])
def test_a_plan_without_change_asks_for_the_pages_of_pools_and_nothing_else(pools: int, pages: int) -> None:
    service = Counted(sandbox.make_world(pools, disks=2, desktops=1))
    plan = service.plan(declared(service.pools))
    assert not plan.has_changes
    assert not plan.blocked
    assert service.requests == {"list pools": pages}


def test_desktops_are_read_only_of_pools_that_lose_a_disk() -> None:
    service = Counted(sandbox.make_world(1500, disks=2, desktops=1))
    plan = service.plan(declared(service.pools, losing=7))
    assert plan.totals.destroy == 7
    # One request asks for removals that nobody here knows of, however many pools lose a disk.
    # The pools are listed once more after the desktops: their counts must agree before and after.
    assert service.requests == {"list pools": 4, "list desktops": 7, "running jobs": 1}


def test_one_huge_pool_is_counted_whole_page_by_page() -> None:
    service = Counted(sandbox.make_world(1, disks=2, desktops=1050))
    plan = service.plan(declared(service.pools, losing=1))
    assert (plan.totals.copies, plan.totals.desktops) == (1050, 1050)
    assert service.requests == {"list pools": 2, "list desktops": 11, "running jobs": 1}


def test_undeclared_pools_cost_no_request_of_their_own() -> None:
    service = Counted(sandbox.make_world(1500, disks=2, desktops=1))
    service.plan(declared(service.pools[:3], losing=3))
    assert service.requests == {"list pools": 4, "list desktops": 3, "running jobs": 1}


def test_the_most_pools_the_service_can_show_are_planned_and_one_more_is_refused_with_both_numbers() -> None:
    world = sandbox.make_world(21_000, disks=1, desktops=0)
    whole = Counted(world)
    assert len(whole.plan(declared(whole.pools)).pools) == 21_000
    last = whole.pools[0].copy()
    last["id"] = "one-more"
    world["projects"][sandbox.PROJECT_ID]["pools"]["one-more"] = last
    more = Counted(world)
    with pytest.raises(
        ServiceError, match="counts 21001 pools and shows no more than the first 21000"
    ) as refused:
        more.plan(declared(more.pools[:1]))
    assert "split the project" in refused.value.hint
    assert more.requests == {"list pools": 1}


def test_a_list_that_changes_between_its_pages_is_read_anew() -> None:
    service = Counted(sandbox.make_world(1500, disks=1, desktops=0))
    manifest = declared(service.pools[10:])

    def somebody_deletes(pages: int) -> None:
        if pages == 1:
            pools = service.world["projects"][sandbox.PROJECT_ID]["pools"]
            del pools[next(iter(pools))]

    service.between = somebody_deletes
    plan = service.plan(manifest)
    assert not plan.blocked
    assert service.requests == {"list pools": 4}


def test_a_list_that_keeps_changing_is_no_reading() -> None:
    service = Counted(sandbox.make_world(1500, disks=1, desktops=0))
    manifest = declared(service.pools[10:])

    def somebody_deletes(_pages: int) -> None:
        pools = service.world["projects"][sandbox.PROJECT_ID]["pools"]
        del pools[next(iter(pools))]

    service.between = somebody_deletes
    with pytest.raises(ReadingDoubtful, match="its total changed"):
        service.plan(manifest)
    assert service.requests == {"list pools": 4}


def _applied(pools: int, options: Options | None = None, **given: Any) -> tuple[ApplyReport, Counted]:
    service = Counted(sandbox.make_world(pools, disks=2, desktops=1), **given)
    manifest = declared(service.pools, losing=pools)

    async def approve(_plan: Plan) -> None:
        """A person has seen it."""

    request = ApplyRequest(manifest, NO_LIMITS, approve, options or Options(parallelism=64))

    def scenario(opened: Connections, clock: VirtualClock, new_id: NewId) -> Coroutine[Any, Any, ApplyReport]:
        journal = memory_journal(clock.now)
        return apply(request, RunContext(journal, clock, new_id, opened))

    return service.run(scenario), service


def test_a_hundred_pools_cost_a_hundred_calls_and_nothing_twice() -> None:
    report, service = _applied(100)
    assert (report.exit_code, report.remaining) == (ExitCode.DONE, 0)
    assert service.requests["batch-delete"] == 100
    assert all(len(pool["disks"]) == 1 for pool in service.pools)
    # One look at each pool before its call, one at its job's end, and one or two before its sub-jobs show.
    assert (service.requests["show pool"], service.requests["jobs of one pool"]) == (100, 100)
    assert service.requests["list desktops"] == 200
    assert service.requests["show job"] <= 300
    # Each poll that all pools share comes once a second at most, however many pools wait for it; the plans
    # before and after the run list the pools twice each.
    assert service.requests["running jobs"] <= service.loop.moment + 2
    assert service.requests["list pools"] <= service.loop.moment + 4
    # The first pool goes alone; after that 50 calls at once and 50 a minute; then the last job.
    assert service.loop.moment <= 1.2 * (JOB_SECONDS + 60 + JOB_SECONDS)


def test_twice_as_many_pools_cost_no_more_polls() -> None:
    _, few = _applied(25)
    _, many = _applied(50)
    assert many.requests["batch-delete"] == 2 * few.requests["batch-delete"] == 50
    assert [many.requests[poll] for poll in ("running jobs", "list pools")] == [
        few.requests[poll] for poll in ("running jobs", "list pools")
    ]


@pytest.mark.parametrize(("pools", "seconds"), [(50, 16), (100, 27)])
def test_pools_with_fast_jobs_take_little_more_than_their_jobs(pools: int, seconds: float) -> None:
    """Jobs of 2 s, answers after 20 ms, ten pools at a time: 100 pools take 22 s for the jobs alone."""
    options = Options()
    assert options.parallelism == 10
    report, service = _applied(pools, options, job_seconds=2.0, latency=0.02, budgeted=False)
    assert (report.exit_code, report.remaining) == (ExitCode.DONE, 0)
    assert service.loop.moment <= seconds
    polls = service.requests["running jobs"] + service.requests["list pools"]
    # Besides the polls that all share: the pool, its desktops twice, its jobs, the call, and how the job ended.
    assert service.requests.total() - polls <= 6 * pools + EXTRA_LOOKS


def test_a_budget_of_requests_is_used_to_its_end() -> None:
    """Of 100 calls a minute 50 can go at once, so the last of 100 leaves after a minute at best."""
    report, service = _applied(100, Options(), job_seconds=2.0, latency=0.02)
    assert report.exit_code is ExitCode.DONE
    assert service.loop.moment <= 1.15 * 60
