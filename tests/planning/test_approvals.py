"""An approval counts for the plan, the time and the person that it is for, and each person once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.model import Limits
from reconciler.planning.approvals import Demand, Given, SignedApproval, judge, parse, people
from reconciler.planning.finding import Finding
from reconciler.planning.plan import Plan
from reconciler.render.json.approval import approval_json
from reconciler.values import replace

NOW = datetime(2026, 3, 10, 12, 0, 30, 500_000, tzinfo=UTC)
HOUR = timedelta(hours=1)
PLAN = Plan("plan-1", (), (), Limits(), NOW, NOW + HOUR, "1.0")
DEMAND = Demand(PLAN, NOW)


def signed(age: timedelta = timedelta(0), digest: str = PLAN.digest) -> SignedApproval:
    made = (NOW - age).replace(microsecond=0)
    return SignedApproval(digest, made, made + 24 * HOUR, "signature")


def by(person: str, approval: SignedApproval | None = None) -> Given:
    return Given(f"{person}.json", approval or signed(), person)


def reasons(*given: Given, demand: Demand = DEMAND) -> list[str]:
    return [each.reason for each in judge(given, demand)]


def test_an_approval_comes_back_as_it_was_printed() -> None:
    assert parse(approval_json(signed())) == signed()


def test_everything_that_an_approval_says_is_signed_and_the_person_is_no_part_of_it() -> None:
    made = signed()
    others = [
        replace(made, digest="0" * 64),
        replace(made, created=made.created - HOUR),
        replace(made, expires=made.expires + HOUR),
    ]
    assert len({each.message for each in (made, *others)}) == 4
    assert set(json.loads(made.message)) == {"kind", "digest", "created", "expires"}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"kind": "reconciler-plan"}, "not an approval"),
        ({"format_version": "2.0"}, "format"),
        ({"digest": "abc"}, "lacks a digest"),
        ({"digest": None}, "lacks a digest"),
        ({"signature": 7}, "lacks a digest or a signature"),
        ({"created": "yesterday"}, "a time that cannot be read"),
        ({"expires": "2026-03-10T12:00:00"}, "a time without a zone"),
    ],
)
def test_what_is_no_approval_says_why(changed: dict[str, object], why: str) -> None:
    document = json.loads(approval_json(signed())) | changed
    with pytest.raises(ValueError, match=why):
        parse(json.dumps(document))


@pytest.mark.parametrize("text", ["", "[]", "{", "7", "[" * 100_000])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="it is not"):
        parse(text)


def test_good_approvals_of_two_people_make_two() -> None:
    judged = judge([by("bob"), by("alice")], DEMAND)
    assert [each.reason for each in judged] == ["", ""]
    assert people(judged) == ("alice", "bob")


def test_one_person_counts_once_however_often_and_in_whatever_letters() -> None:
    judged = judge([by("alice"), by("alice"), by("Alice")], DEMAND)
    assert [each.reason for each in judged] == ["", "alice is counted already", "Alice is counted already"]
    assert people(judged) == ("alice",)


def test_a_bad_approval_of_somebody_does_not_spoil_the_good_one() -> None:
    assert reasons(by("alice", signed(25 * HOUR)), by("alice"))[1] == ""


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (by("alice", signed(digest="0" * 64)), "it is for digest 000"),
        (by("alice", signed(24 * HOUR)), "it expired at 2026-03-10 12:00:30 UTC"),
        (by("alice", signed(-6 * HOUR)), "which is in the future"),
        (Given("a.json", signed(), "", "no key that the policy lists signed it"), "no key that the policy"),
        (Given("a.json", signed(), "alice", "its signature does not fit"), "its signature does not fit"),
        (Given("a.json", None, "", "it is not JSON"), "it is not JSON"),
        (Given("a.json", signed(), ""), "no listed key signed it"),
        (Given("a.json", None, "alice"), "no listed key signed it"),
    ],
)
def test_what_does_not_count_says_why(given: Given, why: str) -> None:
    [reason] = reasons(given)
    assert why in reason


def test_an_approval_counts_until_the_policys_max_age_and_its_own_end() -> None:
    ages = [timedelta(minutes=59), timedelta(hours=1)]
    found = [reasons(by("alice", signed(age)), demand=replace(DEMAND, max_age=HOUR)) for age in ages]
    assert [bool(each) for [each] in found] == [False, True]
    assert "older than the policy's max_age" in found[1][0]


def test_a_clock_that_is_a_little_ahead_is_no_reason() -> None:
    assert reasons(by("alice", signed(-timedelta(minutes=4)))) == [""]


def test_nobody_can_have_reviewed_a_plan_file_before_it_was_made() -> None:
    # Both were made in one second, and an approval is dated to the second.
    assert reasons(by("alice"), demand=replace(DEMAND, not_before=NOW)) == [""]
    [reason] = reasons(by("alice", signed(timedelta(seconds=1))), demand=replace(DEMAND, not_before=NOW))
    assert "older than the plan file" in reason


def test_an_approval_holds_where_only_what_comes_and_goes_was_blocked_since() -> None:
    closed = replace(PLAN, findings=(Finding("policy-window", "closed"),))
    assert reasons(by("alice"), demand=Demand(closed, NOW)) == [""]
