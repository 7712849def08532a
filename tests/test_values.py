"""Values: immutable, compared by what they mean, and copied with changes."""

from __future__ import annotations

import pytest

from reconciler.model import Action, DesiredPool, Disk, Manifest
from reconciler.planning.change import Change, Rule
from reconciler.planning.plan import PoolPlan
from reconciler.values import Struct, replace
from tests.builders import AT, TARGET

DISK = Disk("a", "SSD", 10)
POOL = DesiredPool(TARGET, AT, (), name="finance")
MANIFEST = Manifest((POOL,))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (POOL, replace(POOL, owner="finance", permitted_at=(("replace", AT),))),
        (MANIFEST, replace(MANIFEST, places=((TARGET, AT),), seen=(("a", "b"),), notes=("read",))),
    ],
    ids=["pool", "manifest"],
)
def test_what_decides_nothing_takes_no_part_in_comparing(one: Struct, other: Struct) -> None:
    assert one == other
    assert not one != other  # noqa: SIM202 - both operators are written by hand
    assert hash(one) == hash(other)


def test_whatever_decides_takes_part_in_comparing() -> None:
    other = replace(POOL, name="design")
    assert other != POOL
    assert not other == POOL  # noqa: SIM201 - as above
    assert other != "design"


def test_a_value_cannot_be_changed_and_a_copy_of_it_can() -> None:
    with pytest.raises(AttributeError):
        DISK.size = 20  # type: ignore[misc]
    assert replace(DISK, size=20) == Disk("a", "SSD", 20)
    with pytest.raises(TypeError):
        replace(DISK, nothing=20)  # type: ignore[call-arg]


def test_the_drift_of_a_pool_is_that_of_its_changes_whatever_is_given() -> None:
    removal = Change(Action.REMOVE, Rule.SURPLUS, live=DISK)
    assert PoolPlan(POOL, drift=(removal,)).drift == ()
    assert replace(PoolPlan(POOL), changes=(removal,)).drift == (removal,)
