"""Explains a stale plan in words: per pool and disk, what was approved and what would be done now.

Whether a plan may be applied is decided here from two decisions alone; counts that move by the minute may
shrink but not grow. What a decision holds is left to ``plan``. The only user of deepdiff.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deepdiff import DeepDiff

from reconciler.planning.plan import SINCE_THE_REVIEW, Plan, PoolPlan, decision, pool_decision

_COUNTS = ("copies", "gigabytes", "users", "live_sessions")
_ACTIONS = {
    "keep": "to stay",
    "remove": "to be removed",
    "expand": "to be expanded",
    "add": "to be added",
    "replace": "to be replaced",
}
_FIELDS = {
    "undecided": "disks of which some must go",
    "allow": "permissions",
    "protect": "protected disks",
    "carried_out": "carried out",
    "backup": "seconds that a backup may be old",
}
"""Words for fields whose own names do not say what they are."""


def explain(approved: Plan, current: Plan) -> tuple[str, ...]:
    """Every relevant difference as one sentence each; empty when the approval still holds."""
    then = decision(approved)
    holds = any(then == decision(current, ignoring=rules) for rules in SINCE_THE_REVIEW)
    lines = [] if holds else list(_decisions(approved, current))
    lines.extend(_grown(approved, current))
    return tuple(lines)


def _decisions(approved: Plan, current: Plan) -> Iterator[str]:
    lines = [*_run(approved, current), *_pools(approved, current)]
    # The two differ, or nobody would have asked; a difference without words must not pass for none.
    yield from lines or ["the plan as a whole differs from the approved one"]


def _run(approved: Plan, current: Plan) -> Iterator[str]:
    """What differs in the run as a whole: services, limits, and whether everything is blocked."""
    services = [{str(each.target): each.name for each in plan.services} for plan in (approved, current)]
    yield from _fields("service of", *services)
    then, now = decision(approved), decision(current)
    yield from _fields("limit", then.pop("limits"), now.pop("limits"), unset="none")
    if (before := then.pop("policy", None)) != (after := now.pop("policy", None)):
        yield f"the policy {_value(before, 'none')} → {_value(after, 'none')}"
    for each in (then, now):
        del each["targets"], each["pools"]
    yield from _fields("the whole plan:", then, now)


def _pools(approved: Plan, current: Plan) -> Iterator[str]:
    then, now = decision(approved)["pools"], decision(current)["pools"]
    before, after = _by_key(approved), _by_key(current)
    for key in sorted(then.keys() | now.keys()):
        # A pool without a difference takes no part in a decision, but it is there: its disks say what changed.
        old = then.get(key) or (pool_decision(before[key]) if key in before else None)
        new = now.get(key) or (pool_decision(after[key]) if key in after else None)
        label = (before.get(key) or after[key]).label
        if old is None:
            yield f"{label} ({key}): the pool was not in the approved plan"
        elif new is None:
            yield f"{label} ({key}): the pool is not in the plan that would be carried out now"
        else:
            waiting = _waiting(after[key]) if key in after else {}
            yield from _disks(label, old.pop("disks"), new.pop("disks"), waiting)
            yield from _fields(f"{label}:", old, new)


def _by_key(plan: Plan) -> dict[str, PoolPlan]:
    return {f"{pool.target}/{pool.live.id}": pool for pool in plan.pools if pool.live}


def _waiting(pool: PoolPlan) -> dict[str, str]:
    """What became of disks that are only marked, by their ids: a decision has none of these."""
    found = [(each.live.id, each.waits.due) for each in pool.waiting if each.live and each.waits]
    return {
        disk: f"is only marked now and waits until {due:%Y-%m-%d %H:%M} UTC" if due else "is to be marked now"
        for disk, due in found
    }


def _disks(
    pool: str, then: Mapping[str, Any], now: Mapping[str, Any], waiting: Mapping[str, str]
) -> Iterator[str]:
    for key in sorted(then.keys() | now.keys()):
        old, new = then.get(key), now.get(key)
        where = f"{pool}: {_disk_name(key, old or new or {})}"
        if new is None and old is not None:
            gone = waiting.get(key, "is gone now") if "before" in old else "is not any more"
            yield f"{where} {_size(old)}: was {_ACTIONS[old['action']]}, {gone}"
        elif old is None and new is not None:
            yield f"{where} {_size(new)}: was not in the approved plan, is {_ACTIONS[new['action']]} now"
        elif old is not None and new is not None:
            yield from _disk(where, old, new)


def _disk(where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if old["action"] != new["action"]:
        yield f"{where}: was {_ACTIONS[old['action']]}, is {_ACTIONS[new['action']]} now"
    yield from _fields(f"{where}:", old.get("before", {}), new.get("before", {}))
    if "after" in old and "after" in new:
        yield from _fields(f"{where}: declared", old["after"], new["after"])
    # The end of an action that is not carried out says nothing beyond that action.
    if old["action"] == new["action"]:
        rest = ({"carried_out": each["carried_out"]} for each in (old, new))
        yield from _fields(f"{where}:", *rest)


def _disk_name(key: str, disk: Mapping[str, Any]) -> str:
    return f"disk {key}" if "before" in disk else "a new disk"


def _size(disk: Mapping[str, Any]) -> str:
    shape = disk.get("before") or disk.get("after", {})
    return f"({shape.get('type')}, {shape.get('size')} GB)"


def _fields(
    where: str, then: Mapping[str, Any], now: Mapping[str, Any], *, unset: str = "unset"
) -> Iterator[str]:
    """One sentence per field whose values differ: ``fin: disk a: size 10 → 500``."""
    if then == now:  # as most are, which is quickly seen
        return
    found = DeepDiff(
        dict(then),
        dict(now),
        view="tree",
        threshold_to_diff_deeper=0,
        ignore_private_variables=False,  # an id that begins with "__" is data like any other
    )
    names = {item.path(output_format="list")[0] for kind in found for item in found[kind]}
    for name in sorted(names):
        old, new = _value(then.get(name), unset), _value(now.get(name), unset)
        yield f"{where} {_FIELDS.get(name, name)} {old} → {new}"


def _value(value: object, unset: str = "unset") -> str:
    match value:
        case None:
            return unset
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(str, value)) or "none"
    return str(value)


def _grown(approved: Plan, current: Plan) -> Iterator[str]:
    before = {(pool.target, pool.live.id): pool.loss for pool in approved.pools if pool.live}
    for pool in current.pools:
        if not pool.live or pool.blocked or (loss := before.get((pool.target, pool.live.id))) is None:
            continue
        for name in _COUNTS:
            was, now = _number(getattr(loss, name)), _number(getattr(pool.loss, name))
            if now > was:
                yield f"{pool.label}: {name.replace('_', ' ')} affected grew from {was} to {now}"


def _number(value: int | tuple[str, ...]) -> int:
    return value if isinstance(value, int) else len(value)
