"""The sentences that all formats of a plan share, so that every output says the same.

The format modules decide where a sentence goes and how it is escaped.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from reconciler.model import Action, ApplyTo, DesiredDisk, Disk, KnownBackup, Notice, Policy, Pool
from reconciler.planning.anonymous import Unnamed
from reconciler.planning.backups import backup_words
from reconciler.planning.change import Change, Heard, Told, Waits
from reconciler.planning.leftovers import Leftovers
from reconciler.planning.permissions import grace_words
from reconciler.planning.plan import DiskLoss, Plan, PoolPlan, Service, Totals, totals
from reconciler.render.line import count

SYMBOLS = {Action.KEEP: " ", Action.REMOVE: "-", Action.EXPAND: "~", Action.ADD: "+", Action.REPLACE: "-/+"}
PHRASES = {
    Action.KEEP: "will not be changed",
    Action.REMOVE: "will be destroyed",
    Action.EXPAND: "will be updated in-place",
    Action.ADD: "will be created",
    Action.REPLACE: "must be replaced",
}
REASONS = {
    "PINNED": "the manifest pins this disk",
    "EQUAL": "the manifest declares it",
    "GROWN": "the manifest declares a larger size; the data stays",
    "SWAPPED": "it matches no declared disk, and a declared disk is missing",
    "SURPLUS": "no declared disk needs it",
    "MISSING": "declared, but the pool does not have it",
    "LEFT_BEHIND": "an earlier removal, done only in part, has left copies of it",
    "SET_ASIDE": "set aside: the service's answer about it cannot be trusted",
}


_SHOWN = {
    Action.REMOVE: "to remove",
    Action.REPLACE: "to replace",
    Action.EXPAND: "to expand",
    Action.ADD: "to add",
    Action.KEEP: "with other attributes than declared",
}
_MANAGEABLE = (Action.REMOVE, Action.EXPAND, Action.ADD)


Side = Disk | DesiredDisk
"""A disk before or after its change: as it is, or as it is declared."""


def acting(services: Sequence[Service]) -> list[str]:
    """As whom the targets were read, one sentence for each identity; says which targets where there are several."""
    targets: dict[str, list[str]] = {}
    for each in services:
        if each.whom:
            targets.setdefault(str(each.whom), []).append(str(each.target))
    several = len(targets) > 1
    return [
        f"Acting as {whom}" + (f", in {', '.join(where)}." if several else ".")
        for whom, where in targets.items()
    ]


def summary(totals: Totals) -> str:
    """Terraform's summary line, which parsers look for."""
    return f"Plan: {totals.add} to add, {totals.change} to change, {totals.destroy} to destroy."


def headline(plan: Plan) -> str:
    """The plan in one line: Terraform's totals, or that there is nothing to do."""
    if plan.has_changes or any(pool.waiting for pool in plan.pools):
        return summary(plan.totals)
    if plan.blocked or plan.failures:
        return "No action is planned, but not everything could be decided."
    if shown := [change for pool in plan.pools for change in only_shown(pool)]:
        verb = count(len(shown), "difference is", "differences are")
        return f"No changes to carry out. {verb} only shown: {_shown_words(shown)}."
    checked = f"{count(len(plan.pools), 'pool')} checked."
    if left := left_behind(plan):
        return f"No changes to carry out. {left}"
    if plan.inconsistent_count:
        return f"No changes to carry out. {checked}"
    return f"No changes. Your infrastructure matches the configuration. {checked}"  # Terraform's, for parsers


def only_shown(pool: PoolPlan) -> tuple[Change, ...]:
    """The differences of a pool that apply does not carry out."""
    return tuple(change for change in pool.drift if not (change.carried_out or change.waits))


def waits(found: Waits, *, who: bool = True) -> str:
    """When a disk that is only marked goes, why not now, and who lets it wait longer."""
    grace = f"grace {grace_words(found.grace)}" if found.grace else "no grace"
    if found.since is None or found.due is None:
        return f"will be destroyed once it has been marked for its grace ({grace}; not marked yet)"
    extended = f"; extended{f' by {found.extended_by}' if who else ''}" if found.extended_by else ""
    return (
        f"will be destroyed after {found.due:%Y-%m-%d %H:%M} UTC "
        f"(surplus since {found.since:%Y-%m-%d}; {grace}{extended})"
    )


def told(pool: PoolPlan, change: Change) -> str:
    """What the people of the pool have been notified of a disk that goes; empty where nobody is to be notified."""
    if not change.live or not (change.waits or change.destroys):
        return ""
    if not change.told:
        return "its people are not notified yet" if pool.desired.announce else ""
    return "; ".join(map(_told, change.told))


def _told(message: Told) -> str:
    what = "reminder" if message.notice is Notice.REMINDER else "announcement"
    at = f"{message.at:%Y-%m-%d %H:%M} UTC"
    match message.heard:
        case Heard.ACCEPTED:
            return f"{'reminded' if message.notice is Notice.REMINDER else 'announced'} {at}"
        case Heard.REFUSED:
            return f"{what} of {at} not accepted ({message.why})"
        case Heard.UNKNOWN:
            return f"not known whether the {what} of {at} arrived ({message.why}); it is not repeated"


def objection(pool: PoolPlan, change: Change) -> str:
    """The command with which a person lets a marked disk wait longer; empty while it is not marked."""
    if not (change.live and change.waits and change.waits.since):
        return ""
    disk = shlex.quote(f"{pool.label}/{change.live.id}")
    return f"; to object: reconciler marks extend {disk} --until DATE"


def marked(plan: Plan) -> str:
    """How many disks are only marked, and when the first of them goes; empty when there is none."""
    found = [change.waits for pool in plan.pools for change in pool.waiting if change.waits]
    dues = [each.due for each in found if each.due]
    fresh = len(found) - len(dues)
    parts = [f"{count(len(dues), 'disk')}, the first due {min(dues):%Y-%m-%d %H:%M} UTC"] if dues else []
    if fresh:
        parts.append(f"{count(fresh, 'disk')} when apply next runs; grace begins then")
    return f"Marked: {'; '.join(parts)}." if parts else ""


def way_to_carry_out(pool: PoolPlan) -> str:
    """The manifest line with which apply would carry out what is only shown; empty if nothing is only shown."""
    if line := manage_line(pool):
        return f"to carry it out, write {line} into the entry at {pool.desired.at}"
    if only_shown(pool):
        return "nothing carries this out: attributes other than type and size are only compared"
    return ""


def manage_line(pool: PoolPlan) -> str:
    """The line with which the pool manages what is only shown; empty where no line can."""
    wanted = {change.action for change in only_shown(pool)} - {Action.KEEP}
    if not wanted:
        return ""
    if Action.REPLACE in wanted:  # remove, then add
        wanted |= {Action.REMOVE, Action.ADD}
    return f"manage: [{', '.join(each for each in _MANAGEABLE if each in wanted | pool.desired.manage)}]"


def _shown_words(shown: Sequence[Change]) -> str:
    numbers = Counter(change.action for change in shown)
    return ", ".join(
        f"{count(numbers[action], 'disk')} {what}" for action, what in _SHOWN.items() if numbers[action]
    )


def inconsistent(plan: Plan) -> str:
    """The number of inconsistent desktops in one sentence; empty if they were not read."""
    found = [pool.inconsistent for pool in plan.pools if pool.inconsistent]
    if not found:
        return ""
    if not plan.inconsistent_count:
        return f"Every desktop of {count(len(found), 'pool')} has the disks of its pool."
    pools = sum(bool(each.desktops) for each in found)
    differ = "differs from its pool" if plan.inconsistent_count == 1 else "differ from their pools"
    return (
        f"{count(plan.inconsistent_count, 'desktop')} in {count(pools, 'pool')} {differ}; "
        "this is only reported, reconciler does not change it."
    )


def left_behind(plan: Plan) -> str:
    """What partial removals have left on desktops, in one sentence; empty when nothing may be left."""
    removals = [each for pool in plan.pools for each in pool.leftovers]
    removed = count(len(removals), "removal that was", "removals that were")
    if plan.leftover_copies:
        desktops = {copy.desktop_id for each in removals for copy in each.copies}
        verb = "copy is" if plan.leftover_copies == 1 else "copies are"
        least = "At least " if plan.leftovers_unread else ""
        where = count(len(desktops), "desktop")
        return f"{least}{plan.leftover_copies} {verb} left on {where} by {removed} done only in part."
    if plan.leftovers_unread:
        return f"It could not be read whether copies are left by {removed} done only in part."
    return ""


def retry(found: Leftovers) -> str:
    """The command with which the service finishes a removal that was done in part."""
    return f"reconciler retry {found.operation_id}"


def blocked(plan: Plan) -> str:
    """Whether findings block the whole plan or some of its pools, in one sentence; empty if nothing is blocked."""
    if plan.run_blocked:
        return "Blocked: nothing can be applied until this is resolved."
    number = sum(pool.blocked for pool in plan.pools)
    if not number:
        return ""
    return f"{count(number, 'pool is', 'pools are')} blocked and will not be changed."


def held_back(plan: Plan) -> str:
    """What the blocked pools would do if nothing blocked them; empty when that is nothing."""
    held, pools = plan.blocked_totals, [pool for pool in plan.pools if pool.blocked]
    parts = [
        f"{count(number, 'disk')} that {what}"
        for number, what in (
            (held.destroy, "would be destroyed"),
            (held.undecided, "must go while nobody has chosen which"),
            (held.change, "would be expanded"),
            (held.add, "would be created"),
        )
        if number
    ]
    holding = sum(bool(pool.pending or pool.ties) for pool in pools)
    return f"Blocked: {count(holding, 'pool')}, {', '.join(parts)}." if parts else ""


APPLY = "reconciler apply PATH…"


def approval(plan: Plan, apply: str = APPLY) -> str:
    """The command that applies exactly what was reviewed, from how it begins: with its paths."""
    # Limits from flags are part of the digest, so the command must repeat them.
    flags = [
        f" {limit.source} {limit.value}" for _, limit in plan.limits.items() if limit.source.startswith("--")
    ]
    return f"{apply}{''.join(flags)} --approve {plan.digest}"


def policy_words(policy: Policy) -> str:
    """Which policy a plan was judged by, and how many people it asks for, in one sentence."""
    signed = policy.approvals
    people = f"; a removal needs approvals signed by {signed.required}" if signed else ""
    return f"Policy: {policy.file} (sha256 {policy.digest}){people}."


def destruction(plan: Plan) -> str:
    """What would be permanently lost, in plain words; empty if nothing would be."""
    lost = plan.totals
    if not lost.destroy:
        return ""
    return f"This destroys {count(lost.destroy, 'disk')} for good: {loss_words(lost)}. {_restoring(plan)}"


def _restoring(plan: Plan) -> str:
    """What could bring the data back: nothing, unless backups are known. No document says what one restores."""
    copies = [
        copy for pool in plan.pools if not pool.blocked for loss in pool.disk_losses for copy in loss.lost
    ]
    known = [copy for copy in copies if copy.backups]
    if not known:
        return "Nobody can restore that data."
    newest = {copy.backups[0] for copy in known}
    oldest = min(newest, key=lambda each: (each.at, each.id))
    which = f"{oldest.id} of {made(oldest)}"
    has = f"backup {which}" if len(newest) == 1 else f"{len(newest)} backups, the oldest {which}"
    said = (
        f"Of these desktops the backup service has {has}; whether a destroyed disk can be restored from a backup is "
        "not documented."
    )
    if without := len(copies) - len(known):
        rest = f"Of {count(without, 'other copy', 'other copies')} no backup is known: nobody can restore that data."
        return f"{said} {rest}"
    return said


def made(backup: KnownBackup) -> str:
    """When a backup was made: ``2026-11-25 22:10 UTC``."""
    return f"{backup.at[:16].replace('T', ' ')} UTC"


def backed(loss: DiskLoss | None) -> str:
    """How many desktops that lose a copy of a disk have a backup; empty where none is asked for."""
    return backup_words(loss.backups) if loss and loss.backups else ""


def loss_words(lost: Totals) -> str:
    """Copies, desktops, GB and users, with a note if this is the worst case."""
    worst = " (the worst case: the service decides which desktops are changed)" if lost.upper_bound else ""
    # Apart from the people: a desktop can be connected by somebody who is not bound to it, or by nobody known.
    connected = f"; {count(lost.live_sessions, 'desktop')} with a connected session right now"
    return f"{amounts(lost)} affected{connected if lost.live_sessions else ''}{worst}"


def amounts(lost: Totals) -> str:
    """``up to 12 copies on 6 desktops, 1200 GB, 5 users``; at least so many users where groups are attached."""
    bound = "up to " if lost.upper_bound else ""
    people = count(lost.users, "user")
    if lost.groups:
        people = f"at least {people} and {count(lost.groups, 'user group')}"
    return (
        f"{bound}{count(lost.copies, 'copy', 'copies')} on {count(lost.desktops, 'desktop')}, "
        f"{lost.gigabytes} GB, {people}"
    )


def address(pool: PoolPlan, change: Change) -> str:
    """``pool name/disk id``; type and size for a disk that does not exist yet."""
    if change.live:
        return f"{pool.label}/{change.live.id or '(no id)'}"
    wanted = change.desired
    return f"{pool.label}/({wanted.type} {wanted.size} GB)" if wanted else f"{pool.label}/?"


def pool_summary(pool: PoolPlan) -> str:
    """What happens to one pool and what it loses; contains no names."""
    counts = totals([pool])
    parts = [
        f"{number} to {verb}"
        for number, verb in ((counts.destroy, "destroy"), (counts.change, "expand"), (counts.add, "add"))
        if number
    ]
    if pool.waiting:
        parts.append(f"{len(pool.waiting)} marked")
    parts = parts or ["nothing to carry out"]
    if counts.destroy:
        parts.append(f"loses {amounts(counts)}")
    if pool.blocked:
        parts.append("blocked")
    return ", ".join(parts)


def sides(change: Change) -> tuple[Side | None, Side | None]:
    """The disk before and after the change; None if it does not exist then."""
    live, wanted = change.live, change.desired
    # What this plan only marks stays as it is.
    if change.waits or change.action is Action.KEEP:
        return live, live
    return live, None if change.action is Action.REMOVE else wanted


def disk_loss(pool: PoolPlan, change: Change) -> DiskLoss | None:
    """What is lost with this disk; None if the change destroys nothing."""
    if not (change.destroys and change.live):
        return None
    return next((each for each in pool.disk_losses if each.disk_id == change.live.id), None)


def reach(pool: PoolPlan) -> str:
    """Why the numbers of a loss are the worst case; empty if they are exact."""
    if not (pool.loss.disks and pool.loss.upper_bound):
        return ""
    if pool.desired.apply_to is ApplyTo.IDLE:
        return "apply_to is idle; the service does not define idle, so every desktop is counted."
    return "apply_to is not set, so every desktop is counted."


DYNAMIC = "DYNAMIC"
"""A pool whose desktops belong to nobody between two sessions (documented)."""


def particulars(pool: PoolPlan) -> Iterator[str]:
    """What of a pool and of its desktops matters to whom approves a loss; nothing where nothing is lost."""
    loss, live = pool.loss, pool.live
    if not loss.disks or live is None:
        return
    if live.type == DYNAMIC:
        yield "This pool is dynamic: its desktops are unbound after use, so data of others may be on them."
    yield from pool_particulars(live)
    for number, what in (
        (loss.maintained, "in maintenance mode, so that its users cannot connect"),
        (loss.isolated, "isolated by the pool's own repair"),
        (loss.frozen, "frozen, so that the service may not change it"),
    ):
        if number:
            yield f"{count(number, 'desktop')} that would lose a copy: {what}."


def pool_particulars(live: Pool) -> Iterator[str]:
    """What sets the pool itself apart."""
    if live.autoscale:
        yield "This pool scales by itself: desktops may come and go while disks are changed."
    if live.in_maintenance_mode:
        yield "This pool is in maintenance mode: its users cannot connect."


def settled(pool: PoolPlan) -> Iterator[Change]:
    """The decided changes, one per disk; ``candidates`` has the undecided disks."""
    undecided = {disk.id for disk in candidates(pool)}
    for change in pool.changes:
        if not (change.live and change.live.id in undecided):
            yield change


def candidates(pool: PoolPlan) -> Iterator[Disk]:
    """The disks of ties, between which the plan does not choose."""
    for tie in pool.ties:
        yield from tie.candidates


def known(pool: PoolPlan, disk: Disk) -> str:
    """Facts that help to choose between the disks of a tie; empty if the desktops were not read."""
    found = next((each for each in pool.candidates if each.disk_id == disk.id), None)
    if found is None:
        return ""
    created = f"created {found.created:%Y-%m-%d %H:%M} UTC" if found.created else "creation time unknown"
    return (
        f"{count(found.copies, 'copy', 'copies')} on {count(found.desktops, 'desktop')}, "
        f"{count(len(found.users), 'user')}, {created}"
    )


def names(people: Sequence[str]) -> list[str]:
    """The names to show; none where they were left out."""
    return [] if isinstance(people, Unnamed) else list(people)


def named(people: Sequence[str], most: int, form: Callable[[str], str] = str) -> str:
    """At most so many names and how many more, or how many people where their names were left out."""
    if isinstance(people, Unnamed):
        return str(len(people))
    more = len(people) - most
    return ", ".join(form(each) for each in people[:most]) + (f" and {more} more" if more > 0 else "")


def pin(disk: Disk) -> str:
    """The manifest line that pins this disk."""
    return f"- {{id: {disk.id}, type: {disk.type}, size: {disk.size}}}"


def shortened(text: str, most: int) -> str:
    """At most ``most`` characters, and the number of characters left out."""
    if len(text) <= most:
        return text
    return f"{text[:most]}… ({len(text) - most} more characters)"


def disk_words(disk: Side) -> str:
    """``SSD 100 GB``."""
    return f"{disk.type} {disk.size} GB"


def reason(change: Change) -> str:
    """Why this change is planned, for people."""
    return REASONS[change.rule.name]


def drift_notes(change: Change) -> list[str]:
    """Declared attributes that differ: ``iops: 3000 declared, 1000 live``."""
    if not (change.live and change.desired):
        return []
    return [
        f"{name}: {getattr(change.desired, name)} declared, {_or_none(getattr(change.live, name))} live"
        for name in change.differs
    ]


def _or_none(value: object) -> str:
    return "none" if value is None else str(value)
