"""Reads complete lists: every page well-formed, ids unique, as many items as the service counts, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from reconciler.errors import ReadingDoubtful, ServiceError

T = TypeVar("T")
Pages = Callable[[int], Coroutine[Any, Any, tuple[int, Sequence[T]]]]
"""Reads one page: (total count, items) from an offset on."""


class MoreThanListed(ServiceError):
    """The service counts more items than it shows, so that no complete list can be had."""

    def __init__(self, what: str, total: int, most: int) -> None:
        super().__init__(
            f"the service counts {total} {what} and shows no more than the first {most}",
            "a complete reading is not possible; split the project, or ask the vendor for a higher offset",
        )
        self.total = total
        """How many there are."""


async def complete(
    what: str,
    page: Pages[T],
    identity: Callable[[T], str],
    limit: int,
    most_offset: int,
    *,
    beyond: bool = True,
) -> list[T]:
    """Every item of a list, or ``ReadingDoubtful``; pages after the first are read together.

    A list that changes between its pages is read once more from the start before it is given up.
    ``beyond``: look behind a full last page too. No document says whether the total counts the list or the
    page; where something unseen would merely be refused later, that look is not worth a request.
    """
    doubt = ""
    for _ in range(2):
        items, doubt = await _once(what, page, identity, limit, most_offset)
        if not doubt and beyond and items and len(items) % limit == 0 and len(items) <= most_offset:
            _, hidden = await page(len(items))
            doubt = f"{len(items)} items were counted, and more follow" if hidden else ""
        if not doubt:
            return items
    raise ReadingDoubtful(
        f"the list of {what} is not complete: {doubt}", "it may be changing right now; run again in a minute"
    )


async def _once(
    what: str, page: Pages[T], identity: Callable[[T], str], limit: int, most_offset: int
) -> tuple[list[T], str]:
    total, first = await page(0)
    if total > most_offset + limit:
        raise MoreThanListed(what, total, most_offset + limit)
    items = list(first)
    if len(first) > limit:
        return [], f"{len(first)} items came at once, at most {limit} were asked for"
    for counted, more in await _together(page, range(limit, total, limit)):
        if counted != total:
            return [], f"its total changed from {total} to {counted}"
        items.extend(more)
    if len(items) != total:
        return [], f"{len(items)} items came, {total} were counted"
    if len({identity(item) for item in items}) != total:
        return [], "an id came twice"
    return items, ""


async def _together(page: Pages[T], offsets: range) -> list[tuple[int, Sequence[T]]]:
    """The pages at these offsets; the first failure ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(page(offset)) for offset in offsets]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
