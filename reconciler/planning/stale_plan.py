"""Owns the explanation of a stale plan: field by field, what was approved and what would be done now.

The only user of deepdiff. Whether a plan may be applied is decided here from two decisions alone;
counts that move by the minute may shrink but not grow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deepdiff import DeepDiff

from reconciler.planning.plan import SINCE_THE_REVIEW, Plan, decision, pool_decision

_COUNTS = ("copies", "gigabytes", "users", "live_sessions")


def explain(approved: Plan, current: Plan) -> tuple[str, ...]:
    """Every relevant difference as one sentence each; empty when the approval still holds."""
    then = decision(approved)
    lines: list[str] = []
    if not any(then == decision(current, ignoring=rules) for rules in SINCE_THE_REVIEW):
        lines += _decisions(*_side_by_side(approved, current)) or _decisions(then, decision(current))
    lines.extend(_grown(approved, current))
    return tuple(lines)


def _side_by_side(approved: Plan, current: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both decisions over the same pools and targets: one without a difference left is there still, not gone."""
    both = decision(approved), decision(current)
    pools = both[0]["pools"].keys() | both[1]["pools"].keys()
    targets = {(each["region"], each["project_id"]) for one in both for each in one["targets"]}
    for one, plan in zip(both, (approved, current), strict=True):
        one["targets"] = [
            {"region": each.target.region, "project_id": each.target.project_id, "service": each.name}
            for each in plan.services
            if (each.target.region, each.target.project_id) in targets
        ]
        one["pools"] = {
            key: pool_decision(pool)
            for pool in plan.pools
            if pool.live and (key := f"{pool.target}/{pool.live.id}") in pools
        }
    return both


def _decisions(approved: dict[str, Any], current: dict[str, Any]) -> list[str]:
    return list(_differences(approved, current))


def _differences(approved: dict[str, Any], current: dict[str, Any]) -> Iterator[str]:
    found = DeepDiff(
        approved,
        current,
        view="tree",
        verbose_level=2,
        threshold_to_diff_deeper=0,
        ignore_private_variables=False,  # an id that begins with "__" is data like any other
    )
    for kind in sorted(found):
        for item in found[kind]:
            path = ".".join(str(each) for each in item.path(output_format="list"))
            if kind.endswith("_added"):
                yield f"{path}: was not in the approved plan, is {_brief(item.t2)} now"
            elif kind.endswith("_removed"):
                yield f"{path}: was {_brief(item.t1)} in the approved plan, is gone now"
            else:
                yield f"{path}: approved {_brief(item.t1)}, now {_brief(item.t2)}"


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


def _brief(value: object) -> str:
    if isinstance(value, dict):
        if "disks" in value:
            return f"a pool with {len(value['disks'])} planned disks"
        return " ".join(f"{key}={_brief(each)}" for key, each in value.items())
    return "unset" if value is None else str(value)
