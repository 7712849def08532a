"""The guards: functions over planned pools that can forbid a change, each with numbers.

All of them are evaluated before the first call. There is no exemption for small sets and no flag
that switches every guard off; each finding names what would allow exactly that one thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from reconciler.model import SHARES, Action, Disk, Limit, Limits, Position
from reconciler.planning.backups import backup_words
from reconciler.planning.change import Change, Tie
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.plan import BACKUP, Backups, PoolPlan, Totals, totals
from reconciler.values import replace

STEADY = "STEADY"
PREPAID = "0"
PAY_PER_USE = "1"

_LIMITED = {
    "disks": "disks would be destroyed",
    "copies": "copies would be destroyed",
    "pools": "pools would lose disks",
    "gigabytes": "GB would be destroyed",
    "users": "people would lose data",
}


def judge(pools: Sequence[PoolPlan], limits: Limits) -> tuple[tuple[PoolPlan, ...], tuple[Finding, ...]]:
    """Evaluate every guard; returns the pools with their findings, and those of the whole run."""
    judged = tuple(judge_pool(pool) for pool in pools)
    run = tuple(each for each in run_checks(judged, limits) if each.severity is not Severity.PASS)
    return judged, run


def judge_pool(pool: PoolPlan) -> PoolPlan:
    """Add to a pool what its own guards found."""
    if pool.live is None or not (pool.live.doubts or pool.ties or pool.pending):
        return pool  # nothing to guard; a pool that was not found has its finding already
    found = tuple(each for each in pool_checks(pool) if each.severity is not Severity.PASS)
    return replace(pool, findings=pool.findings + found) if found else pool


def pool_checks(pool: PoolPlan) -> Iterator[Finding]:
    """Every guard of one pool with what it measured, passed ones included."""
    for check in _POOL_CHECKS:
        yield from check(pool)


def run_checks(pools: Sequence[PoolPlan], limits: Limits) -> Iterator[Finding]:
    """Every ceiling of the run with what it measured, passed ones included.

    Blocked pools are not going to change, so they do not count.
    """
    free = [pool for pool in pools if not (pool.findings and pool.blocked)]
    counted = totals(free)
    measured = {
        "disks": counted.destroy,
        "copies": counted.copies,
        "pools": counted.pools,
        "gigabytes": counted.gigabytes,
        "users": counted.users,
    }
    for name, limit in limits.items():
        if name in SHARES:
            continue
        number = measured[name]
        if name == "users" and limit.value is not None and counted.groups:
            yield _uncounted_people(counted, limit)
            continue
        over = limit.value is not None and number > limit.value
        ceiling = "no limit" if limit.value is None else f"the limit is {limit.value}"
        yield Finding(
            rule=f"limit-{name}",
            message=f"{number} {_LIMITED[name]}; {ceiling}",
            severity=Severity.BLOCK if over else Severity.PASS,
            measured=number,
            limit=limit.value,
            source=limit.source,
            allow=_raised(name, limit, str(number)) if over else "",
        )
    yield from _shares(free, limits)


def _raised(name: str, limit: Limit, number: str) -> str:
    """Where a limit is raised that was passed: one of the policy only in the policy."""
    if limit.ceiling:
        return f"ceilings.{name}: {number} in the policy; no manifest and no flag can raise it"
    return f"limits.{name}: {number} in a manifest, or --limit-{name.replace('_', '-')} {number}"


def _shares(pools: Sequence[PoolPlan], limits: Limits) -> Iterator[Finding]:
    """The shares of the disks that go, of each pool and of the run; without an exemption for small sets."""
    disks = [_going(pool) for pool in pools if pool.live]
    losing = [each for each in disks if each[0]] or disks[:1]
    worst = max(losing, key=lambda each: percent(*each[:2]), default=(0, 0, ""))
    yield _share("share_of_pool", limits.share_of_pool, *worst)
    going, live = sum(each[0] for each in disks), sum(each[1] for each in disks)
    yield _share("share_of_run", limits.share_of_run, going, live, "the pools of this run")


def pool_share(pool: PoolPlan, limits: Limits) -> Finding:
    """What the limit on the share of a pool's disks that go says of this one pool."""
    return _share("share_of_pool", limits.share_of_pool, *_going(pool))


def _going(pool: PoolPlan) -> tuple[int, int, str]:
    return len(pool.removed), len(pool.live.disks) if pool.live else 0, pool.label


def percent(going: int, live: int) -> int:
    """How many percent of the live disks go, rounded up, so that it is above a limit whenever the share is."""
    return -(-100 * going // live) if live else 0


def _noun(number: int) -> str:
    """What a number of disks is followed by."""
    return "disk" if number == 1 else "disks"


def _share(name: str, limit: Limit, going: int, live: int, whose: str) -> Finding:
    number = percent(going, live)
    over = limit.value is not None and number > limit.value
    ceiling = "no limit" if limit.value is None else f"the limit is {limit.value} %"
    of = f" of {whose}" if whose else ""
    return Finding(
        rule=f"limit-{name.replace('_', '-')}",
        message=f"{going} of {live} {_noun(live)}{of} ({number} %) would be destroyed; {ceiling}",
        severity=Severity.BLOCK if over else Severity.PASS,
        measured=number,
        limit=limit.value,
        source=limit.source,
        allow=_raised(name, limit, f"{number}%") if over else "",
    )


def _uncounted_people(counted: Totals, limit: Limit) -> Finding:
    """A limit on people cannot hold where a group is attached: who is in it is not documented anywhere."""
    groups = f"{counted.groups} user group{'s'[: counted.groups != 1]}"
    return Finding(
        rule="limit-users",
        message=f"at least {counted.users} people would lose data, and {groups} whose members are not known; "
        f"the limit is {limit.value}",
        measured=counted.users,
        limit=limit.value,
        source=limit.source,
        allow="attach the people by name, or take limits.users out",
    )


def _doubt(pool: PoolPlan) -> Iterator[Finding]:
    doubts = pool.live.doubts if pool.live else ()
    for doubt in doubts:
        yield _finding(pool, "doubtful-reading", f"the service's answer about this pool is doubtful: {doubt}")
    if not doubts:
        yield _passed(pool, "doubtful-reading", "the pool was read completely")


def _tie(pool: PoolPlan) -> Iterator[Finding]:
    for tie in pool.ties:
        names = ", ".join(disk.id for disk in tie.candidates)
        yield _finding(
            pool,
            "tie",
            f"{tie.remove} of {len(tie.candidates)} equally good disks must go and the manifest does not say "
            f"which: {names}",
            measured=len(tie.candidates),
            limit=tie.remove,
            allow="pin the disk to keep by writing its id into the disk entry, "
            "or allow a choice with on_tie: remove_newest or on_tie: remove_oldest",
        )


def _unread(pool: PoolPlan) -> bool:
    """Whether nothing of its answer was read, so that what is missing says nothing: its doubt blocks it."""
    return bool(pool.live and pool.live.doubts)


def _state(pool: PoolPlan) -> Iterator[Finding]:
    status = pool.live.status if pool.live else ""
    if status == STEADY:
        yield _passed(pool, "pool-state", f"the pool is {status}")
    elif status or not _unread(pool):
        yield _finding(
            pool,
            "pool-state",
            f"the pool is {status or 'in an unknown state'}, and disks are changed only in a STEADY pool",
            allow="wait until the pool is STEADY and plan again",
        )


def _prepaid(pool: PoolPlan) -> Iterator[Finding]:
    mode = pool.live.charging_mode if pool.live else ""
    if mode == PAY_PER_USE:
        yield _passed(pool, "prepaid", "the pool is pay-per-use")
    elif mode == PREPAID:
        yield _finding(
            pool,
            "prepaid",
            "the pool is prepaid (yearly/monthly); its disks are changed and released through orders",
            allow="unsubscribe the disk in the console, then plan again",
        )
    elif mode or not _unread(pool):
        yield _finding(
            pool, "prepaid", f"the service did not say whether the pool is prepaid (charging_mode {mode!r})"
        )


def _emptied(pool: PoolPlan) -> Iterator[Finding]:
    before = len(pool.live.disks) if pool.live else 0
    lost = len(pool.removed)
    replaced = sum(change.carried_out and change.action is Action.REPLACE for change in pool.changes)
    left = before - lost + replaced
    if lost and left == 0 and not pool.desired.allow_empty:
        yield _finding(
            pool,
            "empties-pool",
            f"{'the only disk' if lost == 1 else f'all {lost} disks'} of the pool would be destroyed",
            measured=left,
            limit=1,
            allow="allow_empty: true in this pool's entry",
        )
    else:
        yield _passed(pool, "empties-pool", f"{left} of {before} {_noun(before)} stay")


def _protected(pool: PoolPlan) -> Iterator[Finding]:
    hit = [disk.id for disk in pool.removed if disk.id in pool.desired.protect]
    for each in hit:
        yield _finding(
            pool,
            "protected",
            f"disk {each} is protected and would be destroyed",
            allow=f"declare the disk, or take {each} out of this pool's protect list",
        )
    for tie in _deciding_ties(pool):
        guarded = [disk.id for disk in tie.candidates if disk.id in pool.desired.protect]
        if (least := tie.remove - (len(tie.candidates) - len(guarded))) > 0:
            hit += guarded
            names = ", ".join(guarded)
            yield _finding(
                pool,
                "protected",
                f"{least} of the protected disks {names} would be destroyed, however the tie is decided",
                allow=f"declare the disks, or take some of {names} out of this pool's protect list",
            )
    if not hit:
        number = len(pool.desired.protect)
        yield _passed(pool, "protected", f"none of {number} protected {_noun(number)} is destroyed")


def _sessions(pool: PoolPlan) -> Iterator[Finding]:
    connected = pool.loss.live_sessions
    for tie in _deciding_ties(pool):
        ids = {disk.id for disk in tie.candidates}
        hit = sorted(each.live_sessions for each in pool.candidates if each.disk_id in ids)
        # Whichever go, one of them costs at least as many as the one that comes last among the cheapest.
        connected = max([connected, *hit[tie.remove - 1 : tie.remove]])
    if connected and not pool.desired.allow_live_sessions:
        yield _finding(
            pool,
            "live-session",
            f"{_desktops(connected)} a connected user right now",
            measured=connected,
            limit=0,
            allow="wait until they have logged out, or allow_live_sessions: true in this pool's entry",
        )
    else:
        yield _passed(pool, "live-session", f"{connected} connected users", connected)


def _rests_on_unmanaged(pool: PoolPlan) -> Iterator[Finding]:
    """Nothing goes because of a change that is only shown.

    An expansion that is not carried out leaves the disk as it is, so that it claims the declared entry only
    on paper, and a larger disk that somebody adds later would claim it instead: which of the two is the
    declared one is then a guess. A pin is no guess, so there only a disk that equals the entry counts.
    """
    going = list(pool.removed) + [disk for tie in _deciding_ties(pool) for disk in tie.candidates]
    for change in pool.changes:
        if change.action is Action.EXPAND and not change.carried_out:
            rivals = [disk for disk in going if _could_be(disk, change)]
            if rivals and change.live and change.desired:
                wanted = f"{change.desired.type} {change.desired.size} GB"
                yield _finding(
                    pool,
                    "rests-on-unmanaged",
                    f"{_disks(rivals)} would be destroyed because {_disks([change.live])} is to grow into the "
                    f"declared {wanted}, and growing is not carried out here",
                    allow="let this pool manage expand as well, or declare the disk that is to stay"
                    + (
                        ""
                        if change.desired.id
                        else ", or write the id of the one that is meant into the entry"
                    ),
                )
    yield from _rests_on_replacement(pool, going)


def _could_be(disk: Disk, change: Change) -> bool:
    """Whether a disk that goes could be the declared one into which another disk only grows on paper."""
    wanted = change.desired
    if wanted is None or disk == change.live or disk.type != wanted.type:
        return False
    return disk.size == wanted.size if wanted.id else disk.size <= wanted.size


def _rests_on_replacement(pool: PoolPlan, going: Sequence[Disk]) -> Iterator[Finding]:
    """Of a replacement that is only shown the old disk stays, and which of several it is, is a guess too."""
    shown = [change for change in pool.changes if not (change.carried_out or change.waits)]
    replaced = [change.live for change in shown if change.action is Action.REPLACE and change.live]
    added = sum(change.action is Action.ADD for change in shown)
    undecided = sum(tie.remove for tie in _deciding_ties(pool))
    on_paper = len(replaced) + min(added, undecided)
    if on_paper and len(pool.removed) + undecided - min(added, undecided) > 0:
        stays = _disks(replaced) if replaced else "another one"
        yield _finding(
            pool,
            "rests-on-unmanaged",
            f"{_disks(going)} would be destroyed while {stays}, of which a declared disk is to be made, stays "
            "because adding is not carried out here",
            allow="let this pool manage add as well, or declare every disk that is to stay",
        )


def _deciding_ties(pool: PoolPlan) -> Sequence[Tie]:
    """The ties whose disks would go once somebody has decided: none where removal is only shown."""
    return pool.ties if Action.REMOVE in pool.desired.manage else ()


def _disks(disks: Sequence[Disk]) -> str:
    return ", ".join(f"disk {disk.id} ({disk.type} {disk.size} GB)" for disk in disks)


def _backed(pool: PoolPlan) -> Iterator[Finding]:
    """Every desktop that would lose a copy has a backup that is young enough, where one is asked for."""
    if (rule := pool.backup) is None:
        return
    losses = {each.disk_id: each.backups for each in pool.disk_losses}
    lacking = [disk for disk in pool.removed if not ((known := losses.get(disk.id)) and known.complete)]
    for disk in lacking:
        yield replace(_unbacked(pool, disk, losses.get(disk.id), rule.at), source=str(rule.at))
    if not lacking:
        every = "every desktop that would lose a copy has a backup that is young enough"
        passed = every if pool.removed else "no desktop would lose a copy now, so no backup was looked at"
        yield replace(_passed(pool, BACKUP, passed), source=str(rule.at))


def _unbacked(pool: PoolPlan, disk: Disk, known: Backups | None, at: Position) -> Finding:
    """What is missing for one disk; by the ids of desktops, as a finding is shown where nobody may be named."""
    read = known if known and not known.unread else None
    words = backup_words(known, named=False) if known else "the backups of its desktops are not known"
    do = "back these desktops up in the backup service" if read else "let it be read (cbr:backups:list)"
    return _finding(
        pool,
        BACKUP,
        f"disk {disk.id}: {words}",
        measured=read.having if read else None,
        limit=read.desktops if read else None,
        allow=f"{do} and plan again, or ask for less in {at.file}",
    )


_POOL_CHECKS: tuple[Callable[[PoolPlan], Iterator[Finding]], ...] = (
    _doubt,
    _tie,
    _state,
    _prepaid,
    _emptied,
    _protected,
    _rests_on_unmanaged,
    _sessions,
    _backed,
)


def _finding(
    pool: PoolPlan,
    rule: str,
    message: str,
    *,
    measured: int | None = None,
    limit: int | None = None,
    allow: str = "",
) -> Finding:
    return Finding(
        rule=rule,
        message=message,
        pool=pool.label,
        measured=measured,
        limit=limit,
        source=str(pool.desired.at),
        allow=allow,
    )


def _passed(pool: PoolPlan, rule: str, message: str, measured: int | None = None) -> Finding:
    return Finding(
        rule=rule,
        message=message,
        severity=Severity.PASS,
        pool=pool.label,
        measured=measured,
        source=str(pool.desired.at),
    )


def _desktops(connected: int) -> str:
    if connected == 1:
        return "1 desktop that would lose a disk has"
    return f"{connected} desktops that would lose a disk have"
