"""The one way to compute a plan: read, match, count, guard. ``plan``, ``apply`` and ``drift`` share it.

Reading is left to ``workspace``, deciding to ``planning``; this module only puts them in order.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from reconciler import __version__
from reconciler.api.client import Renew, nothing_to_renew
from reconciler.clock import Clock
from reconciler.errors import PoolNotFound, ReadingDoubtful, ServiceError
from reconciler.journal.states import Step
from reconciler.logs import log, log_fine, logs, logs_fine
from reconciler.model import ABSENT_DISKS, DesiredPool, Limits, Manifest, Policy, Pool, Shard, Target
from reconciler.planning import policy
from reconciler.planning.backups import Found, found, rule_of, with_backups
from reconciler.planning.draft import needs_desktops
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.guards import judge, judge_pool, pool_checks, run_checks
from reconciler.planning.inconsistent_desktops import InconsistentDesktops, inconsistent_desktop
from reconciler.planning.leftovers import PartialRemoval, leftovers
from reconciler.planning.marks import Marks, Settle, as_it_is, never_ends, with_grace
from reconciler.planning.plan import Plan, PoolPlan, Service, TargetFailure
from reconciler.planning.readings import Counts, counted, doubted, drafted, looked_into, read_words
from reconciler.planning.suggestion import with_nearest_names
from reconciler.values import Struct, field, replace
from reconciler.workspace import BackupReading, Workspace

DESKTOP_READS = 12
"""Pools whose desktops are read at the same time, per target."""
NO_LONGER_MANAGED = "no-longer-managed"
"""The rule of the note on pools that the journal knows and no manifest names."""
NAMED = 10
"""Pools named in one note before ``and N more``."""
UNKNOWN_JOB = "unknown-job"
"""The rule of a removal that runs and that the journal does not know."""
FORBIDDEN = 403
"""HTTP status for credentials that lack a permission."""
COUNTING = 20.0
"""Seconds within which desktops that contradict their pool's count are read again: desktops come and go."""
FIRST_PAUSE = 1.0
"""Seconds before they are read again for the first time; twice as long before each further time."""


SIGNATURE_LIFETIME = 1800.0
"""A signature is valid for 15 minutes around the service's clock (documented); as much again covers a
machine whose own clock is off by what the service still accepts."""
CLOCKS_APART = timedelta(minutes=15)
"""The most by which this machine's clock and the service's can differ while a signature is still accepted."""


def no_time() -> datetime | None:
    """The service does not say what time it is."""
    return None


def always_room(_call: str) -> bool:
    """There is no budget."""
    return True


async def no_backups() -> BackupReading:
    """There is no backup service; raises ``ServiceError``, so that what needs a backup is blocked."""
    raise ServiceError("no backup service is connected here")


ReadBackups = Callable[[], Awaitable[BackupReading]]
"""Reads every backup of a desktop in a target's project; raises ``ServiceError`` rather than guess."""


class Connection(Struct, frozen=True):
    """One target, ready to be asked."""

    service: Service
    workspace: Workspace
    clock: Clock
    """Measures the time in which a contradicting reading is made again."""
    request_lifetime: float | None = SIGNATURE_LIFETIME
    """Seconds after its signature until which a request can be accepted; None when nothing bounds it."""
    renew: Renew = nothing_to_renew
    """Renews credentials before a write is decided, and says when those end that will sign it."""
    notes: tuple[Finding, ...] = ()
    """What a review of any plan for this target has to know about the connection."""
    room: Callable[[str], bool] = always_room
    """Whether the budget of a call that reads has room for more than is needed."""
    service_time: Callable[[], datetime | None] = no_time
    """The time of the service's latest answer, by its ``Date``; None where it sent none."""
    backups: ReadBackups = no_backups
    """Asks the backup service; nobody does where nothing demands a backup."""


DEFAULT_LIFETIME = timedelta(hours=1)
"""How long after planning a plan may be applied."""


class PlanMetadata(Struct, frozen=True):
    """What makes a plan one particular plan; made by the caller, since planning knows no clock."""

    id: str
    created: datetime
    lifetime: timedelta
    shard: Shard = field(default_factory=Shard)
    """The share of the pools that is planned; the others are read with the list and left out."""
    policy: Policy | None = None
    """What no manifest and no flag can lift."""


_VANISHED = "the pool was listed, and was not found any more when its details were read"

Connections = Mapping[Target, Connection | TargetFailure]
Holds = Mapping[tuple[str, str], Finding]
"""What keeps a pool closed, by target (as text) and pool id: operations that are not resolved."""


def connected(connections: Connections) -> dict[Target, Connection]:
    """Those among them that could be made."""
    return {target: each for target, each in connections.items() if isinstance(each, Connection)}


class Known(Struct, frozen=True):
    """What the journal knows, as far as planning takes it into account."""

    holds: Holds = field(default_factory=dict)
    partial: Mapping[tuple[str, str], Sequence[PartialRemoval]] = field(default_factory=dict)
    """Removals that were done only in part, by target (as text) and pool id."""
    jobs: frozenset[str] = frozenset()
    """Ids of the jobs that may still run: those of its operations that are open or did not end well."""
    held_now: Callable[[], frozenset[tuple[str, str]]] = frozenset
    """Asks again which pools have an open operation: another run of this journal may have begun one meanwhile."""
    managed: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Ids of the pools on which there ever was an operation, by target (as text)."""
    marks: Marks = field(default_factory=Marks)
    """Since when disks are surplus; without a journal nothing is known, and so nothing with grace is due."""


NOTHING = Known()
Back = Callable[[PoolPlan], Awaitable[PoolPlan]]
"""Adds to a pool what backups there are of what it would lose."""


async def as_found(pool: PoolPlan) -> PoolPlan:
    """Adds nothing."""
    return pool


Listing = Callable[[], Awaitable[Sequence[Pool]]]
"""Lists all pools of a target, in a reading that begins when it is called."""


async def compute(
    manifest: Manifest, limits: Limits, connections: Connections, stamp: PlanMetadata, known: Known = NOTHING
) -> Plan:
    """Plan every declared pool of every target.

    A target that fails becomes a ``TargetFailure`` and does not stop the others; when it is the only
    one its error is raised.
    """
    declared: dict[Target, list[DesiredPool]] = defaultdict(list)
    others: dict[Target, list[DesiredPool]] = defaultdict(list)
    for pool in manifest.pools:
        declared[pool.target].append(pool)
    for pool in manifest.others:
        others[pool.target].append(pool)
    targets = sorted(declared)
    planned = await asyncio.gather(
        *(
            _target(_Declared(declared[target], others[target]), connections[target], stamp, known)
            for target in targets
        ),
        return_exceptions=True,
    )
    pools: list[PoolPlan] = []
    failures: list[TargetFailure] = []
    notes: list[Finding] = []
    for target, result in zip(targets, planned, strict=True):
        if isinstance(result, ServiceError) and len(targets) > 1:
            failures.append(TargetFailure(target, result.message, result.hint, int(result.exit_code)))
        elif isinstance(result, BaseException):
            raise result
        elif isinstance(result, TargetFailure):
            failures.append(result)
        else:
            pools.extend(result.pools)
            notes.extend(result.notes)
    connected = [each for each in map(connections.__getitem__, targets) if isinstance(each, Connection)]
    notes.extend(note for each in connected for note in each.notes)
    pools = await _with_leftovers(pools, connections, known)
    pools = await _all_with_backups(pools, connections, stamp)
    held = [_held(pool, known.holds) for pool in pools] if known.holds else pools
    limits = policy.within(limits, stamp.policy)
    pools = await _with_strangers(held, connections, known)
    judged, findings = judged_under(stamp.policy, pools, limits, stamp.created)
    _log_guards(judged, (*findings, *run_checks(judged, limits)) if logs_fine("guards") else findings)
    return Plan(
        id=stamp.id,
        services=tuple(each.service for each in connected),
        pools=judged,
        limits=limits,
        created=stamp.created,
        expires=stamp.created + stamp.lifetime,
        tool_version=__version__,
        sources=manifest.sources,
        drift_policies=manifest.drift,
        selection=manifest.selection,
        findings=(*findings, *notes, *never_ends(pools, known.marks)),
        failures=tuple(failures),
        policy=stamp.policy,
    )


def judged_under(
    obeyed: Policy | None, pools: Sequence[PoolPlan], limits: Limits, now: datetime
) -> tuple[tuple[PoolPlan, ...], tuple[Finding, ...]]:
    """Pools with what the guards and a policy have against each, and the findings about all of them together."""
    # Before the limits: what the policy blocks does not change, and so does not count.
    judged, findings = judge([policy.judge_pool(each, obeyed) for each in pools] if obeyed else pools, limits)
    if obeyed:
        of_run = policy.run_checks(judged, obeyed, now)
        findings += tuple(each for each in of_run if each.severity is not Severity.PASS)
    return judged, findings


async def with_inconsistent_desktops(plan: Plan, connections: Connections) -> Plan:
    """The same plan, with the desktops that differ from their pool; reads only, and decides nothing.

    Raises ``ServiceError`` when a target cannot be read completely.
    """
    gates = {target: asyncio.Semaphore(DESKTOP_READS) for target in connections}
    pools = await asyncio.gather(*(_with_inconsistent(pool, connections, gates) for pool in plan.pools))
    return replace(plan, pools=tuple(pools))


async def plan_pool(
    desired: DesiredPool,
    live: Pool,
    workspace: Workspace,
    listing: Listing,
    clock: Clock,
    *,
    settle: Settle = as_it_is,
    back: Back = as_found,
) -> PoolPlan:
    """Plan one pool from a reading of it, counting its desktops when it loses a disk."""
    pool = drafted(desired, live, settle=settle)
    if needs_desktops(pool):
        [pool] = await _with_desktops([pool], workspace, listing, clock, settle)
    pool = judge_pool(await back(pool))
    _log_guards([pool])
    return pool


def _log_guards(pools: Iterable[PoolPlan], findings: Sequence[Finding] = ()) -> None:
    """Log what the guards found; those that let pass, which are in no plan, for who wants to see everything."""
    if not logs("guards"):
        return
    found = [(each, pool.label) for pool in pools for each in pool.findings]
    if logs_fine("guards"):
        changing = [pool for pool in pools if pool.live and pool.pending]
        checks = ((each, pool.label) for pool in changing for each in pool_checks(pool))
        found += [(each, label) for each, label in checks if each.severity is Severity.PASS]
    seen = dict.fromkeys((*found, *((each, "") for each in findings)))
    for each, label in seen:
        say = log_fine if each.severity is Severity.PASS else log
        # Not the message, which another guard may one day make of names.
        numbers = {"measured": each.measured, "limit": each.limit}
        say("guards", each.severity.value, rule=each.rule, pool=each.pool or label, **numbers)


async def pool_with_backups(
    pool: PoolPlan, obeyed: Policy | None, read: ReadBackups, now: Callable[[], datetime]
) -> PoolPlan:
    """The pool with the backups that it needs; they are read only where it loses a disk and one is asked for.

    A reading that fails does not end the plan: the guard blocks the removals that needed it.
    """
    if (rule := rule_of(pool.desired, obeyed)) is None:
        return pool
    if not pool.removed:
        return replace(pool, backup=rule)
    try:
        reading = await read()
    except ServiceError as error:
        advice = f" ({error.hint})" if error.hint else ""
        return with_backups(pool, rule, Found(now(), unread=f"{error.message}{advice}"))
    return with_backups(pool, rule, found(reading.backups, now()))


async def _all_with_backups(
    pools: Sequence[PoolPlan], connections: Connections, stamp: PlanMetadata
) -> list[PoolPlan]:
    """The pools with their backups; one reading for all pools of a target."""
    if not any(rule_of(pool.desired, stamp.policy) for pool in pools):
        return list(pools)  # as a rule; else there would be a task for each of ten thousand pools
    readings = {target: _once(each.backups) for target, each in connected(connections).items()}

    async def looked(pool: PoolPlan) -> PoolPlan:
        connection = connections[pool.target]
        if not isinstance(connection, Connection):
            return pool

        def now() -> datetime:
            return later_of(stamp.created, connection.service_time())

        return await pool_with_backups(pool, stamp.policy, readings[pool.target], now)

    return [await looked(pool) for pool in pools]


def _once(read: ReadBackups) -> ReadBackups:
    """The same for every pool that asks: one reading, made when the first one asks, or its failure."""
    asked: list[asyncio.Future[BackupReading]] = []

    async def ask() -> BackupReading:
        if not asked:
            asked.append(asyncio.ensure_future(read()))
        return await asked[0]

    return ask


def later_of(here: datetime, there: datetime | None) -> datetime:
    """The later of two clocks: by it a backup is at its oldest, and ends first."""
    return max(here, there) if there else here


def _held(pool: PoolPlan, holds: Holds) -> PoolPlan:
    hold = _is_held(pool, holds)
    return replace(pool, findings=(*pool.findings, hold)) if hold else pool


def _is_held(pool: PoolPlan, holds: Holds) -> Finding | None:
    return holds.get((str(pool.target), pool.live.id)) if holds and pool.live else None


class _Declared(Struct, frozen=True):
    """What the manifests say of one target."""

    pools: Sequence[DesiredPool]
    others: Sequence[DesiredPool]
    """Those that were not selected."""


class _Planned(Struct, frozen=True):
    """The pools of one target, and what is to be noted of it as a whole."""

    pools: list[PoolPlan]
    notes: tuple[Finding, ...] = ()


async def _target(
    declared: _Declared, connection: Connection | TargetFailure, stamp: PlanMetadata, known: Known
) -> _Planned | TargetFailure:
    if isinstance(connection, TargetFailure):
        return connection
    workspace, shard = connection.workspace, stamp.shard
    pools = await workspace.pools()
    # By the clock of this very answer: a disk that is due meanwhile is due in the next plan.
    settle = partial(with_grace, obeyed=stamp.policy, marks=known.marks.by(connection.service_time()))
    by_id = {pool.id: pool for pool in pools}
    by_name: dict[str, list[Pool]] = defaultdict(list)
    for pool in pools:
        by_name[pool.name].append(pool)
    planned: list[PoolPlan] = []
    losing: list[int] = []
    # Not selected is still declared: such an entry can mean the same pool, and is no reason to call it unmanaged.
    elsewhere = ((other, locate(other, by_id, by_name)) for other in declared.others)
    taken = {found.id: other for other, found in elsewhere if isinstance(found, Pool)}
    named = set(taken)
    for desired in declared.pools:
        found = locate(desired, by_id, by_name)
        if isinstance(found, Pool):
            named.add(found.id)
        # By the live id: two entries that mean the same pool must meet in one shard to be found out.
        if not shard.owns(desired.target, desired.label if isinstance(found, Finding) else found.id):
            continue
        if isinstance(found, Finding):
            planned.append(PoolPlan(desired=desired, findings=(found,)))
            continue
        if (first := taken.setdefault(found.id, desired)) is not desired:
            planned.append(PoolPlan(desired=desired, live=None, findings=(_twice(desired, first, found),)))
            continue
        if ABSENT_DISKS in found.doubts:
            found = await _agree_on_absent(found, workspace)
        pool_plan = drafted(desired, found, settle=settle)
        if needs_desktops(pool_plan):
            losing.append(len(planned))
        planned.append(pool_plan)
    read = await _with_desktops(
        [planned[index] for index in losing], workspace, workspace.pools, connection.clock, settle
    )
    for index, pool_plan in zip(losing, read, strict=True):
        planned[index] = pool_plan
    planned = with_nearest_names(planned, by_name)
    own = known.managed.get(str(connection.service.target), frozenset()) - named
    left = [pool for pool in pools if pool.id in own and shard.owns(connection.service.target, pool.id)]
    return _Planned(
        [_name_pin_holders(each, pools) for each in planned],
        (_no_longer_managed(connection.service, left),) if left else (),
    )


def _no_longer_managed(service: Service, pools: Sequence[Pool]) -> Finding:
    names = ", ".join(sorted(f"{pool.name} ({pool.id})" for pool in pools)[:NAMED])
    more = f" and {len(pools) - NAMED} more" if len(pools) > NAMED else ""
    return Finding(
        rule=NO_LONGER_MANAGED,
        message=f"{len(pools)} pool{'s'[: len(pools) != 1]} of {service.target} had operations by this journal, and no "
        f"given manifest names {'them' if len(pools) > 1 else 'it'} (no longer managed): {names}{more}",
        severity=Severity.WARN,
        source="the journal",
        allow="nothing, where that is meant or another manifest declares it",
    )


async def _with_desktops(
    pools: Sequence[PoolPlan], workspace: Workspace, listing: Listing, clock: Clock, settle: Settle
) -> list[PoolPlan]:
    """Plan pools again with their desktops, whose number their pools must agree with before and after.

    Those that disagree are read again until ``COUNTING`` seconds have passed; then they are doubtful.
    """
    gate = asyncio.Semaphore(DESKTOP_READS)
    planned = list(pools)
    before = [pool.live.desktop_count if pool.live else None for pool in pools]
    asked = list(range(len(pools)))
    deadline, pause = clock.monotonic() + COUNTING, FIRST_PAUSE
    while asked:
        looks = await asyncio.gather(*(_look(pools[index], workspace, gate, settle) for index in asked))
        # One request for all of them, however many they are.
        listed = {pool.id: pool.desktop_count for pool in await listing()}
        again: list[int] = []
        for index, (pool, number) in zip(asked, looks, strict=True):
            live = pools[index].live
            if number is None:
                planned[index] = pool
                continue
            if live is None or live.id not in listed:
                planned[index] = doubted(pool, "the pool was no longer listed once its desktops were read")
                continue
            counts = Counts(number, (before[index], listed[live.id]))
            planned[index] = counted(pool, counts)
            if not (counts.agree or pool.desired.allow_count_mismatch):
                again.append(index)
                before[index] = listed[live.id]
        asked = again
        if asked and clock.monotonic() + pause > deadline:
            break
        if asked:
            await clock.sleep(pause)
            pause *= 2
    return planned


async def _look(
    pool: PoolPlan, workspace: Workspace, gate: asyncio.Semaphore, settle: Settle
) -> tuple[PoolPlan, int | None]:
    """One pool planned with its desktops, and their number; None where they could not be read without a doubt.

    The desktops themselves are not kept: all of them together could be millions.
    """
    if pool.live is None:
        return pool, None
    async with gate:
        try:
            desktops = await workspace.desktops(pool.live.id)
        except ReadingDoubtful as error:
            return doubted(pool, error.message), None
        except PoolNotFound:
            return doubted(pool, _VANISHED), None
        return looked_into(pool, desktops, settle), len(desktops)


async def _with_inconsistent(
    pool: PoolPlan, connections: Connections, gates: Mapping[Target, asyncio.Semaphore]
) -> PoolPlan:
    connection, live = connections[pool.target], pool.live
    if live is None or not isinstance(connection, Connection):
        return pool
    async with gates[pool.target]:
        found = await connection.workspace.differing(live.id)
    desktops = tuple(inconsistent_desktop(live.disks, desktop) for desktop in found.desktops)
    return replace(pool, inconsistent=InconsistentDesktops(found.by_number, found.by_size, desktops))


async def _with_leftovers(
    pools: Sequence[PoolPlan], connections: Connections, known: Known
) -> list[PoolPlan]:
    """The pools with what partial removals have left; one reading of the desktops of each pool that had one."""
    if (
        not known.partial
    ):  # as a rule; else there would be a task for each of ten thousand pools that looks for nothing
        return list(pools)
    gate = asyncio.Semaphore(DESKTOP_READS)

    async def looked(pool: PoolPlan) -> PoolPlan:
        removals = known.partial.get((str(pool.target), pool.live.id)) if pool.live else None
        connection = connections[pool.target]
        if not (removals and isinstance(connection, Connection)):
            return pool
        async with gate:
            return await _leftovers_of(pool, connection.workspace, removals)

    return list(await asyncio.gather(*map(looked, pools)))


async def _with_strangers(
    pools: Sequence[PoolPlan], connections: Connections, known: Known
) -> list[PoolPlan]:
    """The pools with what is said of running removals that the journal does not know.

    One request for all pools of a target, and none where nothing would be changed; only where it shows such a
    job, each pool that would be changed is asked for its own jobs.
    """
    found = list(pools)
    going: dict[Target, list[int]] = defaultdict(list)
    for index, pool in enumerate(pools):
        if pool.pending and pool.live and not pool.live.doubts and not _is_held(pool, known.holds):
            going[pool.target].append(index)
    for target, indices in going.items():
        connection = connections[target]
        if not isinstance(connection, Connection):
            continue
        try:
            running = await connection.workspace.running_jobs(Step.REMOVE) - known.jobs
        except ServiceError as error:
            if error.status != FORBIDDEN:
                raise
            for index in indices:
                found[index] = _with_finding(found[index], _unasked(found[index], error))
            continue
        for index in indices if running else ():
            live = pools[index].live
            theirs = running & await connection.workspace.pool_jobs(live.id, Step.REMOVE) if live else ()
            # Another run of this journal may have begun it since the journal was read: the journal will refuse it.
            if theirs and live and (str(target), live.id) not in known.held_now():
                found[index] = _with_finding(found[index], _stranger(found[index], sorted(theirs)))
    return found


def _with_finding(pool: PoolPlan, finding: Finding) -> PoolPlan:
    return replace(pool, findings=(*pool.findings, finding))


def _stranger(pool: PoolPlan, jobs: Sequence[str]) -> Finding:
    return Finding(
        rule=UNKNOWN_JOB,
        message=f"the service is removing disks of this pool by job {', '.join(jobs)}, of which no open operation "
        "is known here",
        pool=pool.label,
        source="the service's jobs",
        allow="wait until it has ended, find out who began it (RECONCILER_JOURNAL may name another journal than "
        "other runners use), and plan again",
    )


def _unasked(pool: PoolPlan, error: ServiceError) -> Finding:
    return Finding(
        rule=UNKNOWN_JOB,
        message=f"whether somebody else is removing disks of this pool could not be asked: {error.message}",
        severity=Severity.WARN,
        pool=pool.label,
        source="the service's jobs",
        allow="let this identity list sub-jobs (workspace:jobs:listSubJobs)",
    )


async def _leftovers_of(pool: PoolPlan, workspace: Workspace, removals: Sequence[PartialRemoval]) -> PoolPlan:
    live = pool.live
    if live is None:
        return pool
    try:
        desktops = await workspace.desktops(live.id)
    except ServiceError as error:
        return replace(pool, leftovers=leftovers(live, (), removals, f"{error.message}"))
    counts = Counts(len(desktops), (live.desktop_count,))
    trusted = counts.agree or pool.desired.allow_count_mismatch
    unread = "" if trusted else f"{read_words(len(desktops))} read, and the pool counts {live.desktop_count}"
    return replace(pool, leftovers=leftovers(live, desktops, removals, unread))


async def _agree_on_absent(pool: Pool, workspace: Workspace) -> Pool:
    """A list entry without ``data_volumes`` is an empty pool only if the detail call agrees."""
    try:
        detail = await workspace.pool(pool.id)
    except PoolNotFound:
        return replace(pool, doubts=(*pool.doubts, _VANISHED))
    if detail.pool.disks:
        raise ReadingDoubtful(
            f"the list says pool {pool.name} has no disks, its detail says {len(detail.pool.disks)}",
            "the service contradicts itself; plan again in a minute",
        )
    return detail.pool


def locate(
    desired: DesiredPool, by_id: Mapping[str, Pool], by_name: Mapping[str, list[Pool]]
) -> Pool | Finding:
    """The live pool that an entry means, or why there is none or more than one."""
    named = by_name.get(desired.name, []) if desired.name else []
    if desired.id:
        found = by_id.get(desired.id)
        if found is None:
            return _missing(desired, f"no pool has the id {desired.id}")
        if desired.name and found.name != desired.name:
            return _missing(
                desired,
                f"id {desired.id} is the pool {found.name!r}, but the manifest calls it {desired.name!r}",
                "correct the name or the id; both must name the same pool",
            )
        return found
    if not named:
        return _missing(desired, f"no pool has the name {desired.name!r}")
    if len(named) > 1:
        ids = ", ".join(sorted(pool.id for pool in named))
        return _missing(
            desired,
            f"{len(named)} pools have the name {desired.name!r}: {ids}",
            "write the id of the one that is meant beside the name",
            rule="pool-ambiguous",
        )
    return named[0]


def _missing(desired: DesiredPool, message: str, allow: str = "", rule: str = "pool-not-found") -> Finding:
    return Finding(
        rule=rule,
        message=message,
        pool=desired.label,
        source=str(desired.at),
        allow=allow or "correct the name, or drop the entry to stop managing that pool",
    )


def _twice(desired: DesiredPool, first: DesiredPool, live: Pool) -> Finding:
    return Finding(
        rule="pool-declared-twice",
        message=f"pool {live.name} ({live.id}) is already declared at {first.at}",
        pool=desired.label,
        source=str(desired.at),
        allow="declare each pool once",
    )


def _name_pin_holders(pool: PoolPlan, pools: Iterable[Pool]) -> PoolPlan:
    """Say which pool has the pinned disk when this one does not."""
    if not (pool.findings and any(each.rule == "pin-not-live" for each in pool.findings)):
        return pool
    pinned = {disk.id for disk in pool.desired.disks if disk.id}
    holders = {
        disk.id: other.name
        for other in pools
        for disk in other.disks
        if disk.id in pinned and (pool.live is None or other.id != pool.live.id)
    }
    return replace(
        pool,
        findings=tuple(
            replace(each, message=f"{each.message}; pool {holder!r} has it")
            if (holder := next((name for pin, name in holders.items() if pin in each.message), None))
            and each.rule == "pin-not-live"
            else each
            for each in pool.findings
        ),
    )
