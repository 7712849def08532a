"""Backups: which desktops that would lose a copy have one in the backup service that may hold it, and how old it is.

Pure: the backups and the time are passed in. Reading them is left to ``workspace``, blocking to ``guards``. States,
times and children of a backup are those of ``BackupResp`` (official SDK, ``huaweicloudsdkcbr`` v1).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from reconciler.model import BackedVolume, Backup, BackupRule, DesiredPool, KnownBackup, LostCopy, Policy
from reconciler.planning.permissions import age_words
from reconciler.planning.plan import Backups, DiskLoss, PoolPlan, Unbacked
from reconciler.values import Struct, field, replace

AVAILABLE = "available"
"""The state of a backup that ended well and can be used (documented); no other counts."""
AHEAD = timedelta(minutes=15)
"""How far a backup's time may be ahead of the clock; one further ahead tells nothing about its age."""
KEPT = 10
"""Backups kept of one copy, newest first: what a person would try later."""


class Found(Struct, frozen=True):
    """What the backup service says, and what time it is."""

    now: datetime
    of: Mapping[str, Sequence[Backup]] = field(default_factory=dict)
    """By the desktop's id."""
    unread: str = ""
    """Why they could not be read; empty when they were."""


def found(backups: Iterable[Backup], now: datetime) -> Found:
    """The backups by their desktops, newest first."""
    of: defaultdict[str, list[Backup]] = defaultdict(list)
    for each in backups:
        of[each.desktop_id].append(each)
    for group in of.values():
        group.sort(key=lambda each: (_made(each), each.id), reverse=True)
    return Found(now, dict(of))


def rule_of(desired: DesiredPool, obeyed: Policy | None) -> BackupRule | None:
    """What backup a pool's desktops must have: by its entry or by the policy, whichever is stricter."""
    rules = [each for each in (desired.backup, obeyed.backup if obeyed else None) if each]
    return min(rules, key=lambda each: each.within, default=None)


def with_backups(pool: PoolPlan, rule: BackupRule, known: Found) -> PoolPlan:
    """The pool with what backups there are of each copy that would go."""
    losses = tuple(_backed(loss, rule.within, known) for loss in pool.disk_losses)
    return replace(pool, backup=rule, disk_losses=losses)


def _backed(loss: DiskLoss, within: timedelta, known: Found) -> DiskLoss:
    if known.unread:
        desktops = len({copy.desktop_id for copy in loss.lost})
        return replace(loss, backups=Backups(within, desktops, 0, unread=known.unread))
    lost = tuple(copy._replace(backups=tuple(_kept(_usable(copy, known)))) for copy in loss.lost)
    return replace(loss, lost=lost, backups=_counted(lost, within, known))


def _counted(lost: Sequence[LostCopy], within: timedelta, known: Found) -> Backups:
    """Desktop by desktop: each of its copies needs a backup that is young enough."""
    copies: defaultdict[str, list[LostCopy]] = defaultdict(list)
    for copy in lost:
        copies[copy.desktop_id].append(copy)
    oldest: list[datetime] = []
    lacking: list[Unbacked] = []
    undivided = 0
    for desktop_id, own in copies.items():
        usable = [_usable(copy, known) for copy in own]
        young = [[each for each in some if known.now - _made(each) < within] for some in usable]
        if all(young):
            oldest.append(min(_made(some[0]) for some in young))
            undivided += not all(any(each.volumes for each in some) for some in young)
        else:
            latest = max((_made(some[0]) for some in usable if some), default=None)
            lacking.append(Unbacked(desktop_id, own[0].desktop_name, latest))
    lacking.sort(key=lambda each: (each.desktop_name, each.desktop_id))
    return Backups(
        within, len(copies), len(oldest), min(oldest, default=None), tuple(lacking), undivided=undivided
    )


def _usable(copy: LostCopy, known: Found) -> list[Backup]:
    """The backups that may hold this copy and that could be used now, newest first."""
    return [
        each
        for each in known.of.get(copy.desktop_id, ())
        if copy.desktop_id and _is_good(each, known.now) and _may_hold(each, copy, known.now)
    ]


def _is_good(backup: Backup, now: datetime) -> bool:
    """Ended well, of this region, one that can be restored at all, made by now, and not yet ended."""
    return (
        backup.status == AVAILABLE
        and not backup.replica
        and backup.restorable
        and backup.made is not None
        and backup.made <= now + AHEAD
        and _lasts(backup.expires, now)
    )


def _may_hold(backup: Backup, copy: LostCopy, now: datetime) -> bool:
    """Whether one of its children is of this volume; where it names none, it may hold every disk of the desktop."""
    return not backup.volumes or any(_is_of(each, copy, now) for each in backup.volumes)


def _is_of(child: BackedVolume, copy: LostCopy, now: datetime) -> bool:
    """A copy whose volume is not known is in no backup that says which volumes it holds."""
    return (
        bool(copy.volume_id)
        and child.volume_id == copy.volume_id
        and child.status == AVAILABLE
        and child.restorable
        and _lasts(child.expires, now)
    )


def _lasts(expires: datetime | None, now: datetime) -> bool:
    return expires is None or expires > now


def _made(backup: Backup) -> datetime:
    """When it was made; one that is not made yet comes last, and never counts."""
    return backup.made or datetime.min.replace(tzinfo=UTC)


def _kept(usable: Sequence[Backup]) -> Iterable[KnownBackup]:
    return (KnownBackup(each.id, _made(each).isoformat()) for each in usable[:KEPT])


SHOWN = 5
"""Desktops without such a backup that one sentence names before ``and N more``."""


def backup_words(known: Backups, *, named: bool = True) -> str:
    """How many desktops have a backup, how old they are, and which have none; by their ids unless ``named``."""
    if known.unread:
        return f"whether these desktops have a backup could not be read: {known.unread}"
    if not known.desktops:
        return "no desktop loses a copy, so no backup is needed"
    some = f"{known.having} of {known.desktops}" if known.having else f"none of {known.desktops}"
    verb = "have" if known.having > 1 else "has"
    plural = "s"[: known.desktops != 1]
    parts = [f"{some} desktop{plural} {verb} a backup younger than {age_words(known.within)}"]
    if known.oldest:
        parts[0] += f", the oldest of {_moment(known.oldest)}"
    parts += _lacking(known.lacking, named=named)
    if known.undivided:
        whose = f"{known.undivided} desktop{'s'[: known.undivided != 1]}"
        parts.append(f"it is not known which disks the backups of {whose} hold")
    return "; ".join(parts)


def _lacking(desktops: Sequence[Unbacked], *, named: bool) -> Iterator[str]:
    """Those that have only older ones, then those without any."""

    def listed(some: Sequence[Unbacked]) -> str:
        names = [
            (each.desktop_name if named else "") or f"desktop {each.desktop_id}" for each in some[:SHOWN]
        ]
        more = f" and {len(some) - SHOWN} more" if len(some) > SHOWN else ""
        return f"{', '.join(names)}{more} {'has' if len(some) == 1 else 'have'}"

    if late := [each for each in desktops if each.latest]:
        newest = max(each.latest for each in late if each.latest)
        yield f"{listed(late)} only older ones, the newest of {_moment(newest)}"
    if none := [each for each in desktops if not each.latest]:
        yield f"{listed(none)} none"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
