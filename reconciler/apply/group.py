"""Owns what the runs of one group may destroy together: shards of one run share its limits.

Limits of a single run are left to ``guard``; adding up between processes to the journal.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.errors import Refused
from reconciler.journal.records import Claim, Journal
from reconciler.plan import Plan, PoolPlan


def claim(plan: Plan, group: str, journal: Journal) -> None:
    """Count what ``plan`` destroys for the group; raises ``Refused`` when that passes a limit.

    A run that died and is started again claims the same disks, which adds nothing.
    """
    claims = [each for pool in plan.pools if not pool.blocked for each in _claims(pool)]
    ceilings = {name: limit.value for name, limit in plan.limits.items() if limit.value is not None}
    over = journal.claim_losses(group, claims, ceilings)
    if over:
        limits = dict(plan.limits.items())
        told = "; ".join(
            f"limit-{name}: {number} over all its runs, the limit is {limits[name].value} ({limits[name].source})"
            for name, number in sorted(over.items())
        )
        raise Refused(
            f"the run group {group} would destroy too much: {told}; nothing was sent",
            "raise the limit in the manifest or by flag, or choose another --run-group for another run",
        )


def _claims(pool: PoolPlan) -> Iterator[Claim]:
    if not pool.removed or pool.live is None:
        return
    name = f"{pool.target}/{pool.live.id}"
    yield Claim("pools", name, 1)
    for lost in pool.disk_losses:
        disk = f"{name}/{lost.disk_id}"
        yield Claim("disks", disk, 1)
        yield Claim("copies", disk, lost.copies)
        yield Claim("gigabytes", disk, lost.gigabytes)
    for user in pool.loss.users:
        yield Claim("users", f"{pool.target}/{user}", 1)
