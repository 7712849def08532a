"""Every action end to end: what the plan says, what is really sent, in which order, and what is left."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from reconciler.sandbox import seed
from reconciler.sandbox.world import Behaviour, Pool
from tests.flows.conftest import Run, manifest
from tests.flows.inside import Ran
from tests.flows.serving import Served, serving

EVERYTHING = "manage: [remove, expand, add]"
VERBS = {"batch-delete": "remove", "batch-expand": "expand", "batch-add": "add"}


@contextmanager
def pools(*made: Pool) -> Iterator[Served]:
    """A service with these pools."""
    with serving(seed.world("actions", made)) as served:
        yield served


def one(*disks: tuple[str, int], name: str = "p", behaviour: Behaviour | None = None) -> Pool:
    """A pool with these disks, each younger than the one before, and three desktops, two with a user."""
    made = seed.pool(name, disks, 3, 2)
    made["behaviour"] = behaviour or {}
    for desktop in made["desktops"]:
        for age, copy in enumerate(desktop["copies"]):
            copy["created"] += age * 86_400
    return made


def declared(folder: Path, disks: str, *more: str, name: str = "p") -> Path:
    """A manifest of one pool; ``disks`` is the inside of its list."""
    return manifest(folder, [f"{{{', '.join([f'name: {name}', *more])}, disks: [{disks}]}}"])


def disk_ids(served: Served, name: str = "p") -> list[str]:
    """The ids of a pool's disks, in the order in which its sketch names them."""
    return [disk["id"] for disk in served.pool(name)["disks"]]


def shapes(served: Served, name: str = "p") -> list[tuple[str, int]]:
    """Type and GB of a pool's disks, sorted."""
    return sorted((disk["type"], disk["size"]) for disk in served.pool(name)["disks"])


def sent(served: Served) -> list[tuple[str, list[dict[str, Any]]]]:
    """What the service accepted, in order: the step and its volumes."""
    return [(VERBS[entry["path"].rsplit("/", 1)[1]], body(entry)["volumes"]) for entry in served.posts()]


def body(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The document of one write."""
    return cast("dict[str, Any]", entry["body"])


def planned(run: Run, served: Served, path: Path, *flags: str) -> dict[str, Any]:
    """The plan as JSON."""
    return cast("dict[str, Any]", json.loads(run("plan", str(path), *FORMAT, *flags, env=served.env).out))


FORMAT = ("--format", "json")


def apply(run: Run, served: Served, path: Path, *flags: str) -> Ran:
    """Apply without asking."""
    return run("apply", str(path), "--auto-approve", *flags, env=served.env)


# --- expand, add, replace ---------------------------------------------------------------------------


def test_growing_and_adding_are_only_shown_until_the_pool_manages_them(run: Run, tmp_path: Path) -> None:
    with pools(one(("SSD", 100), ("SAS", 50))) as served:
        path = declared(tmp_path, "{type: SSD, size: 200}, {type: SAS, size: 50}, {type: SAS, size: 10}")
        shown = run("plan", str(path), "--detailed-exitcode", env=served.env)
        assert (shown.code, run("drift", str(path), env=served.env).code) == (2, 2)
        assert run("plan", str(path), env=served.env).code == 0
        assert "100 GB live, 200 GB declared" in shown.out
        assert "p/(SAS 10 GB): declared, not live" in shown.out
        assert "No changes to carry out. 2 differences are only shown" in shown.out
        assert "write manage: [remove, expand, add] into the entry" in shown.out
        assert apply(run, served, path).code == 0
        assert served.posts() == []


def test_a_pool_that_manages_all_is_expanded_then_emptied_of_surplus_then_added_to(
    run: Run, tmp_path: Path
) -> None:
    with pools(one(("SSD", 100), ("SATA", 500), ("SAS", 50))) as served:
        grown, gone, kept = disk_ids(served)
        path = declared(
            tmp_path,
            "{type: SSD, size: 200}, {type: SAS, size: 50}, {type: GPSSD, size: 10, replace: true}",
            EVERYTHING,
            "apply_to: all",
        )
        done = apply(run, served, path)
        assert done.code == 0, done.err
        assert sent(served) == [
            ("expand", [{"id": grown, "type": "SSD", "size": 200}]),
            ("remove", [{"id": gone, "type": "SATA", "size": 500}]),
            ("add", [{"type": "GPSSD", "size": 10}]),
        ]
        assert shapes(served) == [("GPSSD", 10), ("SAS", 50), ("SSD", 200)]
        assert {grown, kept} < set(disk_ids(served))
        again = run("plan", str(path), "--detailed-exitcode", env=served.env)
        assert (again.code, "No changes." in again.out) == (0, True)


def test_a_replacement_is_blocked_until_the_entry_allows_it(run: Run, tmp_path: Path) -> None:
    with pools(one(("SAS", 60), ("SSD", 100))) as served:
        path = declared(tmp_path, "{type: SAS, size: 50}, {type: SSD, size: 100}", EVERYTHING)
        refused = apply(run, served, path)
        assert refused.code == 3
        assert "its data lost" in refused.out
        assert "{type: SAS, size: 50, replace: true} if the data may go" in refused.out
        assert served.posts() == []
        path = declared(tmp_path, "{type: SAS, size: 50, replace: true}, {type: SSD, size: 100}", EVERYTHING)
        shown = run("plan", str(path), env=served.env)
        assert "-/+ disk" in shown.out
        assert "Plan: 1 to add, 0 to change, 1 to destroy." in shown.out
        assert apply(run, served, path).code == 0
        assert [step for step, _ in sent(served)] == ["remove", "add"]
        assert shapes(served) == [("SAS", 50), ("SSD", 100)]


def test_an_interrupted_replacement_goes_on_where_it_stopped(run: Run, tmp_path: Path) -> None:
    with pools(one(("SAS", 60), ("SSD", 100), behaviour={"add": "fail"})) as served:
        path = declared(tmp_path, "{type: SAS, size: 50, replace: true}, {type: SSD, size: 100}", EVERYTHING)
        assert apply(run, served, path).code == 6
        assert shapes(served) == [("SSD", 100)]
        served.pool("p")["behaviour"] = {}
        assert run("plan", str(path), env=served.env).code == 0
        assert apply(run, served, path).code == 0
        assert [step for step, _ in sent(served)] == ["remove", "add", "add"]
        assert shapes(served) == [("SAS", 50), ("SSD", 100)]


def test_a_resize_up_keeps_the_disk_with_all_its_copies(run: Run, tmp_path: Path) -> None:
    with pools(one(("SAS", 50))) as served:
        before = disk_ids(served)
        path = declared(tmp_path, "{type: SAS, size: 60}", EVERYTHING, "apply_to: all")
        shown = run("plan", str(path), env=served.env)
        assert "Plan: 0 to add, 1 to change, 0 to destroy." in shown.out
        assert "size   = 50 -> 60 GB" in shown.out
        assert apply(run, served, path).code == 0
        assert [step for step, _ in sent(served)] == ["expand"]
        assert disk_ids(served) == before
        copies = [copy for desktop in served.pool("p")["desktops"] for copy in desktop["copies"]]
        assert [(copy["disk"], copy["size"]) for copy in copies] == [(before[0], 60)] * 3


def test_another_order_is_no_change_whatever_order_the_service_answers_in(run: Run, tmp_path: Path) -> None:
    with pools(one(("SAS", 50), ("SAS", 70), ("SSD", 50), ("SAS", 60))) as served:
        for disks in (
            "{type: SAS, size: 70}, {type: SAS, size: 50}, {type: SAS, size: 60}, {type: SSD, size: 50}",
            "{type: SSD, size: 50}, {type: SAS, size: 60}, {type: SAS, size: 70}, {type: SAS, size: 50}",
        ):
            told = planned(run, served, declared(tmp_path, disks, EVERYTHING))
            assert (told["pools"], told["resource_changes"], told["blocked"]) == ([], [], False)


# --- ties, pins, protection -------------------------------------------------------------------------


def test_a_tie_is_blocked_and_the_line_it_prints_resolves_it(run: Run, tmp_path: Path) -> None:
    with pools(one(("SAS", 50), ("SAS", 50), ("SSD", 100))) as served:
        older, younger, _ = disk_ids(served)
        rest = "{type: SSD, size: 100}"
        blocked = apply(run, served, declared(tmp_path, f"{{type: SAS, size: 50}}, {rest}"))
        assert blocked.code == 3
        lines = [f"{{id: {each}, type: SAS, size: 50}}" for each in (older, younger)]
        assert all(f"- {line}" in blocked.out for line in lines)
        assert "1 of 2 equally good disks must go" in blocked.out
        assert (
            len(re.findall(r"# 3 copies on 3 desktops, 2 users, created 20\d\d-\d\d-\d\d", blocked.out)) == 2
        )
        assert served.posts() == []
        assert apply(run, served, declared(tmp_path, f"{lines[1]}, {rest}")).code == 0
        assert sent(served) == [("remove", [{"id": older, "type": "SAS", "size": 50}])]


@pytest.mark.parametrize(("on_tie", "index"), [("remove_newest", 1), ("remove_oldest", 0)])
def test_on_tie_lets_the_age_of_the_copies_decide(run: Run, tmp_path: Path, on_tie: str, index: int) -> None:
    with pools(one(("SAS", 50), ("SAS", 50))) as served:
        going = disk_ids(served)[index]
        told = planned(run, served, declared(tmp_path, "{type: SAS, size: 50}", f"on_tie: {on_tie}"))
        assert destroyed(told) == [going]
        assert not told["blocked"]


def test_ages_that_are_equal_leave_the_tie_open(run: Run, tmp_path: Path) -> None:
    with pools(one(("SAS", 50), ("SAS", 50))) as served:
        for desktop in served.pool("p")["desktops"]:
            for copy in desktop["copies"]:
                copy["created"] = seed.BIRTH
        told = planned(run, served, declared(tmp_path, "{type: SAS, size: 50}", "on_tie: remove_newest"))
        assert told["blocked"]
        assert destroyed(told) == []


def test_a_protected_disk_stays_although_nothing_declares_it(run: Run, tmp_path: Path) -> None:
    with pools(one(("SAS", 50), ("SSD", 100))) as served:
        safe = disk_ids(served)[0]
        path = declared(tmp_path, "{type: SSD, size: 100}", f"protect: [{safe}]")
        refused = apply(run, served, path, "--limit-disks", "100")
        assert refused.code == 3
        assert f"disk {safe} is protected and would be destroyed" in refused.out
        assert served.posts() == []


def destroyed(told: Mapping[str, Any]) -> list[str]:
    """The ids that a plan's JSON destroys."""
    return [
        each["change"]["before"]["id"]
        for each in told["resource_changes"]
        if "delete" in each["change"]["actions"]
    ]


# --- whom a change reaches --------------------------------------------------------------------------


REACHED = {
    "all": ("apply_to: all", "FOR_EXPAND_AND_ALL", (3, 150, False), 0),
    "idle": ("apply_to: idle", "FOR_EXPAND_AND_IDLE", (3, 150, True), 2),
    "new": ("apply_to: new", "ONLY_FOR_EXPAND", (0, 0, False), 3),
    "unset": ("", None, (3, 150, True), 0),
}
"""Entry, what is sent, copies and GB the plan counts (True: the worst case), copies left of the removed disk."""


def test_apply_to_decides_what_is_sent_and_the_plan_counts_the_worst_it_can_do(
    run: Run, tmp_path: Path
) -> None:
    with pools(*(one(("SAS", 50), ("SSD", 100), name=name) for name in REACHED)) as served:
        gone = {name: disk_ids(served, name)[0] for name in REACHED}
        entries = [
            f"{{name: {name}{', ' * bool(entry)}{entry}, disks: [{{type: SSD, size: 100}}]}}"
            for name, (entry, _, _, _) in REACHED.items()
        ]
        path = manifest(tmp_path, entries)
        losses = {each["name"]: each["loss"] for each in planned(run, served, path)["pools"]}
        assert apply(run, served, path).code == 0
        posts = {entry["path"].split("/")[-3]: body(entry) for entry in served.posts()}
        assert len(served.posts()) == len(posts) == len(REACHED)
        for name, (_, handle_type, told, left) in REACHED.items():
            pool, loss = served.pool(name), losses[name]
            assert (loss["copies"], loss["gigabytes"], loss["upper_bound"]) == told, name
            assert posts[pool["id"]].get("handle_type") == handle_type, name
            copies = [copy["disk"] for desktop in pool["desktops"] for copy in desktop["copies"]]
            assert copies.count(gone[name]) == left, name


# --- what the service or the manifest must not say --------------------------------------------------


DOUBTFUL: dict[str, tuple[dict[str, Any], str]] = {
    "repeated-id": ({"id": "SAME"}, "is listed 2 times"),
    "no-id": ({"id": ""}, "has no id"),
    "negative": ({"size": -10}, "has the size -10 GB"),
    "absurd": ({"size": 10**9}, "has the size 1000000000 GB"),
    "nothing": ({"size": 0}, "has the size 0 GB"),
    "no-type": ({"type": ""}, "has no type"),
}
"""What the service says of a pool's second disk, and how the plan tells it."""

UNFIT = {
    "pin-of-another": (
        "{id: OF-GOOD, type: SAS, size: 50}",
        "pin-not-live",
        "of this pool; pool 'good' has it",
    ),
    "pin-of-nobody": ("{id: nowhere, type: SAS, size: 50}", "pin-not-live", "nowhere is not a live disk"),
    "pin-that-shrinks": (
        "{id: OWN, type: SAS, size: 40}",
        "pin-mismatch",
        "is SAS 50 GB, declared SAS 40 GB",
    ),
    "replaces-twice": (
        "{type: SAS, size: 50}, {type: SSD, size: 90, replace: true}, {type: GPSSD, size: 10, replace: true}",
        "replace-without-counterpart",
        "no disk is left to replace",
    ),
}
"""What a manifest says of a pool, and how the plan refuses it."""


def test_pools_in_doubt_are_blocked_with_the_reason_and_the_others_go_on(run: Run, tmp_path: Path) -> None:
    names = ["good", *DOUBTFUL, *UNFIT]
    with pools(*(one(("SAS", 50), ("SSD", 100), name=name) for name in names)) as served:
        going = disk_ids(served, "good")[0]
        entries = {"good": "{type: SSD, size: 100}"}
        for name, (broken, _) in DOUBTFUL.items():
            first, second = served.pool(name)["disks"]
            told = {key: first["id"] if value == "SAME" else value for key, value in broken.items()}
            cast("dict[str, Any]", second).update(told)
            served.pool(name)["revision"] += 1
            entries[name] = "{type: SAS, size: 50}"
        for name, (entry, _, _) in UNFIT.items():
            entries[name] = entry.replace("OF-GOOD", going).replace("OWN", disk_ids(served, name)[0])
        entry_lines = [f"{{name: {name}, {EVERYTHING}, disks: [{entry}]}}" for name, entry in entries.items()]

        done = apply(run, served, manifest(tmp_path, entry_lines))

        assert done.code == 3
        lines = done.out.splitlines()
        for name, (_, words) in DOUBTFUL.items():
            assert any(f"! doubtful-reading: {name}: " in line and words in line for line in lines), name
        for name, (_, rule, words) in UNFIT.items():
            assert any(f"! {rule}: {name}: " in line and words in line for line in lines), name
        assert sent(served) == [("remove", [{"id": going, "type": "SAS", "size": 50}])]


def test_limits_that_contradict_each_other_are_told_with_both_places(run: Run, tmp_path: Path) -> None:
    with pools(one(("SAS", 50))) as served:
        disks = ["{name: p, disks: [{type: SAS, size: 50}]}"]
        first = manifest(tmp_path, disks, "limits: {disks: 3}", "one.yaml")
        second = manifest(
            tmp_path, ["{name: q, disks: [{type: SAS, size: 50}]}"], "limits: {disks: 4}", "two.yaml"
        )
        told = run("plan", str(first), str(second), env=served.env)
        assert told.code == 9
        assert "two.yaml:3:" in told.err
        assert "one.yaml:3:" in told.err


# --- the cases of the tool that users have today, by name -------------------------------------------


def test_the_cases_users_meet_today_end_as_declared(run: Run, tmp_path: Path) -> None:
    """Each pool is one case: the disks that go are the surplus ones, and the count says how many."""
    cases = {
        "the-wrong-disk": ([50, 70], "{type: SAS, size: 70}", [0]),
        "three-alike": ([50, 50, 50], "{type: SAS, size: 50}", []),
        "a-resize": ([50], "{type: SAS, size: 60}", []),
        "another-order": ([50, 70], "{type: SAS, size: 70}, {type: SAS, size: 50}", []),
        "all-to-none": ([50, 70], "", [0, 1]),
    }
    more = {"all-to-none": ", allow_empty: true", "a-resize": ", manage: [remove, expand]"}
    with pools(
        *(one(*(("SAS", size) for size in live), name=name) for name, (live, _, _) in cases.items())
    ) as served:
        ids = {name: disk_ids(served, name) for name in cases}
        path = manifest(
            tmp_path,
            [
                f"{{name: {name}, apply_to: all{more.get(name, '')}, disks: [{disks}]}}"
                for name, (_, disks, _) in cases.items()
            ],
        )
        shown = run("plan", str(path), env=served.env)
        assert "Plan: 0 to add, 1 to change, 3 to destroy." in shown.out
        assert f"the-wrong-disk/{ids['the-wrong-disk'][0]} will be destroyed" in shown.out
        assert f"a-resize/{ids['a-resize'][0]} will be updated in-place" in shown.out
        assert "another-order/" not in shown.out

        assert apply(run, served, path).code == 3  # three alike are for a person to decide
        for name, (live, _, gone) in cases.items():
            expected = [disk for index, disk in enumerate(ids[name]) if index not in gone]
            assert disk_ids(served, name) == expected, name
            assert len(live) - len(expected) == len(gone)
        assert shapes(served, "a-resize") == [("SAS", 60)]
        removed = [volume["id"] for step, volumes in sent(served) if step == "remove" for volume in volumes]
        assert sorted(removed) == sorted(ids[name][index] for name in cases for index in cases[name][2])

        again = planned(run, served, path)
        assert again["summary"] == {"add": 0, "change": 0, "destroy": 0}
        assert {pool["name"] for pool in again["pools"]} == {"three-alike"}


def test_a_delete_job_that_ends_in_fail_is_no_success_and_says_what_is_left(run: Run, tmp_path: Path) -> None:
    with pools(one(("SAS", 50), ("SSD", 100), behaviour={"delete": "fail"})) as served:
        before = disk_ids(served)
        failed = apply(run, served, declared(tmp_path, "{type: SSD, size: 100}"))
        assert failed.code == 6
        assert "Apply complete!" not in failed.out
        assert "Apply incomplete: 0 of 1 change proven." in failed.out
        assert "The simulated job failed." in failed.out
        assert disk_ids(served) == before
        assert len(served.posts()) == 1


def test_a_delete_job_of_which_a_part_failed_is_no_success(run: Run, tmp_path: Path) -> None:
    with pools(one(("SAS", 50), ("SSD", 100), behaviour={"delete": "partial"})) as served:
        partial = apply(run, served, declared(tmp_path, "{type: SSD, size: 100}", "apply_to: all"))
        assert partial.code == 6
        assert "Apply complete!" not in partial.out
        assert "partial" in partial.out
        assert len(served.posts()) == 1


def test_a_disk_that_changed_after_the_plan_is_not_removed_by_it(run: Run, tmp_path: Path) -> None:
    with pools(one(("SAS", 50), ("SSD", 100))) as served:
        path, plan = declared(tmp_path, "{type: SSD, size: 100}"), tmp_path / "plan.json"
        run("plan", str(path), "--out", str(plan), env=served.env)
        pool = served.pool("p")
        pool["disks"][0]["size"] = 500
        pool["revision"] += 1
        stale = run("apply", str(plan), env=served.env)
        assert stale.code == 4
        assert ": size 50 → 500" in stale.err
        assert served.posts() == []
