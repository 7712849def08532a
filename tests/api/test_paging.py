from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.paging import complete
from reconciler.errors import ReadingDoubtful, ServiceError


class Shelf:
    """A list behind pages; ``shift`` is called before each page."""

    def __init__(self, items: Sequence[str], limit: int = 10, total: int | None = None) -> None:
        self.items = list(items)
        self.limit = limit
        self.total = total
        self.asked: list[int] = []

    async def page(self, offset: int) -> tuple[int, Sequence[str]]:
        self.asked.append(offset)
        await asyncio.sleep(0)
        total = len(self.items) if self.total is None else self.total
        return total, self.items[offset : offset + self.limit]


def read(shelf: Shelf, most_offset: int = 100) -> list[str]:
    return asyncio.run(complete("items", shelf.page, str, shelf.limit, most_offset))


def numbered(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@given(st.integers(0, 110), st.integers(1, 30))
def test_every_item_comes_once_and_in_order(count: int, limit: int) -> None:
    assert read(Shelf(numbered(count), limit), most_offset=110) == numbered(count)


def test_a_short_list_costs_one_request() -> None:
    shelf = Shelf(numbered(9))
    read(shelf)
    assert shelf.asked == [0]


def test_a_total_that_counts_only_the_page_is_found_out() -> None:
    class PageCounts(Shelf):
        async def page(self, offset: int) -> tuple[int, Sequence[str]]:
            _, items = await super().page(offset)
            return len(items), items

    with pytest.raises(ReadingDoubtful, match="more follow"):
        read(PageCounts(numbered(15)))


@pytest.mark.parametrize("total", [0, 14, 16, 25, -1])
def test_a_count_that_does_not_match_is_doubtful(total: int) -> None:
    with pytest.raises(ReadingDoubtful):
        read(Shelf(numbered(15), total=total))


def test_an_id_that_comes_twice_is_doubtful() -> None:
    with pytest.raises(ReadingDoubtful, match="twice"):
        read(Shelf([*numbered(14), "3"]))


def test_a_list_that_changed_between_pages_is_read_once_more() -> None:
    class Grows(Shelf):
        async def page(self, offset: int) -> tuple[int, Sequence[str]]:
            found = await super().page(offset)
            if len(self.asked) == 1:
                self.items.append("new")
            return found

    shelf = Grows(numbered(15))
    assert read(shelf) == [*numbered(15), "new"]
    assert shelf.asked == [0, 10, 0, 10]


def test_a_list_that_keeps_changing_is_given_up() -> None:
    class KeepsGrowing(Shelf):
        async def page(self, offset: int) -> tuple[int, Sequence[str]]:
            self.items.append(f"new{len(self.asked)}")
            return await super().page(offset)

    shelf = KeepsGrowing(numbered(15))
    with pytest.raises(ReadingDoubtful, match="total changed"):
        read(shelf)
    assert len(shelf.asked) == 4


def test_more_than_the_service_can_show_is_refused_with_both_numbers() -> None:
    with pytest.raises(ServiceError, match="counts 111 items and shows no more than the first 110"):
        read(Shelf(numbered(111)))


def test_a_page_that_fails_ends_the_reading_with_its_own_error() -> None:
    class Breaks(Shelf):
        async def page(self, offset: int) -> tuple[int, Sequence[str]]:
            if offset == 10:
                raise ServiceError("broken")
            if offset == 20:
                await asyncio.sleep(60)
            return await super().page(offset)

    with pytest.raises(ServiceError, match="broken"):
        read(Breaks(numbered(30)))
