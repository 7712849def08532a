"""Which backups count: state, age, end, region and volume, each exactly at its limit; and what is said of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.apply.second_check import SecondCheckFailed, check_backups
from reconciler.model import BackedVolume, Backup, BackupRule, Desktop, Disk, Policy, Pool
from reconciler.planning.anonymous import anonymised_pool
from reconciler.planning.backups import AHEAD, Found, backup_words, found, rule_of, with_backups
from reconciler.planning.draft import draft
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.guards import judge_pool, pool_checks
from reconciler.planning.permissions import age_words
from reconciler.planning.plan import BACKUP, TRANSIENT_RULES, Backups, PoolPlan, pool_decision
from reconciler.values import replace
from tests.builders import AT, backup_page, copies_of, entry, pool

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
DAY, MOMENT = timedelta(days=1), timedelta(microseconds=1)
RULE = BackupRule(DAY, AT)
KEPT_DISK, GOING = Disk("kept", "SSD", 100), Disk("going", "SAS", 50)
LIVE = Pool("pool-1", "pool", (KEPT_DISK, GOING), desktop_count=2)
DESKTOPS = tuple(
    Desktop(f"d-{number}", name, copies=copies_of(LIVE.disks, number))
    for number, name in enumerate(("amy-pc", "zoe-pc"))
)
GOOD = Backup("b-0", "d-0", "available", NOW - timedelta(hours=10))
OTHER = Backup("b-1", "d-1", "available", NOW - timedelta(hours=11))
OWN = BackedVolume("v-0-going", "available")


def planned(*backups: Backup, rule: BackupRule = RULE, desktops: Sequence[Desktop] = DESKTOPS) -> PoolPlan:
    drafted = draft(pool(entry("SSD", 100)), LIVE, desktops)
    return judge_pool(with_backups(drafted, rule, found(backups, NOW)))


def known(plan: PoolPlan) -> Backups:
    [loss] = plan.disk_losses
    assert loss.backups
    return loss.backups


def blocks(plan: PoolPlan) -> list[Finding]:
    return [each for each in plan.findings if (each.rule, each.severity) == (BACKUP, Severity.BLOCK)]


def test_with_a_fresh_backup_of_each_desktop_nothing_is_blocked() -> None:
    plan = planned(GOOD, OTHER)
    assert blocks(plan) == []
    assert known(plan) == Backups(DAY, 2, 2, OTHER.made, undivided=2)
    assert backup_words(known(plan)).startswith(
        "2 of 2 desktops have a backup younger than 24 h, the oldest of "
    )
    assert [[each.id for each in copy.backups] for copy in plan.disk_losses[0].lost] == [["b-0"], ["b-1"]]


@pytest.mark.parametrize(
    ("backup", "counts"),
    [
        (replace(GOOD, made=NOW - DAY + MOMENT), True),
        (replace(GOOD, made=NOW - DAY), False),
        (replace(GOOD, made=NOW + AHEAD), True),
        (replace(GOOD, made=NOW + AHEAD + MOMENT), False),
        (replace(GOOD, made=None), False),
        (replace(GOOD, expires=NOW + MOMENT), True),
        (replace(GOOD, expires=NOW), False),
        (replace(GOOD, status="protecting"), False),
        (replace(GOOD, status="error"), False),
        (replace(GOOD, status="Available"), False),
        (replace(GOOD, replica=True), False),
        (replace(GOOD, restorable=False), False),
        (replace(GOOD, desktop_id="d-9"), False),
        (replace(GOOD, volumes=(OWN,)), True),
        (replace(GOOD, volumes=(BackedVolume("v-0-kept", "available"), OWN)), True),
        (replace(GOOD, volumes=(BackedVolume("v-0-kept", "available"),)), False),
        (replace(GOOD, volumes=(BackedVolume("", "available"),)), False),
        (replace(GOOD, volumes=(replace(OWN, status="error"),)), False),
        (replace(GOOD, volumes=(replace(OWN, expires=NOW),)), False),
        (replace(GOOD, volumes=(replace(OWN, expires=NOW + MOMENT),)), True),
        (replace(GOOD, volumes=(replace(OWN, restorable=False),)), False),
    ],
)
def test_a_backup_counts_at_its_limit_and_the_second_check_agrees(backup: Backup, counts: bool) -> None:
    plan = planned(backup, OTHER)
    assert (len(blocks(plan)) == 0) is counts
    assert agrees(plan, [backup, OTHER]) is counts


def test_a_desktop_with_any_backup_that_counts_has_one() -> None:
    plan = planned(replace(GOOD, id="b-9", status="error"), GOOD, replace(GOOD, id="b-8", made=NOW), OTHER)
    assert known(plan).having == 2
    assert known(plan).oldest == OTHER.made
    assert [each.id for each in plan.disk_losses[0].lost[0].backups] == ["b-8", "b-0"]


def test_a_desktop_with_two_copies_needs_a_backup_of_each() -> None:
    twice = tuple(
        replace(each, copies=(*each.copies, replace(each.copies[1], volume_id=f"{each.id}-more")))
        for each in DESKTOPS
    )
    [finding] = blocks(planned(replace(GOOD, volumes=(OWN,)), OTHER, desktops=twice))
    assert (finding.measured, finding.limit) == (1, 2)
    more = replace(GOOD, id="b-2", volumes=(BackedVolume("d-0-more", "available"),))
    assert blocks(planned(replace(GOOD, volumes=(OWN,)), more, OTHER, desktops=twice)) == []


def test_a_copy_whose_volume_is_not_known_is_in_no_backup_that_names_its_volumes() -> None:
    nameless = tuple(
        replace(each, copies=tuple(replace(copy, volume_id="") for copy in each.copies)) for each in DESKTOPS
    )
    empty = replace(GOOD, volumes=(BackedVolume("", "available"),))
    for backup, counts in ((GOOD, True), (replace(GOOD, volumes=(OWN,)), False), (empty, False)):
        plan = planned(backup, OTHER, desktops=nameless)
        assert (blocks(plan) == []) is counts
        assert agrees(plan, [backup, OTHER]) is counts


def test_older_backups_are_kept_too_newest_first_but_do_not_count() -> None:
    many = [replace(GOOD, id=f"b-{days:02}", made=NOW - days * DAY) for days in range(1, 20)]
    plan = planned(*many, OTHER)
    [copy, _] = plan.disk_losses[0].lost
    assert [each.id for each in copy.backups] == [f"b-{days:02}" for days in range(1, 11)]
    [lacking] = known(plan).lacking
    assert (lacking.desktop_name, lacking.latest) == ("amy-pc", NOW - DAY)


def test_the_finding_has_number_limit_place_and_hint_and_names_desktops_by_their_ids() -> None:
    [finding] = blocks(planned(OTHER))
    assert (finding.measured, finding.limit, finding.source) == (1, 2, "pools.yaml:5:3")
    assert finding.message == (
        "disk going: 1 of 2 desktops has a backup younger than 24 h, the oldest of 2026-11-25 22:00 UTC; "
        "desktop d-0 has none; it is not known which disks the backups of 1 desktop hold"
    )
    assert "back these desktops up" in finding.allow
    assert "pools.yaml" in finding.allow
    assert (
        BACKUP in TRANSIENT_RULES
    )  # one that grew too old after a review leaves the other pools' approval alone


def test_backups_that_could_not_be_read_block_every_removal() -> None:
    drafted = draft(pool(entry("SSD", 100)), LIVE, DESKTOPS)
    plan = judge_pool(with_backups(drafted, RULE, Found(NOW, unread="HTTP 403")))
    [finding] = blocks(plan)
    assert finding.message == "disk going: whether these desktops have a backup could not be read: HTTP 403"
    assert (finding.measured, finding.limit) == (None, None)
    assert "cbr:backups:list" in finding.allow
    assert known(plan) == Backups(DAY, 2, 0, unread="HTTP 403")


def test_a_removal_whose_backups_were_never_looked_for_is_blocked() -> None:
    [finding] = blocks(judge_pool(replace(draft(pool(entry("SSD", 100)), LIVE, DESKTOPS), backup=RULE)))
    assert finding.message == "disk going: the backups of its desktops are not known"


def test_where_nothing_goes_nobody_is_to_believe_that_there_are_backups() -> None:
    kept = draft(pool(entry("SSD", 100)), replace(LIVE, disks=(KEPT_DISK,)), DESKTOPS)
    [said] = [each for each in pool_checks(replace(kept, backup=RULE)) if each.rule == BACKUP]
    assert said.message == "no desktop would lose a copy now, so no backup was looked at"


def test_where_no_desktop_loses_a_copy_no_backup_is_needed() -> None:
    plan = planned(desktops=())
    assert blocks(plan) == []
    assert backup_words(known(plan)) == "no desktop loses a copy, so no backup is needed"


def test_the_stricter_of_entry_and_policy_holds() -> None:
    loose = BackupRule(2 * DAY, AT)
    for of_entry, of_policy, expected in (
        (RULE, loose, RULE),
        (loose, RULE, RULE),
        (RULE, None, RULE),
        (None, loose, loose),
        (None, None, None),
    ):
        desired = pool(entry("SSD", 100), backup=of_entry)
        assert rule_of(desired, Policy("policy.yaml", "1", backup=of_policy)) == expected
    assert rule_of(pool(backup=RULE), None) == RULE


def test_the_decision_holds_how_old_a_backup_may_be_and_not_which_there_are() -> None:
    assert pool_decision(planned(GOOD, OTHER)) == pool_decision(planned(replace(GOOD, id="b-7"), OTHER))
    assert pool_decision(planned(GOOD, OTHER))["backup"] == 86400
    assert "backup" not in pool_decision(draft(pool(entry("SSD", 100)), LIVE, DESKTOPS))


def test_a_sentence_names_few_desktops_and_nobody_once_names_were_taken_out() -> None:
    many = tuple(
        Desktop(f"d-{number}", f"pc-{number}", copies=copies_of(LIVE.disks, number)) for number in range(9)
    )
    plan = planned(replace(GOOD, made=NOW - 3 * DAY), OTHER, desktops=many)
    words = backup_words(known(plan))
    assert "; pc-0 has only older ones, the newest of 2026-11-23 09:00 UTC; " in words
    assert "; pc-2, pc-3, pc-4, pc-5, pc-6 and 2 more have none; " in words
    assert "; pc-3, pc-4, pc-5, pc-6, pc-7 have none; " in backup_words(
        replace(known(plan), lacking=known(plan).lacking[2:7])
    )
    assert known(planned(OTHER, desktops=many[::-1])).lacking == known(planned(OTHER, desktops=many)).lacking
    assert backup_words(known(planned(desktops=many[:1]))) == (
        "none of 1 desktop has a backup younger than 24 h; pc-0 has none"
    )
    assert "pc-" not in backup_words(known(anonymised_pool(plan)))
    assert "desktop d-2" in backup_words(known(anonymised_pool(plan)))


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(hours=24), "24 h"),
        (timedelta(hours=48), "48 h"),
        (timedelta(days=3), "3 d"),
        (timedelta(hours=73), "73 h"),
        (timedelta(minutes=90), "90 min"),
        (timedelta(seconds=61), "61 s"),
    ],
)
def test_an_age_is_written_in_the_largest_unit_that_is_exact(age: timedelta, words: str) -> None:
    assert age_words(age) == words


# --- the second check -------------------------------------------------------------------------------


def agrees(plan: PoolPlan, backups: Sequence[Backup]) -> bool:
    copies = [copy for loss in plan.disk_losses for copy in loss.lost]
    try:
        check_backups([backup_page(backups)], copies, DAY, NOW)
    except SecondCheckFailed:
        return False
    return True


def test_the_second_check_agrees_with_the_plan_on_any_backups() -> None:
    dice = random.Random(20261126)
    both = 0
    for _ in range(800):
        backups = [random_backup(dice, number) for number in range(dice.randrange(1, 6))]
        plan = planned(*backups)
        both += agrees(plan, backups)
        assert agrees(plan, backups) is (blocks(plan) == []), backups
    assert 40 < both < 760


def random_backup(dice: random.Random, number: int) -> Backup:
    """One with few faults, so that every second set of them is good."""

    def mostly(good: Any, *bad: Any) -> Any:
        return good if dice.random() < 0.85 else dice.choice(bad)

    desktop = dice.randrange(2)
    end = mostly(None, NOW, NOW + MOMENT, NOW - DAY)
    volumes = tuple(
        BackedVolume(f"v-{desktop}-{disk.id}", mostly("available", "error"), mostly(None, NOW, NOW + DAY))
        for disk in dice.sample(LIVE.disks, dice.randrange(3))
    )
    made = mostly(NOW - timedelta(hours=dice.randrange(24)), None, NOW - DAY, NOW + 2 * AHEAD)
    state = mostly("available", "protecting", "error", "deleting")
    flags = {"replica": mostly(False, True), "restorable": mostly(True, False)}
    return Backup(f"b-{number}", f"d-{desktop}", state, made, end, volumes, **flags)


@pytest.mark.parametrize(
    "pages",
    [
        [b""],
        [b"[]"],
        [b'{"count": 2}'],
        [backup_page([GOOD, OTHER], count=3)],
        [backup_page([GOOD]), backup_page([OTHER])],
        [backup_page([GOOD, OTHER, GOOD])],
        [backup_page([GOOD, OTHER]).replace(b"DesktopV2", b"Server")],
        [],
    ],
    ids=["nothing", "a list", "no list", "fewer", "uncounted pages", "twice", "of a server", "no page"],
)
def test_the_second_check_refuses_a_list_that_is_not_whole(pages: list[bytes]) -> None:
    [loss] = planned(GOOD, OTHER).disk_losses
    check_backups([backup_page([GOOD, OTHER])], loss.lost, DAY, NOW)
    check_backups([backup_page([GOOD], count=2), backup_page([OTHER], count=2)], loss.lost, DAY, NOW)
    with pytest.raises(SecondCheckFailed):
        check_backups(pages, loss.lost, DAY, NOW)
