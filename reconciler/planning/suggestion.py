"""Suggests the live pool that a name was probably meant to be; never decides, since a wrong guess deletes data."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING, Final

from reconciler.values import replace

if TYPE_CHECKING:
    from reconciler.planning.plan import PoolPlan

MAX_COMPARISONS: Final = 20_000
"""Comparisons of two names per target: about a second. In a wrong project, every name is missing."""
MAX_LENGTH: Final = 64
"""Longest name that is compared, in characters: the time grows with the square of the length."""


def with_nearest_names(pools: list[PoolPlan], names: Collection[str]) -> list[PoolPlan]:
    """The same pools; a ``pool-not-found`` of a name says which live name is nearest, if one is near."""
    names = [name for name in names if len(name) <= MAX_LENGTH]
    left = MAX_COMPARISONS // max(1, len(names))
    found: list[PoolPlan] = []
    for pool in pools:
        asked = pool.desired.name if not pool.desired.id else ""
        if (
            left > 0
            and 0 < len(asked) <= MAX_LENGTH
            and any(each.rule == "pool-not-found" for each in pool.findings)
        ):
            left -= 1
            pool = _with_nearest_name(pool, names)  # noqa: PLW2901 - the same pool, with more words
        found.append(pool)
    return found


def _with_nearest_name(pool: PoolPlan, names: Collection[str]) -> PoolPlan:
    from difflib import get_close_matches  # noqa: PLC0415 - most names are found

    wanted = pool.desired.name
    in_other_case = (name for name in names if name.casefold() == wanted.casefold())
    nearest = [*islice(in_other_case, 1), *get_close_matches(wanted, names, n=1, cutoff=0.7)]
    if not nearest:
        return pool
    findings = (
        replace(each, message=f"{each.message}; did you mean {nearest[0]!r}?")
        if each.rule == "pool-not-found"
        else each
        for each in pool.findings
    )
    return replace(pool, findings=tuple(findings))
