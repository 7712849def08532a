"""The assignment is a cheapest one, honours what is forced, and says by its total when it cannot."""

from __future__ import annotations

from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.planning.assignment import Cost, Forced, solve

costs = st.tuples(*[st.integers(min_value=0, max_value=4)] * 3)


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[list[Cost | None]], list[Cost]]:
    rows = draw(st.integers(min_value=1, max_value=4))
    columns = draw(st.integers(min_value=0, max_value=4))
    pairs = [[draw(st.none() | costs) for _ in range(columns)] for _ in range(rows)]
    return pairs, [draw(costs) for _ in range(rows)]


@st.composite
def forced_problems(draw: st.DrawFn) -> tuple[list[list[Cost | None]], list[Cost], Forced]:
    pairs, alone = draw(problems())
    wish = [draw(st.sampled_from(["keep", "drop", "free", "free"])) for _ in alone]
    return (
        pairs,
        alone,
        Forced(
            frozenset(row for row, each in enumerate(wish) if each == "keep"),
            frozenset(row for row, each in enumerate(wish) if each == "drop"),
        ),
    )


def total(pairs: list[list[Cost | None]], alone: list[Cost], of: tuple[int | None, ...]) -> Cost | None:
    """What an assignment costs; None when it gives a row a column that does not fit."""
    parts = [alone[row] if column is None else pairs[row][column] for row, column in enumerate(of)]
    found = [part for part in parts if part is not None]
    return tuple(map(sum, zip(*found, strict=True))) if len(found) == len(parts) else None


def cheapest(pairs: list[list[Cost | None]], alone: list[Cost], forced: Forced) -> Cost | None:
    """The least total over all assignments that honour what is forced; None when there is none."""
    rows, columns = len(alone), len(pairs[0])
    best: Cost | None = None
    for chosen in product([False, True], repeat=rows):
        taking = [row for row in range(rows) if chosen[row]]
        if not forced.keep <= set(taking) or forced.drop & set(taking) or len(taking) > columns:
            continue
        for order in permutations(range(columns), len(taking)):
            of = dict(zip(taking, order, strict=True))
            cost = total(pairs, alone, tuple(of.get(row) for row in range(rows)))
            if cost is not None and (best is None or cost < best):
                best = cost
    return best


@given(problems())
def test_no_assignment_costs_less(problem: tuple[list[list[Cost | None]], list[Cost]]) -> None:
    pairs, alone = problem
    of, cost = solve(pairs, alone)
    assert cost == (0, *(total(pairs, alone, of) or ()))
    assert cost[1:] == cheapest(pairs, alone, Forced())
    taken = [column for column in of if column is not None]
    assert len(taken) == len(set(taken))


@given(forced_problems())
def test_what_is_forced_is_honoured_or_the_total_shows_that_it_cannot_be(
    problem: tuple[list[list[Cost | None]], list[Cost], Forced],
) -> None:
    pairs, alone, forced = problem
    of, cost = solve(pairs, alone, forced)
    possible = cheapest(pairs, alone, forced)
    if possible is None:
        assert cost[0] > 0
        return
    assert cost == (0, *possible)
    assert all(of[row] is not None for row in forced.keep)
    assert all(of[row] is None for row in forced.drop)


def test_an_earlier_field_outweighs_any_sum_of_later_ones() -> None:
    pairs: list[list[Cost | None]] = [[(0, 32_768), (1, 0)] for _ in range(2)]
    of, cost = solve(pairs, [(1, 1), (1, 1)])
    assert cost == (0, 1, 32_768)
    assert of.count(0) == 1


def test_a_row_without_a_fitting_column_stays_alone() -> None:
    assert solve([[None, None]], [(7,)]) == ((None,), (0, 7))


@pytest.mark.parametrize(("pairs", "alone", "found"), [([], [], ((), ())), ([[]], [(3,)], ((None,), (0, 3)))])
def test_nothing_to_assign_is_no_fault(
    pairs: list[list[Cost | None]], alone: list[Cost], found: tuple[tuple[int | None, ...], Cost]
) -> None:
    assert solve(pairs, alone) == found


def test_forced_rows_add_up() -> None:
    one, two = Forced(frozenset({1}), frozenset({2})), Forced(frozenset({3}), frozenset({4}))
    assert one.and_also(two) == Forced(frozenset({1, 3}), frozenset({2, 4}))
