"""Applies the limits to all runs of one group together: the shards of one run share its limits.

The limits of a single run are left to ``planning.guards``, adding up between processes to the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reconciler.errors import Refused
from reconciler.journal.records import Claim, Journal
from reconciler.model import SHARES, Limits
from reconciler.planning.plan import PoolPlan


def claim(pools: Sequence[PoolPlan], within: Limits, group: str, journal: Journal) -> None:
    """Count what these pools lose towards the group's limits; raises ``Refused`` when that exceeds one.

    Claiming the same disks again, as a restarted run does, adds only what has grown.
    """
    claims = [each for pool in pools if not pool.blocked for each in _claims(pool)]
    limits = dict(within.items())
    ceilings = {
        name: limit.value for name, limit in limits.items() if limit.value is not None and name not in SHARES
    }
    over = journal.claim_losses(group, claims, ceilings)
    if over:
        sums = "; ".join(
            f"limit-{name}: {number} over all its runs, the limit is {limits[name].value} ({limits[name].source})"
            for name, number in sorted(over.items())
        )
        raise Refused(
            f"the run group {group} would destroy too much: {sums}; nothing was sent",
            "raise the limit in the manifest or by flag; a new run needs a new --run-group",
        )


def _claims(pool: PoolPlan) -> Iterator[Claim]:
    if not pool.removed or pool.live is None:
        return
    # Named by id and not by run, so that the journal recognises what was claimed before.
    name = f"{pool.target}/{pool.live.id}"
    yield Claim("pools", name, 1)
    for lost in pool.disk_losses:
        disk = f"{name}/{lost.disk_id}"
        yield Claim("disks", disk, 1)
        yield Claim("copies", disk, lost.copies)
        yield Claim("gigabytes", disk, lost.gigabytes)
    for user in pool.loss.users:
        yield Claim("users", f"{pool.target}/{user}", 1)
