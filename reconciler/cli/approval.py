"""Approves an apply: by the word ``yes``, a digest, a saved plan, or ``--auto-approve``.

Comparing a saved plan with the new one is left to ``planning.stale_plan``.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from reconciler.cli import flags
from reconciler.cli.console import Console
from reconciler.cli.outputs import show_plan, tell_github
from reconciler.cli.stdio import lost_output, written
from reconciler.clock import Clock
from reconciler.engine.apply import Approve, check_fresh
from reconciler.errors import BadInput, ReconcilerError, Refused, ServiceError, StalePlan
from reconciler.planning.anonymous import anonymised
from reconciler.planning.plan import Plan
from reconciler.render.text import plan_lines
from reconciler.render.words import APPLY
from reconciler.safe_text import safe_text


@dataclass(frozen=True, slots=True)
class Approval:
    """What was approved before this run, if anything."""

    digest: str | None = None
    """The digest that was reviewed."""
    saved: Plan | None = None
    auto: bool = False
    """True: no prompt; every guard and limit still applies."""
    again: str = APPLY
    """How the command begins that applies what is planned now."""
    anonymise: bool = False
    """True: what is shown names nobody."""


def check_saved(plan: Plan, clock: Clock) -> None:
    """Raise ``StalePlan`` when a saved plan has expired or its manifests have changed since."""
    check_fresh(plan, clock)
    for path, digest in plan.sources:
        try:
            data = Path(path).read_bytes()
        except OSError:
            continue  # the machine that applies need not have the manifests
        if hashlib.sha256(data).hexdigest() != digest:
            raise StalePlan(
                f"{safe_text(path)} changed since the plan was made", "make a new plan and have it approved"
            )


def approval(console: Console, shown: flags.Output, given: Approval) -> Approve:
    """How this run is approved; each way compares the plan with what a person or a policy has seen."""
    digest, saved = given.digest, given.saved
    if digest is not None and not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise BadInput(
            f"--approve {digest!r} is not a digest", "use the 64 hexadecimal digits that plan prints"
        )

    def show(plan: Plan) -> None:
        if shown is flags.Output.TEXT:
            show_plan(plan, flags.Format.TEXT, console)
            return
        for line in plan_lines(plan):  # on stderr, since stdout holds only the result as JSON
            console.info(line.text)

    async def approved(plan: Plan) -> None:
        console.end()
        seen = anonymised(plan) if given.anonymise else plan
        show(seen)
        try:
            _compare(plan, saved, digest)
        except ReconcilerError:
            tell_github(seen, console, given.again)
            raise
        if plan.run_blocked:
            tell_github(seen, console, given.again)  # the run ends right after this, with a refusal
        if plan.run_blocked or not plan.has_changes:
            return
        if not (saved or digest is not None or given.auto):
            await _ask(console)
        console.begin("Applying: following and proving every change")

    return approved


def _compare(plan: Plan, saved: Plan | None, digest: str | None) -> None:
    """Raise ``StalePlan`` unless the plan made now is what was approved."""
    differences: tuple[str, ...] = ()
    if saved:
        from reconciler.planning import stale_plan  # noqa: PLC0415 - deepdiff, only for a saved plan

        differences = stale_plan.explain(saved, plan)
    fits = digest is None or plan.approved_by(digest)
    # A target that could not be read makes any plan differ, so that is the error to report, not a stale plan.
    if (differences or not fits) and plan.failures:
        failure = plan.failures[0]
        raise ServiceError(
            f"cannot compare with what was approved: target {failure.target} could not be read: {failure.message}",
            failure.hint,
        )
    if differences:
        raise StalePlan(
            "the saved plan differs from what would be done now:\n  " + "\n  ".join(differences),
            "make a new plan and have it approved",
        )
    if not fits:
        raise StalePlan(
            f"the plan's digest is {plan.digest}, not the approved {digest}",
            "what would be done now differs from what was approved; review the plan again",
        )


async def _ask(console: Console) -> None:
    if not console.interactive:
        raise Refused(
            "cannot prompt for approval: standard input is not a terminal; nothing was sent",
            "use --approve DIGEST with the reviewed digest, or --auto-approve, or apply a saved plan",
        )
    # The plan must be on the screen before anybody is asked, and a signal must be heard meanwhile.
    while not await asyncio.to_thread(written, 0.2):
        pass
    if lost := lost_output():
        raise Refused(f"the plan could not be shown: {lost.strerror}; nothing was sent")
    question = "\nDo you want to perform these actions? Only 'yes' will be accepted.\n  Enter a value: "
    if await console.ask(question) != "yes":
        raise Refused("not confirmed; nothing was sent")
