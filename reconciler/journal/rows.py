"""Owns the way between rows and values; statements are left to ``store``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import RowMapping

from reconciler.journal.records import (
    ClosedBy,
    DriftPoint,
    Event,
    Intent,
    Operation,
    Outcome,
    PoolKey,
    Run,
    SentDisk,
    State,
    Step,
)


def intent_row(intent: Intent) -> dict[str, Any]:
    """The columns that an intent fills."""
    return {
        "id": intent.operation_id,
        "run_id": intent.run_id,
        "target": intent.pool.target,
        "service": intent.pool.service,
        "pool_id": intent.pool.pool_id,
        "pool_name": intent.pool_name,
        "step": intent.step.value,
        "handle_type": intent.handle_type,
        "disks": [list(disk) for disk in intent.disks],
        "disk_count": len(intent.disks),
        "keep": list(intent.keep),
        "baseline_jobs": list(intent.baseline_jobs),
        "generation": intent.generation,
        "signed_at": intent.signed_at,
        "not_after": intent.not_after,
        "plan_digest": intent.plan_digest,
    }


def outcome_row(outcome: Outcome) -> dict[str, Any]:
    """The columns that an outcome fills."""
    return {
        "outcome": outcome.state.value,
        "job_id": outcome.job_id,
        "request_id": outcome.request_id,
        "status": outcome.status,
        "code": outcome.code,
        "message": outcome.message,
    }


def operation(row: RowMapping) -> Operation:
    """One operation from its row."""
    intent = Intent(
        operation_id=row["id"],
        run_id=row["run_id"],
        pool=PoolKey(row["target"], row["service"], row["pool_id"]),
        pool_name=row["pool_name"],
        step=Step(row["step"]),
        handle_type=row["handle_type"],
        disks=tuple(SentDisk(*disk) for disk in row["disks"]),
        keep=tuple(row["keep"]),
        baseline_jobs=tuple(row["baseline_jobs"]),
        generation=row["generation"],
        signed_at=row["signed_at"],
        not_after=row["not_after"],
        plan_digest=row["plan_digest"],
    )
    outcome = None
    if row["outcome"] is not None:
        outcome = Outcome(
            state=State(row["outcome"]),
            job_id=row["job_id"] or "",
            request_id=row["request_id"] or "",
            status=row["status"],
            code=row["code"] or "",
            message=row["message"] or "",
        )
    return Operation(
        intent=intent,
        state=State(row["state"]),
        outcome=outcome,
        owner=row["owner"],
        lease_until=row["lease_until"],
        opened=row["opened"],
        closed=row["closed"],
        verdict=row["verdict"],
        closed_by=ClosedBy(row["closed_by"]) if row["closed_by"] else None,
    )


def run(row: RowMapping) -> Run:
    """One run from its row."""
    return Run(
        id=row["id"],
        command=row["command"],
        tool_version=row["tool_version"],
        targets=tuple(row["targets"]),
        started=row["started"],
        ended=row["ended"],
        digest=row["digest"],
        exit_code=row["exit_code"],
        summary=row["summary"],
    )


def event(row: RowMapping) -> Event:
    """One event from its row."""
    return Event(row["seq"], row["run_id"], row["operation_id"], row["at"], row["kind"], row["detail"])


def drift_row(point: DriftPoint) -> dict[str, Any]:
    """The columns of one drift point."""
    return {
        "run_id": point.run_id,
        "target": point.pool.target,
        "service": point.pool.service,
        "pool_id": point.pool.pool_id,
        "pool_name": point.pool_name,
        "at": point.at,
        "surplus": point.surplus,
        "missing": point.missing,
        "surplus_gb": point.surplus_gb,
    }


def drift_point(row: RowMapping) -> DriftPoint:
    """One drift point from its row."""
    return DriftPoint(
        run_id=row["run_id"],
        at=row["at"],
        pool=PoolKey(row["target"], row["service"], row["pool_id"]),
        pool_name=row["pool_name"],
        surplus=row["surplus"],
        missing=row["missing"],
        surplus_gb=row["surplus_gb"],
    )
