"""The sentences on top of every review: the targets, what the manifests allow, and what a pull request changes of it.

The format modules decide where they stand and how they are escaped.
"""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.model import Target
from reconciler.planning.manifest_changes import Direction, ManifestChange
from reconciler.planning.permissions import Permission
from reconciler.planning.plan import Plan
from reconciler.render.line import count
from reconciler.values import Struct

ALLOWED = "Allowed by these manifests"
CHANGED = "Changed by this pull request"
NOTHING_CHANGED = "No limit, permission, protection, policy or declared disk."


def target_words(target: Target) -> str:
    """A target with what tells it from others: region, project, and the credentials profile if it has one."""
    profile = f", credentials profile {target.profile}" if target.profile else ""
    return f"region {target.region}, project {target.project_id}{profile}"


def targets(plan: Plan) -> list[str]:
    """The targets of a plan, one phrase each."""
    return [target_words(service.target) for service in plan.services]


def selected(plan: Plan) -> str:
    """That a plan is not about all declared pools, in one sentence; empty when it is."""
    found = plan.selection
    if found is None:
        return ""
    named = (("--pool", found.pools), ("--exclude", found.exclude))
    flags = ", ".join(f"{flag} {each}" for flag, given in named for each in given)
    pools = count(found.left_out, "declared pool is", "declared pools are")
    return f"Not about every pool: {pools} left out ({flags})."


def several(plan: Plan) -> bool:
    """True when a pool's name alone does not say which pool it is."""
    return len({pool.target for pool in plan.pools}) > 1


class Sentence(Struct, frozen=True):
    """One permission, or one change of them, in the parts that a format may set apart."""

    whose: str
    """The pool or target; empty for the whole run."""
    what: str
    """As a manifest writes it, or what changed."""
    note: str
    source: str
    widens: bool = False

    @property
    def text(self) -> str:
        """Without its place."""
        whose = f"{self.whose}: " if self.whose else ""
        return f"{whose}{self.what}{f' ({self.note})' if self.note else ''}"


def allowed(plan: Plan) -> list[Sentence]:
    """What is allowed beyond the defaults."""
    named = several(plan)
    return [
        Sentence(_whose(each, named=named), each.what, each.note, each.source) for each in plan.permissions
    ]


def changed(plan: Plan) -> list[Sentence] | None:
    """What the pull request changes of it; None: not compared."""
    if plan.manifest_changes is None:
        return None
    named = several(plan)
    return [
        Sentence(_whose(each, named=named), each.what, "", each.source, each.direction is Direction.WIDENS)
        for each in plan.manifest_changes
    ]


def _whose(what: Permission | ManifestChange, *, named: bool) -> str:
    where = f"{what.target}" if what.target and (named or not what.pool) else ""
    return "/".join(each for each in (where, what.pool) if each)


def lines(plan: Plan) -> Iterator[str]:
    """Both sections as plain lines, each with its heading; nothing where there is nothing to say."""
    if permitted := allowed(plan):
        yield f"{ALLOWED}:"
        yield from (f"  * {each.text}, set at {each.source}" for each in permitted)
        yield ""
    compared = changed(plan)
    if compared is None:
        return
    yield f"{CHANGED}:"
    if not compared:
        yield f"  {NOTHING_CHANGED}"
    for each in compared:
        yield f"  {'!' if each.widens else '*'} {each.text}{' (widens)' if each.widens else ''}, at {each.source}"
    yield ""
