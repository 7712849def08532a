"""Which desktops a job did its part on, by what its sub-jobs say and by the copies that the journal knows."""

from __future__ import annotations

from reconciler.apply.operation import with_desktops
from reconciler.apply.partial import NAMED, Share, by_desktop, kept, words
from reconciler.apply.results import Result, Status
from reconciler.journal.records import Intent
from reconciler.model import LostCopy
from reconciler.values import replace
from reconciler.workspace import Job, JobEnd, JobPart
from tests.apply.test_judge import intent


def removal(*desktops: str, disks: int = 1) -> Intent:
    copies = [
        LostCopy(f"disk{number}", f"id-{name}", name, f"v-{name}-{number}", 50)
        for name in desktops
        for number in range(disks)
    ]
    return replace(intent(), copies=tuple(copies))


def job(*parts: tuple[str, bool]) -> Job:
    return Job(
        "job", JobEnd.PARTIAL, "busy", tuple(JobPart(f"id-{name}", name, done) for name, done in parts)
    )


def test_copies_are_counted_on_the_desktops_that_are_done() -> None:
    found = by_desktop(removal("a", "b", disks=2), job(("a", True), ("b", False)))
    assert (found.copies_gone, found.copies) == (2, 4)
    assert words(found) == "2 of 4 copies gone, on a; left on b"


def test_a_desktop_with_one_failed_sub_job_of_several_is_not_done() -> None:
    found = by_desktop(removal("a"), job(("a", True), ("a", False), ("a", True)))
    assert (found.done, found.left) == ((), (Share("a", "id-a", 1),))
    assert words(found) == "0 of 1 copy gone; left on a"


def test_a_desktop_that_no_sub_job_names_is_neither_done_nor_left() -> None:
    found = by_desktop(removal("a", "b"), job(("a", False)))
    assert words(found) == "0 of 2 copies gone; left on a; nothing is reported of b"


def test_without_copies_the_desktops_are_named_all_the_same() -> None:
    assert words(by_desktop(removal(), job(("a", True), ("b", False)))) == "done on a; not done on b"


def test_sub_jobs_that_name_no_desktop_say_nothing() -> None:
    nameless = Job("job", JobEnd.PARTIAL, "busy", (JobPart("", "", done=True), JobPart("", "", done=False)))
    partial = Result(Status.PARTIAL, "job ended partial")
    assert with_desktops(partial, removal("a"), nameless) == partial


def test_a_sentence_names_some_desktops_and_the_journal_all_of_them() -> None:
    many = [f"d{number:03}" for number in range(NAMED + 5)]
    found = by_desktop(removal(*many), job(*((name, False) for name in many)))
    assert words(found).endswith(f"{many[NAMED - 1]} and 5 more")
    assert len(list(kept(found.detail()))) == len(many)
