"""Owns the JSON of a plan: ``resource_changes`` shaped as Terraform's, for OPA and scripts.

``FORMAT_VERSION`` follows Terraform's rule: the minor number grows with additions, the major one
with anything a reader could stumble over.
"""

from __future__ import annotations

from typing import Any

from reconciler.model import Action, Copy, Disk
from reconciler.planning.change import Change
from reconciler.planning.finding import Finding
from reconciler.planning.inconsistent_desktops import InconsistentDesktop
from reconciler.planning.plan import Plan, PoolPlan
from reconciler.render import words

FORMAT_VERSION = "1.1"

_ACTIONS = {
    Action.KEEP: ["no-op"],
    Action.REMOVE: ["delete"],
    Action.EXPAND: ["update"],
    Action.ADD: ["create"],
    Action.REPLACE: ["delete", "create"],
}


def plan_json(plan: Plan) -> dict[str, Any]:
    """The whole plan as JSON values; keeps of unchanged pools are left out."""
    totals, held = plan.totals, plan.blocked_totals
    return {
        "format_version": FORMAT_VERSION,
        "tool_version": plan.tool_version,
        "id": plan.id,
        "digest": plan.digest,
        "created": plan.created.isoformat(),
        "expires": plan.expires.isoformat(),
        "sandbox": plan.sandbox,
        "target": _target(plan, 0) if len(plan.services) == 1 else None,
        "targets": [_target(plan, index) for index in range(len(plan.services))],
        "summary": {"add": totals.add, "change": totals.change, "destroy": totals.destroy},
        "blocked_summary": {
            "pools": sum(pool.blocked for pool in plan.pools),
            "add": held.add,
            "change": held.change,
            "destroy": held.destroy,
            "undecided": held.undecided,
        },
        "destroyed": {
            "disks": totals.destroy,
            "pools": totals.pools,
            "copies": totals.copies,
            "desktops": totals.desktops,
            "gigabytes": totals.gigabytes,
            "users": totals.users,
            "live_sessions": totals.live_sessions,
            "upper_bound": totals.upper_bound,
            "sentence": words.destruction(plan),
        },
        "blocked": plan.blocked,
        "findings": [finding_json(each) for each in plan.all_findings],
        "limits": {name: {"value": each.value, "source": each.source} for name, each in plan.limits.items()},
        "pools": [_pool(pool) for pool in plan.pools if pool.drift or pool.ties or pool.findings],
        "resource_changes": [
            _resource_change(pool, change)
            for pool in plan.pools
            if pool.drift or pool.ties
            for change in pool.changes
        ],
        "desktops": _desktops(plan),
        "failures": [
            {"target": str(each.target), "message": each.message, "hint": each.hint} for each in plan.failures
        ],
    }


def finding_json(finding: Finding) -> dict[str, Any]:
    """One finding with its number, its limit and the way out."""
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "pool": finding.pool or None,
        "message": finding.message,
        "measured": finding.measured,
        "limit": finding.limit,
        "source": finding.source or None,
        "allow": finding.allow or None,
    }


def _target(plan: Plan, index: int) -> dict[str, Any]:
    service = plan.services[index]
    return {
        "region": service.target.region,
        "project_id": service.target.project_id,
        "service": service.name,
        "sandbox": service.sandbox,
    }


def _pool(pool: PoolPlan) -> dict[str, Any]:
    return {
        "name": pool.label,
        "id": pool.live.id if pool.live else None,
        "target": str(pool.target),
        "declared_at": str(pool.desired.at),
        "apply_to": pool.desired.apply_to.value if pool.desired.apply_to else None,
        "blocked": pool.blocked,
        "loss": {
            "disks": pool.loss.disks,
            "copies": pool.loss.copies,
            "desktops": pool.loss.desktops,
            "gigabytes": pool.loss.gigabytes,
            "users": list(pool.loss.users),
            "live_sessions": pool.loss.live_sessions,
            "upper_bound": pool.loss.upper_bound,
        },
        "ties": [
            {"remove": tie.remove, "candidates": [_candidate(pool, disk) for disk in tie.candidates]}
            for tie in pool.ties
        ],
    }


def _candidate(pool: PoolPlan, disk: Disk) -> dict[str, Any]:
    known = next((each for each in pool.candidates if each.disk_id == disk.id), None)
    return {
        **_disk(disk),
        "copies": known.copies if known else None,
        "desktops": known.desktops if known else None,
        "users": list(known.users) if known else None,
        "created": known.created.isoformat() if known and known.created else None,
    }


def _resource_change(pool: PoolPlan, change: Change) -> dict[str, Any]:
    losses = {each.disk_id: each for each in pool.disk_losses}
    loss = losses.get(change.live.id) if change.live else None
    return {
        "address": words.address(pool, change),
        "type": "desktop_pool_disk",
        "pool_id": pool.live.id if pool.live else None,
        "pool_name": pool.label,
        "carried_out": change.carried_out,
        "change": {
            "actions": _ACTIONS[change.action] if change.carried_out else ["no-op"],
            "drift": _ACTIONS[change.action],
            "before": _disk(change.live) if change.live else None,
            "after": _after(change),
        },
        "action_reason": change.rule.value,
        "differs": list(change.differs),
        "declared_at": str(change.desired.at) if change.desired else None,
        "copies": loss.copies if loss else None,
        "gigabytes": loss.gigabytes if loss else None,
    }


def _desktops(plan: Plan) -> list[dict[str, Any]] | None:
    """One entry per pool that has desktops unlike itself; None when nobody asked for them."""
    asked = [pool for pool in plan.pools if pool.inconsistent]
    if not asked:
        return None
    return [
        {
            "pool_id": pool.live.id if pool.live else None,
            "pool_name": pool.label,
            "target": str(pool.target),
            "differ_in_number": pool.inconsistent.by_number,
            "differ_in_size": pool.inconsistent.by_size,
            "desktops": [_inconsistent_desktop(each) for each in pool.inconsistent.desktops],
        }
        for pool in asked
        if pool.inconsistent and pool.inconsistent.desktops
    ]


def _inconsistent_desktop(desktop: InconsistentDesktop) -> dict[str, Any]:
    return {
        "id": desktop.id,
        "name": desktop.name,
        "users": list(desktop.users),
        "left_behind": [_copy(copy) for copy in desktop.left_behind],
        "missing": [_disk(disk) for disk in desktop.missing],
        "resized": [{**_copy(each.copy), "pool_size": each.pool_size} for each in desktop.resized],
    }


def _copy(copy: Copy) -> dict[str, Any]:
    return {
        "disk_id": copy.disk_id or None,
        "volume_id": copy.volume_id or None,
        "type": copy.type,
        "size": copy.size,
    }


def _after(change: Change) -> dict[str, Any] | None:
    if change.action is Action.REMOVE:
        return None
    if change.action is Action.KEEP:
        return _disk(change.live) if change.live else None
    wanted = change.desired
    if wanted is None:
        return None
    kept_id = change.live.id if change.live and change.action is Action.EXPAND else None
    return {"id": kept_id, "type": wanted.type, "size": wanted.size}


def _disk(disk: Disk) -> dict[str, Any]:
    return {"id": disk.id or None, "type": disk.type, "size": disk.size}
