"""A desktop is compared with its pool by the link of each copy, never by position or by size alone."""

from __future__ import annotations

from reconciler.model import Copy, Desktop, Disk
from reconciler.planning.inconsistent_desktops import Resized, inconsistent_desktop

A, B = Disk("a", "SAS", 50), Disk("b", "SSD", 100)


def copy(disk_id: str, kind: str = "SAS", size: int = 50) -> Copy:
    return Copy(disk_id, f"volume-{disk_id}", kind, size)


def desktop(*copies: Copy) -> Desktop:
    return Desktop("id", "name", ("ann",), copies=copies)


def test_a_desktop_like_its_pool_has_nothing_to_tell_in_any_order() -> None:
    for copies in ((copy("a"), copy("b", "SSD", 100)), (copy("b", "SSD", 100), copy("a"))):
        assert not inconsistent_desktop([A, B], desktop(*copies)).explained


def test_a_copy_of_a_disk_that_the_pool_lost_is_left_behind() -> None:
    found = inconsistent_desktop([B], desktop(copy("a"), copy("b", "SSD", 100)))
    assert (found.left_behind, found.missing, found.resized) == ((copy("a"),), (), ())
    assert (found.name, found.users) == ("name", ("ann",))


def test_a_copy_without_a_link_stands_for_no_disk() -> None:
    found = inconsistent_desktop([A], desktop(copy("")))
    assert (found.left_behind, found.missing) == ((copy(""),), (A,))


def test_a_disk_without_a_copy_is_missing() -> None:
    assert inconsistent_desktop([A, B], desktop(copy("a"))).missing == (B,)


def test_a_copy_of_another_size_is_told_with_both_sizes() -> None:
    found = inconsistent_desktop([A], desktop(copy("a", size=40)))
    assert found.resized == (Resized(copy("a", size=40), 50),)
    assert (found.left_behind, found.missing) == ((), ())
