"""``apply``: carries out a plan after confirmation, follows the jobs, and proves the result.

The steps are left to ``engine.apply``, the ways to approve to ``approval``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

from reconciler.apply.context import PARALLELISM, Options
from reconciler.apply.results import ApplyReport, Status
from reconciler.apply.stop import Stop
from reconciler.apply.unnamed import unnamed_report
from reconciler.cli import flags, messages
from reconciler.cli.approval import Approval, approval, check_saved, signed_approvals
from reconciler.cli.commands import GIVEN, acting_as, command, path_word
from reconciler.cli.connect import connections, duration, journal, journal_to_read, run_context
from reconciler.cli.console import Console
from reconciler.cli.interlock import Interlock
from reconciler.cli.manifest_paths import manifest_paths
from reconciler.cli.outputs import plan_outputs, show_plan, tell_github, to_github
from reconciler.cli.parameters import argument, flag
from reconciler.cli.plan_files import is_plan_file
from reconciler.cli.plan_files import load as load_plan
from reconciler.cli.policy import check_reviewed, policy_of, read_as, sources_of
from reconciler.cli.signals import run_async
from reconciler.clock import CLOCK
from reconciler.engine.apply import ApplyRequest, Approve
from reconciler.engine.apply import apply as run_apply
from reconciler.errors import BadInput, Interrupted, ReconcilerError, Refused
from reconciler.journal.records import Approved
from reconciler.manifest.load import load
from reconciler.manifest.sources import Seen, Sources
from reconciler.model import Manifest, Policy, Selection, Shard
from reconciler.notify.notifications import Notifications
from reconciler.planning.plan import Plan
from reconciler.planning.selection import select
from reconciler.render.apply_report import closing_line, report_lines, report_page, resolution_lines, verdict
from reconciler.values import Struct, field, replace


@flags.options
def apply(
    paths: Annotated[
        list[Path] | None,
        argument(
            help="Manifests, or one saved plan; else the manifests of RECONCILER_PATHS, else manifests/.",
            metavar="PATH…|PLANFILE",
        ),
    ] = None,
    *,
    auto_approve: flags.AutoApprove = False,
    approve: Annotated[
        str | None, flag(help="Apply only if the plan has this digest.", metavar="DIGEST")
    ] = None,
    approvals: flags.SignedApprovals = None,
    mark: Annotated[
        bool, flag("--mark", help="Only mark what is surplus, so that its grace begins.")
    ] = False,
    shown: flags.OutputFormat = flags.Output.TEXT,
    connection: flags.ConnectionOptions,
    wait_timeout: Annotated[str, flag(help="How long one job may take.", metavar="TIME")] = "20m",
    no_wait: Annotated[bool, flag("--no-wait", help="Do not follow jobs; the next run proves them.")] = False,
    parallelism: flags.Parallelism = PARALLELISM,
    keep_going: Annotated[
        bool, flag("--keep-going", help="Continue with other pools after a failure.")
    ] = False,
    shard: flags.ShardOf = "1/1",
    run_group: flags.RunGroup = "",
    selection: flags.SelectionOptions,
    limits: flags.LimitOptions,
    webhook: flags.Webhooks = None,
    anonymise: flags.Anonymise = False,
    follow_symlinks: flags.FollowSymlinks = False,
) -> int:
    """Carry out a plan after confirmation, follow the jobs, and prove the result."""
    console = Console()
    saved = _saved(paths or (), limits, selection.selection)
    if mark and (saved or approve or approvals or auto_approve):
        raise BadInput(
            "apply --mark removes nothing, so it takes no plan file and needs no approval",
            "give --mark with manifests alone",
        )
    if not paths:
        reviewed = (approve or approvals or console.interactive) and not (auto_approve or mark)
        paths = _unnamed_paths(reviewed=bool(reviewed))
    notify = messages.notifier(webhook)
    policy = policy_of(connection)
    signed = signed_approvals(policy, approvals or ())
    group = flags.group_of(run_group)
    share = flags.share(shard, group)
    if share.count > 1 and saved:
        raise BadInput("a saved plan already holds one share of the pools", "omit --shard, or plan again")
    if saved:
        manifest = manifest_of(saved)
        GIVEN.set(replace(GIVEN.get(), selection=saved.selection or Selection()))
    else:
        manifest = select(load(paths, follow_symlinks=follow_symlinks), selection.selection)
    acting_as(manifest.targets)
    sources = sources_of(() if saved else paths, connection, follow_symlinks=follow_symlinks)
    seen = read_as(manifest, policy, sources)
    for note in manifest.notes:
        console.note(note)
    messages.say_unheard(manifest.pools, notify, console)
    if saved:
        _check_saved(saved, policy, connection)
    again = command("apply", [path for path, _ in saved.sources] if saved else paths)
    teller = _Teller(notify, manifest, console, anonymise)
    given = Approval(approve, saved, auto_approve, signed, again, anonymise)
    request = ApplyRequest(
        manifest=manifest,
        limits=limits.over(manifest.limits),
        approve=teller.hearing(approval(console, shown, given)),
        options=Options(
            wait_timeout=duration(wait_timeout, "--wait-timeout").total_seconds(),
            wait=not no_wait,
            parallelism=parallelism,
            keep_going=keep_going,
        ),
        saved_plan=saved,
        mark_only=mark,
    )

    rules = Rules(policy, sources, seen, share, group, unnamed=anonymise)

    async def work(stop: Stop) -> ApplyReport:
        return await carry_out(request, rules, connection, console, stop)

    report = teller.telling_errors(lambda: run_async(work))
    if anonymise:
        report = unnamed_report(report)
    _show(report, shown, console)
    if mark:
        console.note("Marked only: nothing was removed.")
    if approve and report.plan and not report.plan.has_changes:
        console.note("Nothing to do; the approved digest was not used.")
    _publish(report, console, again)
    teller.tell(report)
    return int(report.exit_code)


def _publish(report: ApplyReport, console: Console, again: str) -> None:
    """Give a workflow of GitHub the numbers and the page of a run."""
    if report.plan:
        plan_outputs(report.plan, console)
    if report.plan and not report.results:
        tell_github(report.plan, console, again, verdict(report) if report.exit_code else "")
    else:
        to_github(lambda: report_page(report), console)


class _Teller(Struct, frozen=True):
    """Tells webhooks how a run has ended; whatever comes of that, its result stands."""

    notify: Notifications
    manifest: Manifest
    console: Console
    anonymise: bool
    stopped: list[Plan] = field(default_factory=list)
    """The plan whose run only what holds for the whole of it can still refuse: a limit, or a window."""

    def hearing(self, approve: Approve) -> Approve:
        """The same approval, such that the owners of the pools hear of a run that is refused as a whole."""

        async def heard(plan: Plan) -> Approved | None:
            approved = await approve(plan)
            if approved or plan.run_blocked:
                self.stopped.append(plan)
            return approved

        return heard

    def telling_errors(self, work: Callable[[], ApplyReport]) -> ApplyReport:
        """Do the work; of an error that ends it before anything is sent, who sits at a terminal needs no message."""
        try:
            return work()
        except ReconcilerError as error:
            if not (self.console.interactive or isinstance(error, Interrupted)):
                self._send(None, error)
            raise

    def tell(self, report: ApplyReport) -> None:
        """Tell what was done, what is still open, or a failure that nobody has seen; of nothing else."""
        earlier = any(not each.resolved or each.result.status is Status.ALARM for each in report.resolutions)
        if report.results or earlier or (report.exit_code and not self.console.interactive):
            self._send(report, None)

    def _send(self, report: ApplyReport | None, error: ReconcilerError | None) -> None:
        from reconciler.render.notification import apply_message  # noqa: PLC0415 - only where somebody listens

        if self.notify.webhooks:
            source = messages.source("apply", anonymise=self.anonymise)
            stopped = self.stopped[-1] if self.stopped and isinstance(error, Refused) else None
            compose = apply_message(report, error, self.manifest.pools, source, stopped)
            messages.send(compose, self.notify, self.console)


class Rules(Struct, frozen=True):
    """What an apply is held to in addition to its manifest and its approval."""

    policy: Policy | None
    sources: Sources
    seen: Seen
    """What the sources were when they were read: what has changed since is not carried out."""
    share: Shard
    group: str
    unnamed: bool = False


async def carry_out(
    request: ApplyRequest, rules: Rules, connection: flags.ConnectionOptions, console: Console, stop: Stop
) -> ApplyReport:
    """Open the journal and the targets, and apply: the one way, whoever asks for it."""
    targets = request.manifest.targets
    with journal(connection, console.info) as kept:
        interlock = Interlock.of(request.manifest, connection.project_id, console.info, writes=True)
        async with connections(targets, connection, interlock) as opened:
            run = replace(
                run_context(kept, console, stop),
                connections=opened,
                shard=rules.share,
                group=rules.group,
                policy=rules.policy,
                check_sources=lambda: rules.sources.check(rules.seen),
                unnamed=rules.unnamed,
            )
            with console.working("Reading the live pools"):
                return await run_apply(request, run)


def manifest_of(plan: Plan) -> Manifest:
    """The desired state a saved plan was made from."""
    desired = tuple(pool.desired for pool in plan.pools)
    return Manifest(desired, plan.limits, sources=plan.sources, selection=plan.selection)


def _check_saved(saved: Plan, policy: Policy | None, connection: flags.ConnectionOptions) -> None:
    """Raise unless a saved plan can still be applied: once, in its time, under the policy it was made under."""
    with journal_to_read(connection) as known:
        if known:  # before anything else: of a plan that was applied, disks are gone and the time may be over
            known.check_unclaimed(saved.id)
    check_reviewed(saved, policy)
    check_saved(saved, CLOCK.get())


def _unnamed_paths(*, reviewed: bool) -> list[Path]:
    """The manifests of a command line that names none; raises ``BadInput`` where nobody sees what they would do.

    Not for ``--auto-approve`` and ``--mark``: a variable left behind, or another folder, would decide what goes. A
    digest and signatures name what goes, and a person at the terminal sees it.
    """
    if not reviewed:
        raise BadInput(
            "apply without a path needs somebody who sees the plan: a terminal, --approve DIGEST or signed approvals",
            "name the manifests, such as: reconciler apply manifests/",
        )
    return manifest_paths(None)


def _saved(paths: Sequence[Path], limits: flags.LimitOptions, selection: Selection) -> Plan | None:
    plans = [path for path in paths if is_plan_file(path)]
    if not plans:
        return None
    if len(paths) > 1:
        raise BadInput("a saved plan must be the only argument", f"reconciler apply {path_word(plans[0])}")
    if limits.given:
        raise BadInput("a saved plan has its own limits", "omit the --limit flags, or plan again")
    if selection != Selection():
        raise BadInput("a saved plan has its own pools", "omit --pool and --exclude, or plan again with them")
    return load_plan(plans[0])


def _show(report: ApplyReport, shown: flags.Output, console: Console) -> None:
    if shown is flags.Output.JSON:
        from reconciler.render.json.apply import apply_json  # noqa: PLC0415 - one of two forms

        console.json_text(apply_json(report))
        return
    console.lines(resolution_lines(report.resolutions))
    if not report.results and report.plan:
        show_plan(report.plan, flags.Format.TEXT, console)
        console.lines([closing_line(report)])
        return
    console.lines(report_lines(report))
