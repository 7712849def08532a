"""The text of one run in the journal."""

from __future__ import annotations

from reconciler.journal.records import Approved, Origin, Way
from reconciler.model import LostCopy
from reconciler.render.history import run_lines, runs_lines
from reconciler.values import replace
from tests.documents import record


def test_each_copy_of_a_removed_disk_is_named_under_its_disk() -> None:
    lines = [line.text for line in run_lines(record())]
    disk = next(index for index, line in enumerate(lines) if line.startswith("    disk      disk-1"))
    assert lines[disk + 1] == "      copy    volume volume-1, 100 GB, on finance (desktop-1), of finance"


def test_a_copy_of_nobody_and_one_without_names_say_so() -> None:
    whole = record()
    [operation] = whole.operations
    bare = replace(operation.intent, copies=(LostCopy("disk-1", "desktop-2", "", "", 50),))
    lines = [line.text for line in run_lines(replace(whole, operations=(replace(operation, intent=bare),)))]
    assert "      copy    volume unknown, 50 GB, on a desktop without name (desktop-2), of nobody" in lines


def test_the_longest_command_leaves_the_columns_of_the_list_straight() -> None:
    run = record().run
    head, *rows = (line.text for line in runs_lines([run, replace(run, command="marks extend")]))
    assert {row.index(run.digest[:12]) for row in rows} == {head.index("DIGEST")}


def test_a_damaged_record_is_named_with_what_to_do() -> None:
    lines = [line.text for line in run_lines(record())]
    at = lines.index("  the journal's record of operation operation-2 on pool finance (pool-1) is damaged")
    assert "Restore the journal from a backup" in lines[at + 1]


def test_a_run_says_how_it_was_approved_by_whom_and_under_which_policy() -> None:
    lines = [line.text for line in run_lines(record("ann"))]
    assert lines[6:8] == ["  approved  signed by ann", f"  policy    {'1' * 64}"]
    whole = record()
    quiet = replace(whole, run=replace(whole.run, approved=Approved(Way.AUTO_APPROVE), policy=""))
    lines = [line.text for line in run_lines(quiet)]
    assert lines[6] == "  approved  auto-approve"
    assert not any(line.startswith("  policy") for line in lines)


def test_a_run_says_who_started_it_and_from_what_as_far_as_that_is_known() -> None:
    lines = [line.text for line in run_lines(record("ann"))]
    assert lines[8:12] == [
        "  by        ann",
        "  commit    c0ffee",
        "  pull req. 5",
        "  at        https://ci.example/7",
    ]
    whole = record()
    older = replace(whole, run=replace(whole.run, origin=Origin()))
    assert not any(line.text.startswith("  by  ") for line in run_lines(older))
