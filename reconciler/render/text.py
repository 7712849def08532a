"""Renders a plan for the console, in Terraform's words, which people and parsers already know.

Each line has a tone; ``cli`` knows whether there is a terminal and chooses the colours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.model import Action
from reconciler.planning.change import Change
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.inconsistent_desktops import InconsistentDesktop
from reconciler.planning.plan import Plan, PoolPlan
from reconciler.render import review, words
from reconciler.render.line import Line, Tone, count

SANDBOX = "sandbox:"
"""How the name of a simulated service begins."""
SHOWN_USERS = 10
"""User names listed per pool before ``and N more``."""
SHOWN_DESKTOPS = 20
"""Inconsistent desktops listed per pool before ``and N more``; the JSON lists all of them."""

_TONES = {
    Action.REMOVE: Tone.DESTROY,
    Action.REPLACE: Tone.DESTROY,
    Action.EXPAND: Tone.CHANGE,
    Action.ADD: Tone.ADD,
    Action.KEEP: Tone.WARN,
}


def plan_lines(plan: Plan) -> Iterator[Line]:
    """The complete plan, also if it is blocked."""
    yield from head_lines(plan)
    changed = [pool for pool in plan.pools if pool.pending]
    if changed:
        yield Line("reconciler will perform the following actions:")
        yield Line()
    target, several = None, review.several(plan)
    for pool in changed:
        if several and pool.target != target:
            yield Line(f"In {review.target_words(pool.target)}:", Tone.STRONG)
            yield Line()
        target = pool.target
        for change in pool.pending:
            yield from _change(pool, change)
        yield from _loss(pool)
    yield from _marked(plan)
    yield from _unmanaged(plan)
    if left := words.left_behind(plan):
        yield Line(f"Note: {left}", Tone.WARN)
        yield Line()
        for pool in plan.pools:
            yield from leftover_lines(pool)
    yield from _inconsistent(plan)
    yield from _findings(plan)
    yield from _failures(plan)
    yield from _ending(plan)


def head_lines(plan: Plan) -> Iterator[Line]:
    """What stands above all output about a plan: whether it is a sandbox, and as whom it was read."""
    yield from banner(service.name for service in plan.services)
    for target in review.targets(plan):
        yield Line(f"Target: {target}.")
    for sentence in words.acting(plan.services):
        yield Line(sentence)
    if partly := review.selected(plan):
        yield Line(partly, Tone.WARN)
    if plan.services:
        yield Line()
    for line in review.lines(plan):
        yield Line(line, Tone.WARN if line.startswith("  !") else Tone.PLAIN)


def banner(services: Iterable[str]) -> Iterator[Line]:
    """The same for services by their names, where there is no plan; nothing when none is a sandbox."""
    names = [name.removeprefix(SANDBOX) for name in dict.fromkeys(services) if name.startswith(SANDBOX)]
    for name in names:
        yield Line(f"SANDBOX ({name}): a simulated service; nothing real is touched.", Tone.WARN)
    if names:
        yield Line()


def drift_line(pool: PoolPlan, change: Change) -> Line:
    """One difference as one line."""
    return Line(
        f"{words.SYMBOLS[change.action]:>3} {words.address(pool, change)}: {_difference(change)}",
        _TONES[change.action],
    )


def _change(pool: PoolPlan, change: Change) -> Iterator[Line]:
    tone = _TONES[change.action]
    symbol = words.SYMBOLS[change.action]
    blocked = "  (blocked, see below)" if pool.blocked else ""
    yield Line(f"  # {words.address(pool, change)} {words.PHRASES[change.action]}{blocked}", Tone.STRONG)
    place = change.desired.at if change.desired else pool.desired.at
    yield Line(f"  # ({words.reason(change)}; {place})", Tone.FAINT)
    if told := words.told(pool, change):
        yield Line(f"  # ({told})", Tone.FAINT)
    name = f' "{change.live.id or "(no id)"}"' if change.live else ""
    yield Line(f"{symbol:>3} disk{name} {{", tone)
    for key, value in _attributes(pool, change):
        yield Line(f"      {symbol:>3} {key:<6} = {value}", tone)
    yield Line("    }", tone)
    yield Line()


def _attributes(pool: PoolPlan, change: Change) -> Iterator[tuple[str, str]]:
    live, wanted = change.live, change.desired
    match change.action:
        case Action.EXPAND if live and wanted:
            yield "size", f"{live.size} -> {wanted.size} GB"
        case Action.REPLACE if live and wanted:
            yield "type", f"{live.type} -> {wanted.type}  # forces replacement: the data is destroyed"
            yield "size", f"{live.size} -> {wanted.size} GB"
        case Action.ADD if wanted:
            yield "type", wanted.type
            yield "size", f"{wanted.size} GB"
        case _ if live:
            yield "type", live.type
            yield "size", f"{live.size} GB"
    loss = words.disk_loss(pool, change)
    if loss:
        yield "copies", f"{loss.copies}, together {loss.gigabytes} GB"
    if backed := words.backed(loss):
        yield "backup", backed
    for note in words.drift_notes(change):
        yield "note", f"{note} (shown only)"


def _loss(pool: PoolPlan) -> Iterator[Line]:
    loss = pool.loss
    if not loss.disks:
        return
    from_where = "up to " if loss.upper_bound else ""
    yield Line(
        f"  {pool.label} loses {count(loss.disks, 'disk')}: {from_where}"
        f"{count(loss.copies, 'copy', 'copies')} on {count(loss.desktops, 'desktop')}, "
        f"{loss.gigabytes} GB, {count(loss.live_sessions, 'connected session')}.",
        Tone.STRONG,
    )
    note = words.reach(pool)
    if note:
        yield Line(f"  {note}", Tone.FAINT)
    if loss.users:
        yield Line(f"  Users: {words.named(loss.users, SHOWN_USERS)}.", Tone.FAINT)
    if loss.groups:
        groups = words.named(loss.groups, len(loss.groups))
        yield Line(f"  User groups, whose members are not known: {groups}.", Tone.FAINT)
    for note in words.particulars(pool):
        yield Line(f"  {note}")
    yield Line()


def _marked(plan: Plan) -> Iterator[Line]:
    """The removals that are only marked, and when each is due."""
    for pool in plan.pools:
        for change in pool.waiting:
            if change.waits and change.live:
                yield Line(f"  # {words.address(pool, change)} {words.waits(change.waits)}", Tone.STRONG)
                yield Line(f"  # ({words.reason(change)}; {pool.desired.at})", Tone.FAINT)
                yield Line(f"      {words.disk_words(change.live)}{words.objection(pool, change)}")
                if told := words.told(pool, change):
                    yield Line(f"      {told}")
                yield Line()


def _unmanaged(plan: Plan) -> Iterator[Line]:
    differing = [pool for pool in plan.pools if words.only_shown(pool)]
    if not differing:
        return
    yield Line("Note: these differences are shown but not carried out (see manage in the manifest):")
    yield Line()
    for pool in differing:
        for change in words.only_shown(pool):
            yield drift_line(pool, change)
        yield Line(f"      {words.way_to_carry_out(pool)}", Tone.FAINT)
    yield Line()


def leftover_lines(pool: PoolPlan) -> Iterator[Line]:
    """The copies that partial removals have left on a pool's desktops, and how to finish them."""
    for each in pool.leftovers:
        left = count(len(each.copies), "copy", "copies")
        yield Line(
            f"  {pool.label}: {left} left by operation {each.operation_id} of {each.opened:%Y-%m-%d %H:%M} UTC",
            Tone.STRONG,
        )
        for copy in each.copies[:SHOWN_DESKTOPS]:
            users = f" ({', '.join(words.names(copy.users))})" if words.names(copy.users) else ""
            volume = f", volume {copy.volume_id}" if copy.volume_id else ""
            name = copy.desktop_name or copy.desktop_id
            yield Line(f"      {name}{users}: a copy of disk {copy.disk_id}{volume}, {copy.size} GB")
        if (more := len(each.copies) - SHOWN_DESKTOPS) > 0:
            yield Line(f"      and {more} more; the JSON output lists all of them")
        if each.unread:
            yield Line(f"      not all could be read: {each.unread}", Tone.WARN)
        yield Line(f"      finish it, or delete them in the console: {words.retry(each)}", Tone.FAINT)
        yield Line()


def _inconsistent(plan: Plan) -> Iterator[Line]:
    sentence = words.inconsistent(plan)
    if not sentence:
        return
    yield Line(f"Note: {sentence}", Tone.WARN if plan.inconsistent_count else Tone.PLAIN)
    yield Line()
    for pool in plan.pools:
        found = pool.inconsistent
        if not (found and found.desktops):
            continue
        yield Line(
            f"  {pool.label}: {count(found.by_number, 'desktop')} with a different number of disks, "
            f"{found.by_size} with a different total size",
            Tone.STRONG,
        )
        for each in found.desktops[:SHOWN_DESKTOPS]:
            users = f" ({', '.join(words.names(each.users))})" if words.names(each.users) else ""
            yield Line(f"      {each.name or each.id}{users}: {'; '.join(_deviations(each))}")
        if (more := len(found.desktops) - SHOWN_DESKTOPS) > 0:
            yield Line(f"      and {more} more; the JSON output lists all of them")
        yield Line()


def _deviations(desktop: InconsistentDesktop) -> Iterator[str]:
    for copy in desktop.left_behind:
        whose = f"disk {copy.disk_id}" if copy.disk_id else "an unknown disk"
        yield f"still has a copy of {whose} ({copy.type} {copy.size} GB), which is not a disk of the pool"
    for disk in desktop.missing:
        yield f"has no copy of disk {disk.id} ({words.disk_words(disk)})"
    for each in desktop.resized:
        yield f"its copy of disk {each.copy.disk_id} has {each.copy.size} GB, the disk of the pool {each.pool_size} GB"
    if not desktop.explained:
        yield "the service counts it as inconsistent, but its copies match the pool"


def _difference(change: Change) -> str:
    live, wanted = change.live, change.desired
    parts = words.drift_notes(change)
    if change.waits:
        parts.append(words.waits(change.waits, who=False))  # also in rounds that are to name nobody
    match change.action:
        case Action.EXPAND if live and wanted:
            parts.insert(0, f"{live.size} GB live, {wanted.size} GB declared")
        case Action.ADD:
            parts.insert(0, "declared, not live")
        case Action.REMOVE if live:
            parts.insert(0, f"{words.disk_words(live)} live, not declared")
        case Action.REPLACE if live and wanted:
            parts.insert(0, f"{words.disk_words(live)} live, {wanted.type} {wanted.size} GB declared")
    return "; ".join(parts)


def _findings(plan: Plan) -> Iterator[Line]:
    for severity, heading, what, tone in (
        (Severity.WARN, "", "warning", Tone.WARN),
        (Severity.BLOCK, "Blocked by ", "finding", Tone.BLOCK),
    ):
        found = [each for each in plan.all_findings if each.severity is severity]
        if not found:
            continue
        yield Line(f"{heading}{count(len(found), what)}:", tone)
        yield Line()
        for each in found:
            yield from finding_lines(each, tone)
        yield Line()
    yield from _tie_candidates(plan)


def finding_lines(finding: Finding, tone: Tone) -> Iterator[Line]:
    """One finding: the rule and the numbers, then where the limit was set and what would allow it."""
    where = f"{finding.pool}: " if finding.pool else ""
    yield Line(f"  ! {finding.rule}: {where}{finding.message}", tone)
    if finding.source:
        yield Line(f"      set at:   {finding.source}", Tone.FAINT)
    if finding.allow:
        yield Line(f"      to allow: {finding.allow}", Tone.FAINT)


def _tie_candidates(plan: Plan) -> Iterator[Line]:
    for pool in plan.pools:
        for tie in pool.ties:
            yield Line(f"  {pool.label}: to keep a disk, replace an entry without an id with its line:")
            for disk in tie.candidates:
                if known := words.known(pool, disk):
                    yield Line(f"      # {known}", Tone.FAINT)
                yield Line(f"      {words.pin(disk)}", Tone.CHANGE)
            yield Line()


def _failures(plan: Plan) -> Iterator[Line]:
    for failure in plan.failures:
        yield Line(f"Target {failure.target} could not be planned: {failure.message}", Tone.BLOCK)
        if failure.hint:
            yield Line(f"      {failure.hint}", Tone.FAINT)
        yield Line()


def _ending(plan: Plan) -> Iterator[Line]:
    calm = not (plan.has_changes or plan.blocked or plan.failures)
    yield Line(words.headline(plan), Tone.ADD if calm else Tone.STRONG)
    if waiting := words.marked(plan):
        yield Line(waiting, Tone.WARN)
    if held := words.held_back(plan):
        yield Line(held, Tone.BLOCK)
    if not plan.has_changes:
        return
    yield Line(f"Digest: {plan.digest}", Tone.FAINT)
    if plan.policy:
        yield Line(words.policy_words(plan.policy), Tone.FAINT)
    destroyed = words.destruction(plan)
    if destroyed:
        yield Line()
        yield Line(destroyed, Tone.DESTROY)
