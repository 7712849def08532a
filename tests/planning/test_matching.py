"""The matching destroys as little as any assignment could, and never guesses between like disks.

The normal run compares 20,000 random pools with an oracle that tries every assignment. A million:
``RECONCILER_MATCH_CASES=1000000 python -m pytest tests/planning/test_matching.py -k every_assignment``.
One pool alone, as a failure names it: the same with ``RECONCILER_MATCH_FIRST=<its number>`` and one case.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import combinations_with_replacement, product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reconciler.model import Action, DesiredDisk, DesiredPool, Disk, OnTie, Position
from reconciler.planning.change import Change, Rule
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.matching import Match, match
from reconciler.values import replace
from tests.builders import AT, pool
from tests.planning.matching_oracle import Decision, decide, try_all
from tests.planning.random_pools import Case, random_case, shuffled

CASES = int(os.environ.get("RECONCILER_MATCH_CASES", "20000"))
FIRST = int(os.environ.get("RECONCILER_MATCH_FIRST", "0"))
LOSING = frozenset({Action.REMOVE, Action.REPLACE})
cases = st.integers(min_value=0, max_value=10**12).map(random_case)


def sas(size: int, **more: object) -> DesiredDisk:
    return replace(DesiredDisk("SAS", size, AT), **more)  # type: ignore[arg-type]


def live(**sizes: int) -> tuple[Disk, ...]:
    """SAS disks by id."""
    return tuple(Disk(name, "SAS", size) for name, size in sizes.items())


def lost(found: Match) -> set[str]:
    return {each.live.id for each in found.changes if each.action in LOSING and each.live}


def told(found: Match) -> dict[str, str]:
    """Action by live id, ``new`` for disks to add, ``?`` for what a tie leaves open."""
    open_ones = {disk.id: "?" for tie in found.ties for disk in tie.candidates}
    return {each.live.id if each.live else "new": each.action.value for each in found.changes} | open_ones


def rules(found: Match) -> list[str]:
    return [each.rule for each in found.findings]


# --- against every assignment -----------------------------------------------------------------------


def cost(found: Match) -> tuple[int, ...]:
    """What the matching costs, read off its changes; pins are not a choice and cost nothing.

    Protected disks lost are left out: a tie does not say which of its disks go.
    """
    gone = gigabytes = grown = added = unlike = 0
    for each in found.changes:
        if each.live and each.action in LOSING:
            gone += 1
            gigabytes += each.live.size
        elif each.live and each.desired and not each.desired.id:
            more = each.desired.size - each.live.size
            grown += more > 0
            added += more
            unlike += len(each.differs)
    for tie in found.ties:
        (size,) = {disk.size for disk in tie.candidates}
        gone += tie.remove
        gigabytes += size * tie.remove
    return gone, gigabytes, grown, added, unlike


def decision(found: Match) -> Decision:
    ties = {(tie.remove, frozenset(disk.id for disk in tie.candidates)) for tie in found.ties}
    return Decision(frozenset(lost(found)), frozenset(ties))


def check_shape(found: Match, case: Case) -> None:
    """Each side stands once; a replacement happens only where both sides have something left."""
    entries = sorted([id(each.desired) for each in found.changes if each.desired])
    assert entries == sorted(map(id, case.pool.disks))
    shown = [each.live.id for each in found.changes if each.live]
    open_ones = {disk.id for tie in found.ties for disk in tie.candidates} - set(shown)
    assert sorted([*shown, *open_ones]) == sorted(disk.id for disk in case.live)
    assert len(open_ones) == sum(tie.remove for tie in found.ties)
    actions = [each.action for each in found.changes]
    assert not (Action.REMOVE in actions and Action.ADD in actions)
    replaced = actions.count(Action.REPLACE) + min(actions.count(Action.ADD), len(open_ones))
    left = [each.desired for each in found.changes if each.action in (Action.ADD, Action.REPLACE)]
    allowed = sum(entry.replace for entry in left if entry)
    refused = rules(found).count("replace-not-allowed")
    assert refused == max(0, replaced - allowed)
    assert rules(found).count("replace-without-counterpart") == max(0, allowed - replaced)


def check_against_every_assignment(number: int) -> tuple[int, int]:
    """One case; returns how many assignments were tried and whether a tie stayed open."""
    case = random_case(number)
    found = match(case.pool, case.live, case.ages)
    truth = try_all(case.pool, case.live)
    assert cost(found) == truth.cost[:5], f"case {number}: {case}"
    if not found.ties:
        lost_all_the_same = lost(found) & set(case.pool.protect)
        assert len(lost_all_the_same) == truth.cost[5], f"case {number}: {case}"
    right = decide(truth, case.pool, case.live, case.ages)
    assert decision(found) == right, f"case {number}: {case}"
    other = shuffled(number, case)
    assert match(other.pool, other.live, other.ages) == found, f"case {number}: {case}"
    check_shape(found, case)
    return truth.tried, bool(found.ties)


def test_no_assignment_of_every_assignment_is_better(
    record_property: Callable[[str, object], None],
) -> None:
    tried = ties = 0
    for number in range(FIRST, FIRST + CASES):
        assignments, tie = check_against_every_assignment(number)
        tried += assignments
        ties += tie
    record_property(
        "counted", f"matching: {CASES:,} pools, {tried:,} assignments tried, {ties:,} pools with a tie"
    )
    assert tried >= CASES


# --- laws -------------------------------------------------------------------------------------------


@given(cases)
def test_nothing_pinned_is_ever_lost(case: Case) -> None:
    pins = {entry.id for entry in case.pool.disks if entry.id}
    assert not pins & lost(match(case.pool, case.live, case.ages))


@given(cases)
def test_protection_never_makes_another_size_go(case: Case) -> None:
    def sizes(pool: DesiredPool) -> list[tuple[str, int]]:
        found = match(pool, case.live, case.ages)
        gone = [disk for disk in case.live if disk.id in lost(found)]
        gone += [disk for tie in found.ties for disk in tie.candidates[: tie.remove]]
        return sorted((disk.type, disk.size) for disk in gone)

    assert sizes(case.pool) == sizes(replace(case.pool, protect=()))


@given(cases)
def test_a_protected_disk_goes_only_when_no_choice_as_good_spares_it(case: Case) -> None:
    truth = try_all(case.pool, case.live)
    found = match(replace(case.pool, on_tie=None), case.live)
    if not found.ties:
        guarded = set(case.pool.protect)
        assert len(lost(found) & guarded) == min(len(optimum & guarded) for optimum in truth.optima)


@given(cases)
def test_a_kept_or_grown_disk_is_not_lost_as_well(case: Case) -> None:
    found = match(case.pool, case.live, case.ages)
    stays = {each.live.id for each in found.changes if each.live and each.action not in LOSING}
    assert not stays & lost(found)


@given(cases, st.randoms(use_true_random=False))
def test_the_order_of_both_sides_changes_nothing(case: Case, rng: object) -> None:
    other = shuffled(rng, case)
    assert match(other.pool, other.live, other.ages) == match(case.pool, case.live, case.ages)


@given(cases, st.lists(st.sampled_from([0, 10, 40, 200]), min_size=20, max_size=20))
def test_growing_a_size_never_removes(case: Case, growth: Sequence[int]) -> None:
    declared = [DesiredDisk(disk.type, disk.size, AT) for disk in case.live]
    grown = [replace(entry, size=entry.size + more) for entry, more in zip(declared, growth, strict=False)]
    found = match(replace(case.pool, disks=tuple(grown)), case.live, case.ages)
    assert {each.action for each in found.changes} <= {Action.KEEP, Action.EXPAND}
    assert not found.ties
    assert not found.findings


@given(cases)
def test_carrying_a_matching_out_leaves_nothing_to_do(case: Case) -> None:
    free = [replace(entry, replace=True) for entry in case.pool.disks]
    declared = replace(case.pool, disks=tuple(free), on_tie=OnTie.REMOVE_NEWEST)
    found = match(declared, case.live, case.ages)
    assume(not found.ties)
    after = [_carried_out(index, each) for index, each in enumerate(found.changes)]
    again = match(declared, [disk for disk in after if disk])
    assert {(each.action, each.rule) for each in again.changes} <= {
        (Action.KEEP, Rule.EQUAL),
        (Action.KEEP, Rule.PINNED),
    }
    assert not again.ties
    assert not again.findings


def _carried_out(index: int, change: Change) -> Disk | None:
    """The live disk that a change leaves behind."""
    match change.action, change.desired, change.live:
        case Action.KEEP, _, Disk() as disk:
            return disk
        case Action.EXPAND, DesiredDisk(size=size), Disk() as disk:
            return replace(disk, size=size)
        case ((Action.ADD | Action.REPLACE), DesiredDisk() as wanted, _):
            return Disk(f"new-{index}", wanted.type, wanted.size, wanted.iops, wanted.throughput)
        case _:
            return None


@given(cases, st.sampled_from(["SAS", "SSD", "GPSSD"]), st.sampled_from([10, 20, 50, 100, 300]))
def test_declaring_one_more_disk_never_loses_more(case: Case, kind: str, size: int) -> None:
    more = replace(case.pool, disks=(*case.pool.disks, DesiredDisk(kind, size, Position("z.yaml", 9, 9))))
    before, after = try_all(case.pool, case.live).cost, try_all(more, case.live).cost
    found = match(more, case.live, case.ages)
    removed = len(lost(found)) + sum(tie.remove for tie in found.ties)
    assert removed == after[0] <= before[0]


@given(cases)
def test_among_entries_alike_the_one_that_allows_it_is_left_to_replace(case: Case) -> None:
    found = match(case.pool, case.live, case.ages)
    free = [(each.action, each.desired) for each in found.changes if each.desired and not each.desired.id]
    alike = [(action, entry.replace, replace(entry, at=AT, replace=True)) for action, entry in free]
    served = [entry for action, allows, entry in alike if allows and action in (Action.KEEP, Action.EXPAND)]
    refused = [entry for action, allows, entry in alike if not allows and action is Action.REPLACE]
    assert not [entry for entry in refused if entry in served]


SOME_SIZES = (10, 20, 30)


def small_pools() -> Iterator[tuple[DesiredPool, tuple[Disk, ...]]]:
    """Every pool of one type with at most four disks and three entries of three sizes, whatever is protected."""
    sides = [side for number in range(5) for side in combinations_with_replacement(SOME_SIZES, number)]
    for have, wanted in product(sides, [side for side in sides if len(side) < 4]):
        disks = tuple(Disk(f"{index}", "SAS", size) for index, size in enumerate(have))
        for guarded in product((False, True), repeat=len(disks)):
            protect = tuple(disk.id for disk, yes in zip(disks, guarded, strict=True) if yes)
            yield pool(*map(sas, wanted), protect=protect), disks


def test_no_disk_goes_while_another_grows_into_what_it_equals() -> None:
    seen = 0
    for declared, disks in small_pools():
        found = match(declared, disks)
        going = [disk for disk in disks if disk.id in lost(found)]
        going += [disk for tie in found.ties for disk in tie.candidates]
        grown = {(each.desired.type, each.desired.size) for each in found.changes if grows(each)}  # type: ignore[union-attr]
        assert not grown & {(disk.type, disk.size) for disk in going}, (declared, disks)
        seen += bool(grown and going)
    assert seen > 1_000


def grows(change: Change) -> bool:
    return change.action is Action.EXPAND and change.desired is not None and not change.desired.id


def test_what_goes_would_go_as_well_if_no_disk_could_grow() -> None:
    for declared, disks in small_pools():
        found = match(declared, disks)
        gone = Counter(disk.size for disk in disks if disk.id in lost(found))
        gone.update(disk.size for tie in found.ties for disk in tie.candidates[: tie.remove])
        unchanged = Counter(disk.size for disk in disks) & Counter(entry.size for entry in declared.disks)
        assert gone <= Counter(disk.size for disk in disks) - unchanged, (declared, disks)


@given(cases)
def test_a_disk_that_is_exactly_what_is_declared_never_goes_for_one_that_is_not(case: Case) -> None:
    found = match(case.pool, case.live, case.ages)
    unlike = [each.desired for each in found.changes if each.desired and (grows(each) or each.differs)]
    for disk in (disk for disk in case.live if disk.id in lost(found)):
        assert not [entry for entry in unlike if not entry.id and is_exactly(disk, entry)], (disk, found)


def is_exactly(disk: Disk, entry: DesiredDisk) -> bool:
    wishes = ((entry.iops, disk.iops), (entry.throughput, disk.throughput), (entry.kms_id, disk.kms_id))
    same = (entry.type, entry.size) == (disk.type, disk.size)
    return same and all(wish is None or wish == has for wish, has in wishes)


# --- the cases of today's tool, by name -------------------------------------------------------------


@pytest.mark.parametrize(
    ("disks", "declared", "outcome"),
    [
        pytest.param(
            {"A": 50, "B": 70},
            [70],
            {"A": "remove", "B": "keep"},
            id="A50-B70-to-70-names-the-disk-that-goes",
        ),
        pytest.param(
            {"A": 50, "B": 50, "C": 50},
            [50],
            {"A": "?", "B": "?", "C": "?"},
            id="three-alike-to-one-is-asked",
        ),
        pytest.param({"A": 50}, [60], {"A": "expand"}, id="A50-to-60-grows-and-keeps-the-data"),
        pytest.param(
            {"A": 50, "B": 70}, [70, 50], {"A": "keep", "B": "keep"}, id="another-order-is-no-change"
        ),
        pytest.param({"A": 50, "B": 70}, [], {"A": "remove", "B": "remove"}, id="all-to-none-removes-all"),
        pytest.param({"A": 60}, [50], {"A": "replace"}, id="shrinking-would-lose-the-data"),
        pytest.param({"A": 50}, [50, 50], {"A": "keep", "new": "add"}, id="one-more-is-added"),
        pytest.param({}, [50], {"new": "add"}, id="none-to-one-is-added"),
        pytest.param(
            {"A": 50, "B": 60, "C": 70},
            [60, 70],
            {"A": "remove", "B": "keep", "C": "keep"},
            id="an-equal-disk-is-kept-rather-than-another-grown",
        ),
        pytest.param(
            {"A": 50, "B": 70},
            [100],
            {"A": "remove", "B": "expand"},
            id="the-larger-disk-is-the-one-that-grows",
        ),
        pytest.param(
            {"A": 10, "B": 40},
            [40, 50],
            {"A": "expand", "B": "keep"},
            id="as-few-disks-grow-as-possible",
        ),
    ],
)
def test_the_cases_users_meet_today(
    disks: dict[str, int], declared: list[int], outcome: dict[str, str]
) -> None:
    assert told(match(pool(*map(sas, declared)), live(**disks))) == outcome


# --- pins -------------------------------------------------------------------------------------------


def test_a_pin_decides_between_like_disks() -> None:
    found = match(pool(sas(50, id="B")), live(A=50, B=50, C=50))
    assert told(found) == {"A": "remove", "B": "keep", "C": "remove"}
    assert not found.ties


def test_a_pinned_disk_grows_in_place() -> None:
    assert told(match(pool(sas(80, id="A"), sas(50)), live(A=50, B=50))) == {"A": "expand", "B": "keep"}


def test_a_pin_that_is_not_live_matches_nothing_and_says_where() -> None:
    found = match(pool(sas(50, id="gone", at=Position("f.yaml", 7, 9))), live(A=50))
    assert rules(found) == ["pin-not-live"]
    assert "gone" in found.findings[0].message
    assert found.findings[0].source == "f.yaml:7:9"


@pytest.mark.parametrize("entry", [sas(40, id="A"), sas(60, id="A", type="SSD")])
def test_a_pinned_disk_that_does_not_fit_is_left_alone_and_reported(entry: DesiredDisk) -> None:
    found = match(pool(entry), live(A=50))
    assert told(found) == {"A": "keep"}
    assert rules(found) == ["pin-mismatch"]
    assert "type: SAS, size: 50" in found.findings[0].allow


# --- ties -------------------------------------------------------------------------------------------

EARLY, LATER, LAST = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3))


def test_a_tie_lists_its_candidates_and_the_entries_they_compete_for() -> None:
    found = match(pool(sas(50, at=Position("f.yaml", 7, 9)), sas(70)), live(A=50, B=50, C=70))
    (tie,) = found.ties
    assert (tie.remove, [disk.id for disk in tie.candidates]) == (1, ["A", "B"])
    assert [entry.at for entry in tie.desired] == [Position("f.yaml", 7, 9)]
    assert not lost(found)


@pytest.mark.parametrize(
    ("on_tie", "going"), [(OnTie.REMOVE_NEWEST, {"B", "C"}), (OnTie.REMOVE_OLDEST, {"A", "B"})]
)
def test_on_tie_lets_the_ages_choose(on_tie: OnTie, going: set[str]) -> None:
    ages = {"A": EARLY, "B": LATER, "C": LAST}
    found = match(pool(sas(50), on_tie=on_tie), live(A=50, B=50, C=50), ages)
    assert lost(found) == going
    assert not found.ties


@pytest.mark.parametrize(
    "ages", [None, {"A": EARLY}, {"A": EARLY, "B": EARLY}], ids=["unknown", "partly known", "equal"]
)
def test_on_tie_does_not_choose_by_ages_that_do_not_decide(ages: dict[str, datetime] | None) -> None:
    found = match(pool(sas(50), on_tie=OnTie.REMOVE_NEWEST), live(A=50, B=50), ages)
    assert len(found.ties) == 1
    assert not lost(found)


def test_one_tie_that_ages_decide_does_not_undo_another() -> None:
    ages = {"A": EARLY, "B": LATER, "C": EARLY, "D": LATER}
    found = match(pool(sas(50), sas(70), on_tie=OnTie.REMOVE_OLDEST), live(A=50, B=50, C=70, D=70), ages)
    assert lost(found) == {"A", "C"}
    assert not found.ties


def test_a_disk_that_fits_the_declared_performance_is_kept_before_one_that_does_not() -> None:
    disks = (Disk("A", "SAS", 50, iops=100), Disk("B", "SAS", 50, iops=200))
    found = match(pool(sas(50, iops=200)), disks)
    assert told(found) == {"A": "remove", "B": "keep"}
    assert not found.ties


def test_a_difference_nobody_declared_does_not_decide() -> None:
    disks = (Disk("A", "SAS", 50, iops=100), Disk("B", "SAS", 50, iops=200))
    assert len(match(pool(sas(50)), disks).ties) == 1


def test_a_protected_disk_is_no_candidate_while_another_can_go() -> None:
    found = match(pool(sas(50), protect=("A",)), live(A=50, B=50))
    assert told(found) == {"A": "keep", "B": "remove"}


def test_a_protected_disk_goes_rather_than_one_that_equals_what_is_declared() -> None:
    found = match(pool(sas(40), protect=("small",)), live(small=10, exact=40))
    assert told(found) == {"small": "remove", "exact": "keep"}  # and the guard blocks the pool


def test_a_protected_small_disk_is_not_saved_by_a_large_one() -> None:
    found = match(pool(sas(200), protect=("A",)), live(A=10, B=100))
    assert told(found) == {"A": "remove", "B": "expand"}


def test_protection_chooses_between_disks_that_attributes_do_not_tell_apart() -> None:
    disks = (Disk("A", "SAS", 50, iops=100), Disk("B", "SAS", 50, iops=300), Disk("C", "SAS", 50, iops=200))
    found = match(pool(sas(50, iops=200), protect=("A",)), disks[:2])
    assert told(found) == {"A": "keep", "B": "remove"}
    assert told(match(pool(sas(50, iops=200), protect=("A",)), disks)) == {
        "A": "remove",
        "B": "remove",
        "C": "keep",
    }


# --- replacements -----------------------------------------------------------------------------------


def test_a_replacement_nobody_allowed_says_what_would_be_lost_and_what_allows_it() -> None:
    found = match(pool(sas(30, at=Position("f.yaml", 7, 9))), live(A=50))
    (problem,) = found.findings
    assert problem.rule == "replace-not-allowed"
    assert "A (SAS 50 GB)" in problem.message
    assert "replace: true" in problem.allow
    assert problem.source == "f.yaml:7:9"


def test_a_replacement_that_is_allowed_is_no_problem() -> None:
    found = match(pool(sas(30, replace=True)), live(A=50))
    assert (told(found), found.findings) == ({"A": "replace"}, ())


def test_a_permission_to_replace_costs_nothing_while_the_disk_can_be_kept_or_grown() -> None:
    found = match(pool(sas(50, replace=True), sas(70, replace=True)), live(A=50, B=60))
    assert (told(found), found.findings) == ({"A": "keep", "B": "expand"}, ())


def test_the_entry_that_allows_it_is_the_one_that_replaces() -> None:
    found = match(pool(sas(10), sas(20, replace=True)), live(A=50))
    assert [(each.action, each.desired and each.desired.size) for each in found.changes] == [
        (Action.REPLACE, 20),
        (Action.ADD, 10),
    ]
    assert not found.findings


def test_a_permission_to_replace_without_a_disk_to_replace_is_reported() -> None:
    found = match(pool(sas(50, replace=True)), ())
    assert (told(found), rules(found)) == ({"new": "add"}, ["replace-without-counterpart"])


def test_types_are_told_apart_exactly() -> None:
    found = match(pool(sas(50, type="sas")), live(A=50))
    assert told(found) == {"A": "replace"}
    assert rules(found) == ["replace-not-allowed"]


def test_a_tie_does_not_hide_that_one_of_its_disks_would_be_replaced() -> None:
    declared = pool(sas(50), sas(10, at=Position("f.yaml", 7, 9)))
    found = match(declared, live(A=50, B=50))
    assert [tie.remove for tie in found.ties] == [1]
    (finding,) = found.findings
    assert (finding.rule, finding.source) == ("replace-not-allowed", "f.yaml:7:9")
    assert "A or B (SAS 50 GB)" in finding.message


def test_a_permission_to_replace_finds_its_disk_in_a_tie() -> None:
    found = match(pool(sas(50), sas(10, replace=True)), live(A=50, B=50))
    assert (rules(found), [tie.remove for tie in found.ties]) == ([], [1])


def test_a_permission_too_many_beside_a_tie_blocks_now_and_not_after_the_pin() -> None:
    found = match(pool(sas(50), sas(10, replace=True), sas(20, replace=True)), live(A=50, B=50))
    assert [(each.rule, each.severity) for each in found.findings] == [
        ("replace-without-counterpart", Severity.BLOCK)
    ]


# --- what cannot be trusted -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("disks", "rule"),
    [
        ([Disk("", "SAS", 50)], "disk-without-id"),
        ([Disk("A", "SAS", 50), Disk("A", "SAS", 70)], "disk-id-repeated"),
        ([Disk("A", "SAS", -50)], "disk-size-absurd"),
        ([Disk("A", "SAS", 0)], "disk-size-absurd"),
        ([Disk("A", "SAS", 32_761)], "disk-size-absurd"),
    ],
)
@pytest.mark.parametrize("declared", [(), (sas(40, replace=True),), (sas(80),), (sas(32_761),)])
def test_a_disk_that_cannot_be_trusted_is_never_changed(
    disks: list[Disk], rule: str, declared: tuple[DesiredDisk, ...]
) -> None:
    found = match(pool(*declared), disks)
    assert {(each.action, each.rule) for each in found.changes if each.live} == {
        (Action.KEEP, Rule.SET_ASIDE)
    }
    assert rules(found).count(rule) == 1


def test_the_largest_size_of_any_document_is_not_absurd() -> None:
    assert not match(pool(sas(32_760)), live(A=32_760)).findings


# --- size of the problem ----------------------------------------------------------------------------


@settings(max_examples=3)
@given(st.integers(min_value=0, max_value=1000))
def test_a_hundred_disks_on_both_sides_are_matched_exactly(seed: int) -> None:
    disks = [Disk(f"{index:03d}", "SAS", 10 + (index * 7 + seed) % 90) for index in range(100)]
    declared = [sas(5 + (index * 11 + seed) % 90) for index in range(100)]
    found = match(pool(*declared, protect=("000",)), disks)
    served = sum(each.action in (Action.KEEP, Action.EXPAND) for each in found.changes)
    assert served == _most_served([disk.size for disk in disks], [entry.size for entry in declared])


def _most_served(have: list[int], wanted: list[int]) -> int:
    """Disks of one type that some entry can serve: the smallest with the smallest that holds it."""
    left = sorted(wanted)
    served = 0
    for size in sorted(have):
        fitting = [each for each in left if each >= size]
        if fitting:
            left.remove(fitting[0])
            served += 1
    return served


# --- what a change or a finding says ------------------------------------------------------------------


def test_a_replacement_takes_a_disk_of_its_own_type_if_one_goes() -> None:
    disks = (Disk("A", "SAS", 50), Disk("B", "SSD", 50))
    found = match(pool(sas(10, type="SSD", replace=True)), disks)
    assert told(found) == {"A": "remove", "B": "replace"}


def test_a_replacement_beside_ties_is_of_the_tie_of_its_own_type() -> None:
    disks = (*live(A=50, B=50), Disk("C", "SSD", 50), Disk("D", "SSD", 50))
    found = match(pool(sas(50), sas(50, type="SSD"), sas(10, type="SSD")), disks)
    (finding,) = found.findings
    assert "disk C or D (SSD 50 GB) would be destroyed" in finding.message


def test_as_few_disks_grow_as_possible_even_by_one_gb() -> None:
    assert told(match(pool(sas(11), sas(12)), live(A=10, B=11))) == {"A": "expand", "B": "keep"}


def test_a_disk_with_the_declared_key_is_kept_before_one_with_another() -> None:
    disks = (Disk("A", "SAS", 50, kms_id="one"), Disk("B", "SAS", 50, kms_id="two"))
    assert told(match(pool(sas(50, kms_id="two")), disks)) == {"A": "remove", "B": "keep"}


def test_entries_that_differ_in_their_performance_alone_are_matched_in_any_order() -> None:
    slow, fast = sas(50, iops=100), sas(50, iops=200)
    found = match(pool(slow, fast), ())
    assert found == match(pool(fast, slow), ())
    assert [each.desired for each in found.changes] == [slow, fast]


@pytest.mark.parametrize(
    "disks",
    [
        [Disk("", "SAS", 50)],
        [Disk("A", "SAS", 50), Disk("A", "SAS", 50)],
        [Disk("A", "SAS", 0)],
        [Disk("A", "SAS", 32_761)],
    ],
)
def test_a_disk_that_cannot_be_trusted_is_reported_although_it_is_what_is_declared(disks: list[Disk]) -> None:
    found = match(pool(*(sas(disk.size) for disk in disks)), disks)
    assert [each.rule for each in found.changes if each.live] == [Rule.SET_ASIDE] * len(disks)
    (finding,) = found.findings
    assert (finding.pool, finding.source) == ("pool", str(AT))
    assert finding.allow == "plan again; if it stays, ask the service's support"


def test_a_disk_of_one_gb_is_not_absurd() -> None:
    assert told(match(pool(sas(2)), live(A=1))) == {"A": "expand"}


def test_a_permission_left_over_warns_and_beside_a_removal_blocks() -> None:
    declared = pool(sas(50, replace=True, at=Position("f.yaml", 7, 9)))
    (finding,) = match(declared, ()).findings
    assert finding == Finding(
        "replace-without-counterpart",
        "replace: true beside SAS 50 GB, but no disk is left to replace",
        Severity.WARN,
        "pool",
        source="f.yaml:7:9",
        allow="take replace: true out of the entry",
    )


def test_a_tie_that_is_only_shown_leaves_a_permission_left_over_a_warning() -> None:
    declared = pool(sas(50), sas(10, replace=True), sas(20, replace=True), manage=frozenset({Action.ADD}))
    found = match(declared, live(A=50, B=50))
    assert [each.severity for each in found.findings if each.rule == "replace-without-counterpart"] == [
        Severity.WARN
    ]


def test_a_refused_replacement_blocks() -> None:
    assert [each.severity for each in match(pool(sas(30)), live(A=50)).findings] == [Severity.BLOCK]


def test_a_pin_that_does_not_fit_says_what_is_there_and_what_would_do() -> None:
    found = match(pool(sas(40, id="A", at=Position("f.yaml", 7, 9))), live(A=50))
    assert found.findings == (
        Finding(
            "pin-mismatch",
            "the pinned disk A is SAS 50 GB, declared SAS 40 GB",
            pool="pool",
            source="f.yaml:7:9",
            allow="declare it as {id: A, type: SAS, size: 50}, or drop the id to let it be replaced",
        ),
    )
