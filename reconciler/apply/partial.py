"""How far a job came, desktop by desktop: what its sub-jobs say, with the copies that the journal knows.

Pure. What the disks show is left to ``proof``, which copies are left later to ``planning.leftovers``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from reconciler.journal.records import Intent
from reconciler.values import Struct
from reconciler.workspace import Job

PARTS = ("done", "left", "unreported")
"""How an operation ended on a desktop, as the journal calls it."""
NAMED = 20
"""Desktops named in one sentence before ``and N more``; the journal and the JSON name all of them."""


class Share(NamedTuple):
    """One desktop's part of an operation."""

    name: str
    """Empty when nobody said it."""
    id: str
    copies: int = 0
    """Copies that the operation is about on this desktop; 0 when that is not known, or none are removed."""

    @property
    def label(self) -> str:
        """What a person knows it by."""
        return self.name or self.id


class ByDesktop(Struct, frozen=True):
    """The desktops of an operation by how its job ended on them; each part sorted by name."""

    done: tuple[Share, ...] = ()
    left: tuple[Share, ...] = ()
    """Where a sub-job failed."""
    unreported: tuple[Share, ...] = ()
    """Of which no sub-job says anything: not reached, or the service named no desktop."""

    @property
    def parts(self) -> tuple[tuple[Share, ...], ...]:
        """All three, in the order of ``PARTS``."""
        return self.done, self.left, self.unreported

    @property
    def copies(self) -> int:
        """Copies on all of them."""
        return sum(each.copies for part in self.parts for each in part)

    @property
    def copies_gone(self) -> int:
        """Copies on the desktops that are done."""
        return sum(each.copies for each in self.done)

    def detail(self) -> dict[str, Any]:
        """The same for the journal: JSON-ready, with every desktop."""
        named = {
            part: [
                {"desktop_id": each.id, "desktop_name": each.name, "copies": each.copies} for each in found
            ]
            for part, found in zip(PARTS, self.parts, strict=True)
        }
        return {"copies": self.copies, "copies_gone": self.copies_gone, **named}


def by_desktop(intent: Intent, job: Job) -> ByDesktop:
    """Sort the desktops of an operation by what the job's sub-jobs say.

    A desktop with several sub-jobs is done when all of them are; one that is named nowhere is unreported.
    """
    copies: dict[str, int] = {}
    names: dict[str, str] = {}
    for copy in intent.copies:
        copies[copy.desktop_id] = copies.get(copy.desktop_id, 0) + 1
        names[copy.desktop_id] = copy.desktop_name
    ends: dict[str, bool] = {}
    for part in job.parts:
        if part.desktop_id:
            ends[part.desktop_id] = ends.get(part.desktop_id, True) and part.done
            names[part.desktop_id] = names.get(part.desktop_id) or part.desktop_name

    def shares(end: bool | None) -> tuple[Share, ...]:
        found = (each for each in names if ends.get(each) is end)
        return tuple(sorted(Share(names[each], each, copies.get(each, 0)) for each in found))

    return ByDesktop(shares(True), shares(False), shares(None))


def unnamed(found: ByDesktop) -> ByDesktop:
    """The same with ids only: a desktop is often called after its user."""
    return ByDesktop(*(tuple(each._replace(name="") for each in part) for part in found.parts))


def words(found: ByDesktop) -> str:
    """``2 of 4 copies gone, on a, b; left on c``; without copies ``done on a, b; not done on c``."""
    if found.copies:
        gone = f"{found.copies_gone} of {found.copies} {'copy' if found.copies == 1 else 'copies'} gone"
        parts = [f"{gone}, on {_names(found.done)}" if found.done else gone]
        left = "left on"
    else:
        parts = [f"done on {_names(found.done)}"] if found.done else []
        left = "not done on"
    if found.left:
        parts.append(f"{left} {_names(found.left)}")
    if found.unreported:
        parts.append(f"nothing is reported of {_names(found.unreported)}")
    return "; ".join(parts)


def kept(detail: Mapping[str, Any]) -> Iterator[str]:
    """The lines about an operation's desktops as the journal keeps them; nothing for what is not of that form."""
    for part, what in (("done", "done on"), ("left", "left on"), ("unreported", "not reported")):
        for each in detail.get(part, ()):
            copies = f", {each.get('copies')} of its copies" if each.get("copies") else ""
            yield f"{what} {each.get('desktop_name') or '(no name)'} ({each.get('desktop_id')}){copies}"


def _names(shares: Sequence[Share]) -> str:
    more = len(shares) - NAMED
    return ", ".join(each.label for each in shares[:NAMED]) + (f" and {more} more" if more > 0 else "")
