"""Takes the names of people out of a plan that others will see; every number stays as it is.

``render`` shows how many there are in the place of the names.
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.model import LostCopy
from reconciler.planning.change import Change
from reconciler.planning.plan import Plan, PoolPlan
from reconciler.values import replace


class Unnamed(tuple[str, ...]):
    """So many people, each by a number that is the same wherever the plan means the same person."""

    __slots__ = ()


def anonymised(plan: Plan) -> Plan:
    """The same plan, with the same digest, without the names of users, of their groups and of their desktops.

    A desktop is often called after its user.
    """
    numbers = Numbers()
    return replace(plan, pools=tuple(_pool(each, numbers) for each in plan.pools))


def anonymised_pool(pool: PoolPlan) -> PoolPlan:
    """The same for one pool alone."""
    return _pool(pool, Numbers())


class Numbers:
    """Gives each name a number."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, names: Iterable[str]) -> Unnamed:
        """The numbers of these names."""
        return Unnamed(self._known.setdefault(each, str(len(self._known) + 1)) for each in names)

    def copy(self, copy: LostCopy) -> LostCopy:
        """A copy without the names of its people and of its desktop."""
        return copy._replace(users=self.of(copy.users), desktop_name="")


def _pool(pool: PoolPlan, numbers: Numbers) -> PoolPlan:
    loss = replace(pool.loss, users=numbers.of(pool.loss.users), groups=numbers.of(pool.loss.groups))
    losses = tuple(
        replace(
            disk,
            lost=tuple(map(numbers.copy, disk.lost)),
            backups=disk.backups
            and replace(
                disk.backups, lacking=tuple(replace(each, desktop_name="") for each in disk.backups.lacking)
            ),
        )
        for disk in pool.disk_losses
    )
    inconsistent = pool.inconsistent and replace(
        pool.inconsistent,
        desktops=tuple(
            replace(each, users=numbers.of(each.users), name="") for each in pool.inconsistent.desktops
        ),
    )
    candidates = tuple(replace(each, users=numbers.of(each.users)) for each in pool.candidates)
    left = tuple(replace(each, copies=tuple(map(numbers.copy, each.copies))) for each in pool.leftovers)
    return replace(
        pool,
        changes=tuple(map(_change, pool.changes)),
        loss=loss,
        disk_losses=losses,
        inconsistent=inconsistent,
        candidates=candidates,
        leftovers=left,
    )


def _change(change: Change) -> Change:
    """Who let a disk wait is nobody's business either."""
    if not (change.waits and change.waits.extended_by):
        return change
    return replace(change, waits=replace(change.waits, extended_by="a person"))
