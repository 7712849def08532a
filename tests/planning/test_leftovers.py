"""What partial removals have left: the journal's record held against one reading of the desktops."""

from __future__ import annotations

from datetime import UTC, datetime

from reconciler.model import Copy, Desktop, Disk, LostCopy, Pool
from reconciler.planning.leftovers import PartialRemoval, count_of, leftovers
from reconciler.values import replace

THEN, LATER = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
GONE, LIVE = Disk("gone", "SSD", 100), Disk("live", "SAS", 50)
POOL = Pool("pool", "pool", (LIVE,), desktop_count=2)


def desktop(number: int, *disks: str, **more: object) -> Desktop:
    copies = tuple(Copy(disk, f"v{number}-{disk}", "SSD", 100) for disk in disks)
    return replace(Desktop(f"d{number}", f"desk-{number}", (f"user{number}",), copies=copies), **more)  # type: ignore[arg-type]


def removal(operation: str = "op", opened: datetime = THEN, *, copies: bool = True) -> PartialRemoval:
    known = tuple(LostCopy("gone", f"d{each}", f"desk-{each}", f"v{each}-gone", 100) for each in (1, 2))
    return PartialRemoval(operation, opened, ("gone",), known if copies else ())


def test_the_copies_that_are_still_there_are_named_with_their_desktop_and_people() -> None:
    [found] = leftovers(POOL, [desktop(1, "live"), desktop(2, "live", "gone")], [removal()])
    assert found.copies == (LostCopy("gone", "d2", "desk-2", "v2-gone", 100, ("user2",)),)
    assert (found.operation_id, found.unread) == ("op", "")


def test_what_a_reading_shows_gone_is_no_longer_shown() -> None:
    assert leftovers(POOL, [desktop(1, "live"), desktop(2, "live")], [removal()]) == ()


def test_a_copy_without_a_link_is_known_by_its_volume() -> None:
    unlinked = desktop(2, copies=(Copy("", "v2-gone", "SSD", 100), Copy("", "stranger", "SSD", 100)))
    [found] = leftovers(POOL, [unlinked], [removal()])
    assert [copy.volume_id for copy in found.copies] == ["v2-gone"]


def test_an_older_journal_knows_the_disk_alone_and_that_is_enough() -> None:
    [found] = leftovers(POOL, [desktop(1, "gone")], [removal(copies=False)])
    assert len(found.copies) == 1


def test_a_disk_that_the_pool_has_again_is_left_to_matching() -> None:
    again = replace(POOL, disks=(LIVE, GONE))
    assert leftovers(again, [desktop(1, "gone")], [removal()], "not all was read") == ()


def test_a_desktop_that_does_not_say_its_copies_may_still_hold_them() -> None:
    [found] = leftovers(POOL, [desktop(2, copies_known=False)], [removal()])
    assert [copy.desktop_id for copy in found.copies] == ["d2"]


def test_an_incomplete_reading_says_so_and_never_that_nothing_is_left() -> None:
    [found] = leftovers(POOL, [], [removal()], "not all was read")
    assert (found.copies, found.unread) == ((), "not all was read")


def test_each_copy_is_shown_once_at_the_latest_removal_of_it() -> None:
    found = leftovers(POOL, [desktop(1, "gone")], [removal(), removal("retried", LATER)])
    assert [each.operation_id for each in found] == ["retried"]
    assert count_of(found) == 1
