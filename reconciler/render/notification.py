"""Renders what happened as notifications: one for everybody, and one for each owner of pools about those alone.

A message for an owner is made from the owner's pools and from nothing else: what concerns no single pool (an error
of the run, totals, the command that approves everything) is only in that for everybody. Names pools, never the
people on them. Delivery is left to ``notify``, when to send to ``cli``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from reconciler.apply.results import ApplyReport, DriftReport, DriftRound, PoolResult, Status, live_pool
from reconciler.errors import ExitCode, ReconcilerError
from reconciler.journal.records import Approved
from reconciler.model import DesiredPool, Target
from reconciler.planning.drift import is_being_changed
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.plan import Plan, PoolPlan, totals
from reconciler.render import words
from reconciler.render.apply_report import headline as apply_headline
from reconciler.render.drift_report import counts, headline, sum_words
from reconciler.render.line import count
from reconciler.render.message import EVERYBODY, Compose, Level, Message
from reconciler.safe_text import safe_text
from reconciler.values import Struct, field

FORMAT_VERSION = "1.1"
MOST_POOLS = 20
"""How many pools a text names; programs get as many."""

_OF_STATUS = {
    Status.DONE: Level.SUCCESS,
    **dict.fromkeys((Status.NOT_STARTED, Status.RUNNING, Status.ACCEPTED), Level.INFO),
    **dict.fromkeys((Status.HELD, Status.STALE, Status.REFUSED, Status.INTERRUPTED), Level.WARNING),
}
"""Every other status is a failure."""
_WARNING_CODES = (
    *(ExitCode.CHANGES, ExitCode.REFUSED, ExitCode.STALE, ExitCode.HELD),
    *(ExitCode.INTERRUPTED, ExitCode.TERMINATED),
)
_OF_CODE = {
    ExitCode.DONE: Level.SUCCESS,
    ExitCode.RUNNING: Level.INFO,
    **dict.fromkeys(_WARNING_CODES, Level.WARNING),
}
"""Every other exit code is a failure."""


class Source(Struct, frozen=True):
    """Where a message comes from, for who wants to see more; empty where nothing says so."""

    command: str
    actor: str = ""
    """Who started it."""
    commit: str = ""
    pull_request: str = ""
    """Its address, or its number."""
    run: str = ""
    """The address of the run of a CI, or the pod."""
    approval: str = ""
    """The command that approves what waits."""


class _Part(Struct, frozen=True):
    """What there is to say of one pool."""

    target: Target
    pool: str
    pool_id: str
    owner: str
    level: Level
    text: str
    numbers: Mapping[str, int | str] = field(default_factory=dict)


class _Story(Struct, frozen=True):
    """A message before it is written down."""

    source: Source
    headline: str
    level: Level
    targets: tuple[Target, ...]
    parts: tuple[_Part, ...]
    owner: str = EVERYBODY
    sandbox: bool = False
    run_id: str | None = None
    approved: Approved | None = None
    without_a_person: bool = False
    """True: what was done was allowed by the manifests' drift policies."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What only this kind of message has."""


def worst_of(levels: Iterable[Level]) -> Level:
    """The worst of them; SUCCESS when there is none."""
    found = set(levels)
    return next((each for each in reversed(Level) if each in found), Level.SUCCESS)


def of_exit_code(code: ExitCode) -> Level:
    """How bad a run is that ended with this code."""
    return _OF_CODE.get(code, Level.FAILURE)


# --- a plan that waits for approval --------------------------------------------------------------


def plan_message(plan: Plan, source: Source) -> Compose:
    """What would be done once somebody approves it."""

    def compose(owner: str) -> Message | None:
        pools = [pool for pool in plan.pools if owner in (EVERYBODY, pool.desired.owner)]
        ready = [pool for pool in pools if pool.pending and not pool.blocked]
        if not ready:
            return None
        total = totals([pool for pool in pools if not pool.blocked])
        lost = f" This destroys {count(total.destroy, 'disk')} for good: {words.amounts(total)}."
        return _written(
            _Story(
                source,
                f"A plan waits for approval. {words.summary(total)}{lost if total.destroy else ''}",
                Level.WARNING if total.destroy else Level.INFO,
                _targets(pools),
                tuple(map(_planned, ready)),
                owner,
                plan.sandbox,
                values={"summary": _amounts(pools), "digest": None if owner else plan.digest},
            )
        )

    return compose


def _planned(pool: PoolPlan) -> _Part:
    level = Level.WARNING if pool.removed else Level.INFO
    return _part(pool, level, words.pool_summary(pool), _amounts([pool]))


def _amounts(pools: Sequence[PoolPlan]) -> dict[str, int]:
    found = totals([pool for pool in pools if not pool.blocked])
    names = ("destroy", "change", "add", "copies", "desktops", "gigabytes", "users")
    marked = sum(len(pool.waiting) for pool in pools)
    return {name: getattr(found, name) for name in names} | {"marked": marked}


# --- an apply that has ended ---------------------------------------------------------------------


def apply_message(
    report: ApplyReport | None,
    error: ReconcilerError | None,
    pools: Sequence[DesiredPool],
    source: Source,
    stopped: Plan | None = None,
) -> Compose:
    """What was done, and what was not; ``report`` is None when the run ended with an error before that.

    ``stopped``: the plan of a run that was refused as a whole, so that the owners of its pools hear of it too.
    """
    owners = Owners(pools)
    parts = tuple(_applied(report, owners)) if report else tuple(_stopped(stopped)) if stopped else ()
    plan = report.plan if report else stopped

    def compose(owner: str) -> Message | None:
        own = _owned(parts, owner)
        if owner and not own:
            return None
        if report and not owner:
            code = report.exit_code
            text, level = apply_headline(report), of_exit_code(code)
        elif owner:
            code, level = None, worst_of(each.level for each in own)
            text = f"{count(len(own), 'pool')} of {owner}: {_statuses(own)}."
        else:
            code = error.exit_code if error else ExitCode.ERROR
            text, level = f"Nothing was applied: {error.message if error else ''}", of_exit_code(code)
        return _written(
            _Story(
                source,
                text,
                level,
                tuple(sorted({each.target for each in own})) or _targets(pools if not owner else ()),
                own,
                owner,
                bool(plan and plan.sandbox),
                report.run_id if report else None,
                report.approved if report else None,
                values={"exit_code": None if code is None else int(code), "summary": _done(own)},
            )
        )

    return compose


def _statuses(parts: Sequence[_Part]) -> str:
    found = [str(each.numbers["status"]) for each in parts]
    return ", ".join(f"{found.count(each)} {each}" for each in dict.fromkeys(found))


def _done(parts: Sequence[_Part]) -> dict[str, int]:
    return {name: sum(int(each.numbers.get(name, 0)) for each in parts) for name in ("done", "planned")}


def _applied(report: ApplyReport, owners: Owners) -> Iterator[_Part]:
    planned = {live_pool(pool): pool for pool in report.plan.pools} if report.plan else {}
    for each in report.results:
        yield _ended(each, planned.get(each.key), owners)
    seen = {each.key for each in report.results}
    for found in report.resolutions:
        key = found.operation.intent.pool
        target = next((one for one in owners.targets if str(one) == key.target), None)
        if target is None or (target, key.pool_id) in seen:
            continue
        status = found.result.status
        verb = "resolved" if found.resolved else "still open"
        name = found.operation.intent.pool_name
        yield _Part(
            target,
            name,
            key.pool_id,
            owners.of(target, key.pool_id, name),
            _OF_STATUS.get(status, Level.FAILURE),
            f"an operation of an earlier run is {verb}: {status.value}",
            {"status": status.value},
        )
    for pool in report.plan.pools if report.plan and not report.results else ():
        if pool.blocked:
            yield _part(pool, Level.WARNING, _blocked(pool), {"status": "blocked"})


def _stopped(plan: Plan) -> Iterator[_Part]:
    """The pools that stay as they are because the run was refused as a whole; by rules, not by others' numbers."""
    rules = ", ".join(_blocking(plan.findings))
    why = f"not applied: the run is stopped by {rules}" if rules else "not applied: the run was refused"
    for pool in plan.pools:
        if pool.blocked or pool.pending:
            text = _blocked(pool) if pool.blocked else f"{why}; {words.pool_summary(pool)}"
            yield _part(pool, Level.WARNING, text, {"status": "blocked", **_amounts([pool])})


def _ended(result: PoolResult, pool: PoolPlan | None, owners: Owners) -> _Part:
    numbers: dict[str, int | str] = {
        "status": result.status.value,
        "done": result.done,
        "planned": result.planned,
    }
    text = f"{result.status.value}, {result.done} of {count(result.planned, 'change')} done"
    if pool and pool.loss.disks and not pool.blocked:
        lost = totals([pool])
        text += f"; planned to destroy {count(lost.destroy, 'disk')}: {words.amounts(lost)}"
        numbers |= _amounts([pool])
    if pool and pool.blocked:
        text = f"{result.status.value}; {_blocked(pool)}"
    return _Part(
        result.target,
        result.pool,
        result.pool_id,
        owners.of(result.target, result.pool_id, result.pool),
        _OF_STATUS.get(result.status, Level.FAILURE),
        text,
        numbers,
    )


def _blocked(pool: PoolPlan) -> str:
    """By which rules; their messages may name people."""
    return f"blocked by {', '.join(_blocking(pool.findings))}"


def _blocking(findings: Iterable[Finding]) -> list[str]:
    return sorted({each.rule for each in findings if each.severity is Severity.BLOCK})


class Owners:
    """Whose each declared pool is, also where it is known by its live name or id alone."""

    def __init__(self, pools: Sequence[DesiredPool]) -> None:
        self.targets = _targets(pools)
        self._of = {
            (each.target, name): each.owner for each in pools for name in (each.name, each.id) if name
        }

    def of(self, target: Target, pool_id: str, name: str) -> str:
        """The owner; empty for a pool that has none."""
        return self._of.get((target, pool_id)) or self._of.get((target, name), "")


# --- a round of drift ----------------------------------------------------------------------------


def drift_message(outcome: DriftRound, source: Source) -> Compose:
    """How far the pools are from their manifests, and what was corrected."""

    def compose(owner: str) -> Message | None:
        report = outcome.report
        if owner and not (report and any(pool.desired.owner == owner for pool in report.plan.pools)):
            return None
        parts = drift_parts(outcome, owner)
        common: dict[str, Any] = {"started": outcome.started.isoformat()}
        pools = (
            [pool for pool in report.plan.pools if owner in (EVERYBODY, pool.desired.owner)] if report else []
        )
        if owner:
            text, level = _own_drift(report, parts, owner)
        else:
            text, level = headline(outcome), of_exit_code(outcome.exit_code)
            level = Level.FAILURE if outcome.alarms else level
            drifting = [each.pool.label for each in outcome.drifting]
            common |= {
                "exit_code": int(outcome.exit_code),
                "summary": counts(outcome),
                "pools": drifting[:MOST_POOLS],
                "unresolved_operations": report.unresolved if report else None,
                "open_alarms": len(outcome.alarms),
            }
        acted = bool(report and report.applied and report.applied.results and any(map(_corrected, parts)))
        return _written(
            _Story(
                source,
                text,
                level,
                _targets(pools) or tuple(each.target for each in outcome.sights if not owner),
                parts,
                owner,
                bool(report and report.plan.sandbox),
                report.run_id if report else None,
                without_a_person=acted,
                values=common,
            )
        )

    return compose


def drift_parts(outcome: DriftRound, owner: str = EVERYBODY) -> tuple[_Part, ...]:
    """What there is to say of each pool, or of each pool of an owner; of a calm pool nothing."""
    report = outcome.report
    if report is None:
        return ()
    alarmed = {(each.pool.target, each.pool.pool_id) for each in outcome.alarms}
    results = {each.key: each for each in report.applied.results} if report.applied else {}
    measures = {each.pool.desired: each for each in report.measures}
    due = [each.pool.desired for each in report.became_due]
    failed = {each.target for each in report.plan.failures}
    found: list[_Part] = []
    for pool in report.plan.pools:
        texts: list[str] = []
        levels: list[Level] = []
        numbers: dict[str, int | str] = {}
        measure = measures.get(pool.desired)
        if measure and measure.drifts:
            texts.append(sum_words([measure]))
            levels.append(Level.WARNING)
            numbers |= {
                "surplus_disks": measure.surplus,
                "missing_disks": measure.missing,
                "differing_disks": measure.differing,
                "surplus_gigabytes": measure.surplus_gb,
                "leftover_copies": measure.leftover_copies,
            }
        if (key := live_pool(pool)) and (result := results.get(key)):
            texts.append(f"correction {result.status.value}: {result.done} of {result.planned} done")
            levels[:] = [_OF_STATUS.get(result.status, Level.FAILURE)]
            numbers |= {"correction": result.status.value, "done": result.done, "planned": result.planned}
        elif pool.blocked:
            texts.append(_blocked(pool))
            levels.append(Level.WARNING)
        elif report.error and pool.pending and (rules := _blocking(report.plan.findings)):
            texts.append(f"not corrected: the run is stopped by {', '.join(rules)}")
            levels.append(Level.WARNING)
        if pool.waiting:
            numbers["marked"] = len(pool.waiting)
        if became := due.count(pool.desired):
            texts.append(f"{count(became, 'disk has', 'disks have')} become due")
            levels.append(Level.INFO)
        if pool.live and (str(pool.target), pool.live.id) in alarmed:
            texts.append("ALARM: the pool is left alone until a person has looked at it")
            levels.append(Level.FAILURE)
        if pool.target in failed:
            texts.append("its target could not be read")
            levels.append(Level.FAILURE)
        if texts and owner in (EVERYBODY, pool.desired.owner):
            found.append(_part(pool, worst_of(levels), "; ".join(texts), numbers))
    return tuple(found)


def changing(outcome: DriftRound, owner: str) -> bool:
    """Whether a run was changing a pool of this owner, so that nothing can be said of it."""
    pools = outcome.report.plan.pools if outcome.report else ()
    return any(is_being_changed(pool) for pool in pools if pool.desired.owner == owner)


def _own_drift(report: DriftReport | None, parts: Sequence[_Part], owner: str) -> tuple[str, Level]:
    pools = report.plan.pools if report else ()
    mine = count(sum(pool.desired.owner == owner for pool in pools), "pool")
    if not parts:
        return f"No drift in {mine} of {owner}.", Level.SUCCESS
    verb = "needs" if len(parts) == 1 else "need"
    return f"{len(parts)} of {mine} of {owner} {verb} attention.", worst_of(each.level for each in parts)


def _corrected(part: _Part) -> bool:
    return "correction" in part.numbers


# --- writing it down -----------------------------------------------------------------------------


def _part(pool: PoolPlan, level: Level, text: str, numbers: Mapping[str, int | str]) -> _Part:
    live_id = pool.live.id if pool.live else ""
    return _Part(pool.target, pool.label, live_id, pool.desired.owner, level, text, numbers)


def _owned(parts: Sequence[_Part], owner: str) -> tuple[_Part, ...]:
    return tuple(each for each in parts if owner in (EVERYBODY, each.owner))


def _targets(pools: Iterable[PoolPlan | DesiredPool]) -> tuple[Target, ...]:
    return tuple(sorted({pool.target for pool in pools}))


def _written(story: _Story) -> Message:
    shown = story.parts[:MOST_POOLS]
    more = len(story.parts) - len(shown)
    for_owner = f" ({story.owner})" if story.owner else ""
    title = f"reconciler {story.source.command}: {story.level.value}{for_owner}"
    title = f"{'SANDBOX: ' if story.sandbox else ''}{title}"
    facts = list(_facts(story))
    where = [f"Region {each.region}, project {each.project_id}." for each in story.targets]
    rest = [f"and {more} more"] if more else []
    lines = [story.headline, *where, *(f"- {each.pool}: {each.text}" for each in shown), *rest]
    lines += [f"{name}: {value}" for name, value in facts]
    return Message(
        title,
        "\n".join(lines),
        _markdown(story, shown, where, rest),
        _values(story, shown, title),
        story.level,
    )


def _facts(story: _Story) -> Iterator[tuple[str, str]]:
    """Who, how, and where to see more."""
    source = story.source
    if story.approved:
        by = f" by {', '.join(story.approved.principals)}" if story.approved.principals else ""
        yield "Approved", f"{story.approved.way.value}{by}"
    elif story.without_a_person:
        yield "Approved", "by the drift policy of the manifests"
    for name, value in (
        ("Started by", source.actor),
        ("Commit", source.commit),
        ("Pull request", source.pull_request),
        ("Run", source.run),
        ("Journal", f"reconciler history show {story.run_id}" if story.run_id else ""),
        ("To approve", "" if story.owner else source.approval),
    ):
        if value:
            yield name, value


def _markdown(story: _Story, shown: Sequence[_Part], where: Sequence[str], rest: Sequence[str]) -> str:
    from reconciler.render.markdown import code, prose  # noqa: PLC0415 - only for services that take it

    pools = [f"- {code(each.pool)}: {prose(each.text)}" for each in shown]
    facts = [f"- {name}: {_linked(value)}" for name, value in _facts(story)]
    blocks = ["\n\n".join([f"**{prose(story.headline)}**", *map(prose, where)])]
    blocks += ["\n".join([*pools, *rest])] if pools else []
    blocks += ["\n".join(facts)] if facts else []
    return "\n\n".join(blocks)


def _linked(value: str) -> str:
    """An address as a link, anything else as code: a name may mean something in Markdown."""
    from reconciler.render.markdown import code  # noqa: PLC0415 - as above

    plain = safe_text(value)
    is_link = plain.startswith(("https://", "http://")) and not set(plain) & set(" <>`\"'()[]\\|@")
    return f"<{plain}>" if is_link else code(plain, len(plain))


def _values(story: _Story, shown: Sequence[_Part], title: str) -> dict[str, Any]:
    source, approved = story.source, story.approved
    way = "drift-policy" if story.without_a_person else None
    return {
        "format_version": FORMAT_VERSION,
        "source": "reconciler",
        "command": source.command,
        "severity": story.level.value,
        "title": title,
        "text": story.headline,
        "owner": story.owner or None,
        "run": story.run_id,
        "sandbox": story.sandbox,
        "targets": [{"region": each.region, "project_id": each.project_id} for each in story.targets],
        "approved": approved.way.value if approved else way,
        "approved_by": list(approved.principals) if approved else [],
        "started_by": source.actor or None,
        "commit": source.commit or None,
        "pull_request": source.pull_request or None,
        "run_url": source.run or None,
        "approval_command": (None if story.owner else source.approval) or None,
        **story.values,
        "details": [
            {
                "pool": each.pool,
                "pool_id": each.pool_id or None,
                "region": each.target.region,
                "project_id": each.target.project_id,
                "owner": each.owner or None,
                "severity": each.level.value,
                "text": each.text,
                **each.numbers,
            }
            for each in shown
        ],
        "more_pools": len(story.parts) - len(shown),
    }
