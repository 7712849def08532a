"""The console output: Terraform's words, and no name that controls the terminal."""

from __future__ import annotations

import re
import unicodedata

import pytest

from reconciler.model import Action, Target, Whom
from reconciler.planning.change import Change, Rule
from reconciler.planning.plan import Loss, Service, Totals
from reconciler.render import words
from reconciler.render.explain import explain_lines
from reconciler.render.html import plan_html
from reconciler.render.json.plan import plan_json
from reconciler.render.line import Line
from reconciler.render.markdown import plan_markdown
from reconciler.render.text import head_lines, plan_lines
from reconciler.values import replace
from tests import sample_plans
from tests.render.hostile import HOSTILE


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_drives_the_terminal(text: str) -> None:
    for line in plan_lines(sample_plans.hostile(text)):
        for character in line.text:
            assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_imitates_a_line_that_parsers_look_for(text: str) -> None:
    plan = sample_plans.hostile(text)
    shown = [line.text for line in plan_lines(plan)]
    assert [line for line in shown if line.startswith("Plan: ")] == [words.summary(plan.totals)]
    assert not [line for line in shown if line.startswith(("No changes.", "Error: ", "::"))]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_every_line_survives_an_ascii_terminal(text: str) -> None:
    for line in plan_lines(sample_plans.hostile(text)):
        shown = line.text.encode("ascii", "backslashreplace").decode("ascii")
        assert not shown or shown.isprintable()


def test_a_line_is_one_line_whatever_it_is_made_of() -> None:
    assert Line("a\nb\x1b[0m").text == "a\\nb\\x1b[0m"


def test_a_blocked_plan_is_shown_completely() -> None:
    shown = "\n".join(line.text for line in plan_lines(sample_plans.over_limit()))
    for word in ("limit-copies", "limit-users", "live-session", "will be destroyed", "Digest: ", "for good"):
        assert word in shown


def test_a_resize_is_an_expansion_and_destroys_nothing() -> None:
    shown = [line.text for line in plan_lines(sample_plans.resize())]
    assert "Plan: 0 to add, 1 to change, 0 to destroy." in shown
    assert not any("destroyed" in line for line in shown)


def test_a_tie_names_each_candidate_with_the_line_that_keeps_it() -> None:
    shown = [line.text.strip() for line in plan_lines(sample_plans.tie())]
    for disk in words.candidates(sample_plans.tie().pools[0]):
        assert words.pin(disk) in shown


def test_what_is_blocked_has_a_line_of_its_own() -> None:
    shown = [line.text for line in plan_lines(sample_plans.over_limit())]
    assert "Plan: 0 to add, 0 to change, 1 to destroy." in shown
    assert "Blocked: 1 pool, 1 disk that would be destroyed." in shown
    assert not [
        line.text for line in plan_lines(sample_plans.two_removals()) if line.text.startswith("Blocked: ")
    ]


@pytest.mark.parametrize("rule", Rule)
def test_every_rule_has_a_reason_in_words(rule: Rule) -> None:
    assert words.reason(Change(Action.KEEP, rule))


def test_a_disk_set_aside_is_not_said_to_be_declared() -> None:
    assert words.reason(Change(Action.KEEP, Rule.SET_ASIDE)).startswith("set aside")


def test_users_beyond_the_tenth_are_counted() -> None:
    shown = "\n".join(line.text for line in plan_lines(sample_plans.over_limit()))
    assert "user-09 and 20 more." in shown
    assert "user-10" not in shown


def only_shown(*manage: Action) -> str:
    """The text of a pool with a disk that is declared larger and one that is declared in vain."""
    declared = sample_plans.pool(
        "research", sample_plans.wanted("SSD", 300), sample_plans.wanted("SAS", 20, 9)
    )
    declared = replace(declared, manage=frozenset(manage))
    plan = sample_plans.whole(sample_plans.planned(declared, [sample_plans.disk(3, "SSD", 100)]))
    return "".join(f"{line.text}\n" for line in plan_lines(plan))


def test_differences_that_are_only_shown_are_no_match_and_name_the_line_that_carries_them_out() -> None:
    shown = only_shown(Action.REMOVE)
    assert (
        "\nNo changes to carry out. 2 differences are only shown: 1 disk to expand, 1 disk to add.\n" in shown
    )
    assert (
        "to carry it out, write manage: [remove, expand, add] into the entry at pools/finance.yaml:5:5"
        in shown
    )
    assert "matches" not in shown


def test_what_is_managed_already_stays_managed_in_the_line_to_write() -> None:
    assert "write manage: [expand, add] into the entry" in only_shown()


# As Atlantis and tfcmt have them.
@pytest.mark.parametrize(
    "expression",
    [
        r"No changes. (Infrastructure is up-to-date|Your infrastructure matches the configuration).",
        r"(?m)^No changes\.",
    ],
)
def test_a_plan_without_a_difference_says_so_in_terraforms_sentence(expression: str) -> None:
    shown = "".join(f"{line.text}\n" for line in plan_lines(sample_plans.no_changes()))
    assert re.search(expression, shown)
    assert not re.search(expression, only_shown(Action.REMOVE))


def test_people_groups_and_sessions_are_counted_apart() -> None:
    lost = Totals(destroy=1, copies=2, desktops=2, gigabytes=100, users=1, groups=1, live_sessions=2)
    assert words.loss_words(lost) == (
        "2 copies on 2 desktops, 100 GB, at least 1 user and 1 user group affected; "
        "2 desktops with a connected session right now"
    )


def test_what_sets_a_pool_and_its_desktops_apart_is_shown_wherever_something_is_lost() -> None:
    plan = sample_plans.two_removals()
    losing = next(pool for pool in plan.pools if pool.loss.disks and pool.live)
    assert losing.live
    changed = replace(
        losing,
        loss=replace(losing.loss, maintained=3, isolated=1, frozen=2),
        live=replace(losing.live, autoscale=True, in_maintenance_mode=True),
    )
    special = replace(plan, pools=(changed,))
    forms = [
        "\n".join(line.text for line in plan_lines(special)),
        "\n".join(line.text for line in explain_lines(special, changed)),
        plan_markdown(special, apply="reconciler apply"),
        plan_html(special, "reconciler apply"),
        plan_json(special),
    ]
    for shown in forms:
        for each in (
            "scales by itself",
            "pool is in maintenance mode",
            "3 desktops that would lose a copy: in maintenance mode",
            "1 desktop that would lose a copy: isolated",
            "2 desktops that would lose a copy: frozen",
        ):
            assert each in shown
    calm = replace(changed, loss=Loss())
    assert "frozen" not in "\n".join(line.text for line in plan_lines(replace(plan, pools=(calm,))))
    assert "scales by itself" in "\n".join(line.text for line in explain_lines(special, calm))


def test_a_group_is_shown_as_a_group_and_a_dynamic_pool_says_whose_data_it_may_be() -> None:
    plan = sample_plans.two_removals()
    losing = next(pool for pool in plan.pools if pool.loss.disks and pool.live)
    assert losing.live
    changed = replace(
        losing, loss=replace(losing.loss, groups=("staff",)), live=replace(losing.live, type="DYNAMIC")
    )
    shown = "\n".join(line.text for line in plan_lines(replace(plan, pools=(changed,))))
    assert "User groups, whose members are not known: staff." in shown
    assert "This pool is dynamic" in shown


def test_targets_of_several_identities_say_which_is_whose() -> None:
    north = Target("cn-north-4", "b" * 32)
    other = Whom(
        "agency", "HW_ASSUME_ROLE_AGENCY_NAME, with HW_ACCESS_KEY", agency="ops of acme", access_key="A…"
    )
    plan = sample_plans.no_changes()
    both = replace(plan, services=(*plan.services, Service(north, "n", other), Service(north, "n", None)))
    head = [line.text for line in head_lines(both)]
    assert head == [
        "Target: region ap-southeast-3, project 0123456789abcdef0123456789abcdef.",
        f"Target: region cn-north-4, project {'b' * 32}.",
        f"Target: region cn-north-4, project {'b' * 32}.",
        f"Acting as access key HWAK…7QZK, from HUAWEICLOUD_SDK_AK, in {plan.services[0].target}.",
        "Acting as agency ops of acme with access key A…, from HW_ASSUME_ROLE_AGENCY_NAME, with HW_ACCESS_KEY, "
        f"in {north}.",
        "",
    ]
