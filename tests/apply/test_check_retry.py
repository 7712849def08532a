"""The second check before a retry: each copy belongs to a disk that the operation was approved to remove."""

from __future__ import annotations

import json
from typing import Any

import pytest

from reconciler.apply.proof import Observation, copies_seen, observed
from reconciler.apply.second_check import SecondCheckFailed, check_retry
from reconciler.journal.states import Step
from reconciler.model import Action, Copy, DesiredPool, Desktop, Disk, LostCopy
from reconciler.values import replace
from tests.apply.test_judge import intent
from tests.builders import entry, pool

LIVE = Disk("live", "SAS", 50)
GONE = ("gone", "SSD", 100)
LEFT = LostCopy("gone", "d1", "one", "v1", 100)
DECLARED = pool(entry("SAS", 50))


def checked(
    *left: LostCopy,
    approved: tuple[tuple[str, str, int], ...] = (GONE,),
    desired: DesiredPool = DECLARED,
    live: tuple[Disk, ...] = (LIVE,),
    **changed: Any,
) -> None:
    volumes = [{"id": disk.id, "type": disk.type, "size": disk.size} for disk in live]
    body = {"id": "pool", "status": "STEADY", "charging_mode": "1", "data_volumes": volumes} | changed
    check_retry(json.dumps(body).encode(), "pool", left, approved, desired)


def test_what_is_left_of_an_approved_disk_may_go() -> None:
    checked(LEFT, LEFT._replace(desktop_id="d2", volume_id="v2"))


@pytest.mark.parametrize(
    ("left", "more", "reason"),
    [
        ((), {}, "names no copy"),
        ((LEFT._replace(disk_id="other"),), {}, "other was not approved to be removed"),
        ((LEFT._replace(disk_id=""),), {}, "a copy of no disk"),
        ((LEFT._replace(desktop_id=""),), {}, "is on no desktop"),
        ((LEFT, LEFT), {}, "named twice"),
        ((LEFT,), {"approved": tuple((f"gone{n}", "SSD", 1) for n in range(11))}, "more than ten"),
        ((LEFT,), {"desired": replace(DECLARED, protect=("gone",))}, "is protected"),
        ((LEFT,), {"desired": pool(entry("SAS", 50), entry("SSD", 100, pin="gone"))}, "is pinned"),
        (
            (LEFT,),
            {"desired": replace(DECLARED, manage=frozenset({Action.ADD}))},
            "does not let disks be removed",
        ),
        ((LEFT,), {"status": "TEMPORARY"}, "not STEADY"),
        ((LEFT,), {"charging_mode": "0"}, "pay-per-use"),
        ((LEFT,), {"id": "another"}, "is about pool another"),
        (
            (LEFT,),
            {"live": (LIVE, Disk("gone", "SSD", 200))},
            "not, with this type and size, what was approved",
        ),
    ],
)
def test_anything_else_stops_it(left: tuple[LostCopy, ...], more: dict[str, Any], reason: str) -> None:
    with pytest.raises(SecondCheckFailed, match=reason):
        checked(*left, **more)


def test_a_disk_that_the_pool_still_has_goes_only_where_the_manifest_lets_it_go() -> None:
    still = (LIVE, Disk(*GONE))
    checked(LEFT, live=still)
    with pytest.raises(SecondCheckFailed, match="too few would stay"):
        checked(LEFT, live=still, desired=pool(entry("SAS", 50), entry("SSD", 100)))


def test_every_disk_of_the_job_counts_as_the_service_may_repeat_all_of_it() -> None:
    """Of the second disk no copy is left to finish, but the pool has it and the manifest declares it."""
    both = (GONE, ("second", "SSD", 20))
    with pytest.raises(SecondCheckFailed, match="too few would stay"):
        checked(
            LEFT,
            approved=both,
            live=(LIVE, Disk(*both[1])),
            desired=pool(entry("SAS", 50), entry("SSD", 20)),
        )


@pytest.mark.parametrize(
    ("desired", "reason"),
    [
        (replace(DECLARED, protect=("second",)), "second is protected"),
        (
            pool(entry("SAS", 50), entry("SSD", 10, pin="elsewhere")),
            "elsewhere, pinned at .*, is not a data disk",
        ),
    ],
)
def test_a_disk_of_the_job_that_the_pool_still_has_is_spared_as_in_any_removal(
    desired: DesiredPool, reason: str
) -> None:
    second = ("second", "SSD", 20)
    with pytest.raises(SecondCheckFailed, match=reason):
        checked(LEFT, approved=(GONE, second), live=(LIVE, Disk(*second)), desired=desired)


def test_a_pin_of_a_disk_that_is_there_stops_nothing() -> None:
    checked(LEFT, live=(LIVE, Disk(*GONE)), desired=pool(entry("SAS", 50, pin="live")))


def test_ten_disks_may_be_finished_and_copies_without_a_volume_id_are_told_apart_by_their_disk() -> None:
    ten = tuple((f"gone{number}", "SSD", 1) for number in range(10))
    checked(*(LostCopy(each[0], "d1", "one", "", 1) for each in ten), approved=ten)


def desktop(*copies: Copy, **more: Any) -> Desktop:
    return replace(Desktop("d1", "one", copies=copies), **more)


@pytest.mark.parametrize(
    ("disks", "desktops", "done"),
    [
        ((LIVE,), (desktop(),), 1),
        ((LIVE,), (), 1),
        ((LIVE,), (desktop(Copy("gone", "another", "SSD", 100)),), 0),
        ((LIVE,), (desktop(Copy("", "v1", "SSD", 100)),), 0),
        ((LIVE,), (desktop(copies_known=False),), 0),
        ((LIVE, Disk(*GONE)), (desktop(),), 0),
    ],
    ids=["gone", "no desktop", "by its disk", "by its volume", "not said", "the pool has the disk"],
)
def test_a_copy_is_gone_only_when_nothing_of_it_is_there(
    disks: tuple[Disk, ...], desktops: tuple[Desktop, ...], done: int
) -> None:
    retry = replace(intent(Step.RETRY), keep=("live",), copies=(LEFT,))
    assert copies_seen(retry, disks, desktops) == Observation(done, 1)


def test_every_copy_of_a_disk_that_the_pool_has_counts_as_left_before_a_desktop_was_read() -> None:
    copies = (LEFT, LEFT._replace(desktop_id="d2"), LEFT._replace(disk_id="live"))
    retry = replace(intent(Step.RETRY), keep=("live",), copies=copies)
    assert observed(retry, (LIVE,)) == Observation(2, 3)
    assert observed(retry, (LIVE, Disk(*GONE))) == Observation(0, 3)
