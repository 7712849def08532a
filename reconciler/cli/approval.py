"""Approves an apply: by the word ``yes``, a digest, a saved plan, signed approvals, or ``--auto-approve``.

Comparing a saved plan with the new one is left to ``planning.stale_plan``.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from reconciler.cli import flags
from reconciler.cli.console import Console
from reconciler.cli.outputs import plan_outputs, show_plan, tell_github
from reconciler.cli.signatures import allowed_signers, read_approvals, ssh_keygen
from reconciler.cli.stdio import lost_output, written
from reconciler.clock import CLOCK, Clock
from reconciler.engine.apply import Approve, check_fresh
from reconciler.errors import BadInput, ReconcilerError, Refused, ServiceError, StalePlan
from reconciler.journal.records import Approved, Way
from reconciler.model import ApprovalRule, Policy
from reconciler.planning.anonymous import anonymised
from reconciler.planning.approvals import Demand, Given, judge, people
from reconciler.planning.plan import Plan
from reconciler.render.text import plan_lines
from reconciler.render.words import APPLY
from reconciler.safe_text import safe_text
from reconciler.values import Struct

DIGEST = r"[0-9a-f]{64}"
"""What a digest looks like."""


class Signed(Struct, frozen=True):
    """The approvals that were handed in, and the rule of the policy they serve."""

    rule: ApprovalRule
    given: tuple[Given, ...] = ()


class Approval(Struct, frozen=True):
    """What was approved before this run, if anything."""

    digest: str | None = None
    """The digest that was reviewed."""
    saved: Plan | None = None
    auto: bool = False
    """True: no prompt; every guard and limit still applies."""
    signed: Signed | None = None
    """What people signed for the policy, where it asks for that."""
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


def signed_approvals(policy: Policy | None, paths: Sequence[Path]) -> Signed | None:
    """The approvals for a policy that asks for them, verified; raises ``BadInput`` where none can be counted."""
    if policy is None and paths:
        raise BadInput(
            "--approval needs a policy, which says who may sign and how many must",
            "name it with --policy or RECONCILER_POLICY",
        )
    if policy is None or (policy.approvals is None and not paths):
        return None
    allowed = allowed_signers(
        policy
    )  # also without a single approval: a list that is no good is said at once
    ssh_keygen()
    given = read_approvals(paths, allowed) if paths else ()
    return Signed(policy.approvals, given) if policy.approvals else None


def approval(console: Console, shown: flags.Output, given: Approval) -> Approve:
    """How this run is approved; each way compares the plan with what a person or a policy has seen."""
    digest, saved = given.digest, given.saved
    if digest is not None and not re.fullmatch(DIGEST, digest):
        raise BadInput(
            f"--approve {digest!r} is not a digest", "use the 64 hexadecimal digits that plan prints"
        )

    def show(plan: Plan) -> None:
        if shown is flags.Output.TEXT:
            show_plan(plan, flags.Format.TEXT, console)
            return
        for line in plan_lines(plan):  # on stderr, since stdout holds only the result as JSON
            console.info(line.text)

    def publish(plan: Plan, error: str) -> None:
        """Give GitHub a plan that is refused: no report of the run will do that."""
        plan_outputs(plan, console)
        tell_github(plan, console, given.again, f"Error: {error}")

    async def approved(plan: Plan) -> Approved | None:
        console.end()
        seen = anonymised(plan) if given.anonymise else plan
        show(seen)
        idle = plan.run_blocked or not plan.has_changes
        try:
            _compare(plan, saved, digest)
            signers = () if idle else _signed_by(plan, given, console)
        except ReconcilerError as error:
            publish(seen, error.message)
            raise
        if plan.run_blocked:
            publish(
                seen, "the plan is blocked; nothing was sent"
            )  # the run ends right after this with the same
        if idle:
            return None
        way = _way(given, signers)
        if way is Way.INTERACTIVE:
            await _ask(console)
        console.begin("Applying")
        return Approved(way, signers)

    return approved


def approval_by(
    decide: Callable[[Plan], str | None], signed: Signed | None, console: Console, *, anonymise: bool = False
) -> Approve:
    """Approval by a program: its ``decide`` sees the plan and names the digest that it approves, as ``--approve`` does.

    What a policy asks people to sign still has to be signed.
    """

    async def approved(plan: Plan) -> Approved | None:
        if plan.run_blocked or not plan.has_changes:
            return None
        digest: object = decide(anonymised(plan) if anonymise else plan)
        if digest is None:
            raise Refused("the approver did not approve this plan; nothing was sent")
        if not (isinstance(digest, str) and re.fullmatch(DIGEST, digest)):
            raise BadInput(
                "the approver returned neither a digest nor None; nothing was sent",
                "return plan.digest of the plan that it was given, or the digest of the plan that was reviewed",
            )
        _compare(plan, None, digest)
        given = Approval(digest, signed=signed)
        signers = _signed_by(plan, given, console)
        return Approved(_way(given, signers), signers)

    return approved


def _way(given: Approval, people: Sequence[str]) -> Way:
    """How the run is approved: by the strongest of the ways given."""
    if people:
        return Way.SIGNED
    if given.saved:
        return Way.PLAN_FILE
    if given.digest is not None:
        return Way.DIGEST
    return Way.AUTO_APPROVE if given.auto else Way.INTERACTIVE


def _signed_by(plan: Plan, given: Approval, console: Console) -> tuple[str, ...]:
    """Who has signed for this plan, if they are enough; raises ``Refused`` when a removal needs more of them."""
    if given.signed is None:
        return ()
    rule, made = given.signed.rule, given.saved.created if given.saved else None
    # By this machine's clock: a person may have taken long, and approvals expire meanwhile.
    judged = judge(given.signed.given, Demand(plan, CLOCK.get().now(), rule.max_age, made))
    for each in judged:
        counts = f"does not count: {each.reason}" if each.reason else "counts"
        who = f", signed by {each.given.person}," if each.given.person else ""
        console.info(f"Approval {each.given.source}{who} {counts}.")
    who_signed = people(judged)
    if len(who_signed) >= rule.required:
        return who_signed
    if not plan.destroys:
        return ()
    raise Refused(
        f"{len(who_signed)} of the {rule.required} people who must sign have approved this plan "
        f"({rule.at}); nothing was sent",
        f"have it signed with: reconciler approve --digest {plan.digest} --key KEY, and pass each with --approval",
    )


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
    console.info("")
    console.info("Do you want to perform these actions? Only 'yes' will be accepted.")
    if await console.ask("  Enter a value: ") != "yes":
        raise Refused("not confirmed; nothing was sent")
