"""Owns what the runs of one group may destroy together: shards of one run share its limits.

Limits of a single run are left to ``guard``; adding up between processes to the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.errors import Refused
from reconciler.journal.records import Claim, Journal
from reconciler.model import Limits
from reconciler.planning.plan import PoolPlan


def claim(pools: Sequence[PoolPlan], within: Limits, group: str, journal: Journal) -> None:
    """Count what these pools lose for the group; raises ``Refused`` when that passes a limit.

    Claiming the same disks again, as a run does that died and is started anew, adds only what has grown.
    """
    claims = [each for pool in pools if not pool.blocked for each in _claims(pool)]
    limits = dict(within.items())
    ceilings = {name: limit.value for name, limit in limits.items() if limit.value is not None}
    over = journal.claim_losses(group, claims, ceilings)
    if over:
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
