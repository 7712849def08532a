"""Solves a small assignment problem exactly, with costs compared field by field.

The Hungarian method with potentials, rows added one by one: O(rows² × columns).
"""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.values import Struct

Cost = tuple[int, ...]
"""Compared field by field, the first one first; every field is at least 0."""


class Forced(Struct, frozen=True):
    """Rows that must get a column (``keep``) and rows that must not (``drop``)."""

    keep: frozenset[int] = frozenset()
    drop: frozenset[int] = frozenset()

    def and_also(self, other: Forced) -> Forced:
        """Both at once."""
        return Forced(self.keep | other.keep, self.drop | other.drop)


NOTHING_FORCED = Forced()


def solve(
    pairs: Sequence[Sequence[Cost | None]], alone: Sequence[Cost], forced: Forced = NOTHING_FORCED
) -> tuple[tuple[int | None, ...], Cost]:
    """Give each row a column of its own or none, at the least total cost.

    ``pairs[row][column]`` is the cost of a pair, None where they do not fit; ``alone[row]`` that of a row
    without a column. Returns the column of each row (None: alone) and the total. What is forced and cannot
    be is paid with a first field beyond every other total, so callers compare totals.
    """
    rows = len(alone)
    if not rows:
        return (), ()
    columns = len(pairs[0])
    base = _base(pairs, alone)
    width = len(alone[0])
    never = base ** (width + 1)  # more than any sum of real costs
    matrix = []
    for row in range(rows):
        single = never if row in forced.keep else _number(alone[row], base)
        fitting = [
            never * 2 if cost is None or row in forced.drop else _number(cost, base) for cost in pairs[row]
        ]
        matrix.append(fitting + [single] * rows)  # one private "alone" column a row would do as well
    assigned = _hungarian(matrix)
    total = sum(matrix[row][column] for row, column in enumerate(assigned))
    of = tuple(column if column < columns else None for column in assigned)
    return of, _fields(total, base, width + 1)


def _base(pairs: Sequence[Sequence[Cost | None]], alone: Sequence[Cost]) -> int:
    """A radix in which no field's sum over all rows overflows into the next."""
    largest = max(max(cost) for cost in alone)
    largest = max([largest, *(max(cost) for row in pairs for cost in row if cost)])
    return (largest + 1) * (len(alone) + 1)


def _number(cost: Cost, base: int) -> int:
    number = 0
    for part in cost:
        number = number * base + part
    return number


def _fields(number: int, base: int, width: int) -> Cost:
    fields = []
    for _ in range(width - 1):
        number, part = divmod(number, base)
        fields.append(part)
    return (number, *reversed(fields))


def _hungarian(matrix: Sequence[Sequence[int]]) -> list[int]:
    """The column of each row in a cheapest complete assignment; needs columns >= rows."""
    rows, columns = len(matrix), len(matrix[0])
    row_price = [0] * (rows + 1)
    column_price = [0] * (columns + 1)
    owner = [0] * (columns + 1)  # 1-based row of each column; 0: free; owner[0] is the row being placed
    for row in range(1, rows + 1):
        owner[0] = row
        here = 0
        slack: list[int | None] = [None] * (columns + 1)
        back = [0] * (columns + 1)
        tree: list[int] = []
        free = list(range(1, columns + 1))  # the columns that are not in the tree
        while owner[here]:
            tree.append(here)
            if here:
                free.remove(here)
            costs, price = matrix[owner[here] - 1], row_price[owner[here]]
            best, step = None, 0
            for column in free:
                reduced = costs[column - 1] - price - column_price[column]
                known = slack[column]
                if known is None or reduced < known:
                    slack[column] = known = reduced
                    back[column] = here
                if best is None or known < best:
                    best, step = known, column
            if best:
                for column in tree:
                    row_price[owner[column]] += best
                    column_price[column] -= best
                for column in free:
                    slack[column] = (slack[column] or 0) - best
            here = step
        while here:
            previous = back[here]
            owner[here] = owner[previous]
            here = previous
    found = [0] * rows
    for column in range(1, columns + 1):
        if owner[column]:
            found[owner[column] - 1] = column - 1
    return found
