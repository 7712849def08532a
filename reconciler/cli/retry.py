"""``retry``: lets the service finish a removal that was done only in part, when a person asks for it.

The steps are left to ``engine.retry``, the ways to approve to ``approval``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from reconciler.apply.context import Options, RunContext
from reconciler.apply.results import ApplyReport
from reconciler.apply.stop import Stop
from reconciler.cli import flags
from reconciler.cli.approval import Approval, approval, signed_approvals
from reconciler.cli.commands import command
from reconciler.cli.connect import connections, duration, journal, run_context
from reconciler.cli.console import Console
from reconciler.cli.interlock import Interlock
from reconciler.cli.parameters import argument, flag
from reconciler.cli.policy import policy_of, read_as, sources_of
from reconciler.cli.signals import run_async
from reconciler.engine.retry import CAUTION, RetryRequest, operation_to_retry
from reconciler.engine.retry import retry as run_retry
from reconciler.errors import BadInput
from reconciler.manifest.load import load
from reconciler.render.apply_report import resolution_lines, retry_lines
from reconciler.render.history import approved_plan
from reconciler.values import replace


@flags.options
def retry(
    operation: Annotated[
        str, argument(help="The operation, as plan and drift name it.", metavar="OPERATION")
    ],
    paths: Annotated[
        list[Path] | None,
        argument(
            help="Manifests; those of the run that removed, as they are now, when none is given.",
            metavar="PATH…",
        ),
    ] = None,
    *,
    auto_approve: flags.AutoApprove = False,
    approve: Annotated[
        str | None, flag(help="Retry only if its plan has this digest.", metavar="DIGEST")
    ] = None,
    approvals: flags.SignedApprovals = None,
    shown: flags.OutputFormat = flags.Output.TEXT,
    connection: flags.ConnectionOptions,
    wait_timeout: Annotated[str, flag(help="How long the job may take.", metavar="TIME")] = "20m",
    no_wait: Annotated[
        bool, flag("--no-wait", help="Do not follow the job; the next run proves it.")
    ] = False,
    limits: flags.LimitOptions,
    follow_symlinks: flags.FollowSymlinks = False,
) -> int:
    """Let the service finish a removal that was done only in part; what it repeats is not documented.

    plan and drift name such operations with the copies that they left. The manifests must still declare the pool:
    their limits, guards and permissions hold over every copy that is left of the job's disks. After approval the pool
    is read again, one request is sent, and two readings of all desktops must show the copies gone. A retry that is
    interrupted is resolved by the next run. Exit codes are those of apply.
    """
    console = Console()
    console.info(f"Caution: {CAUTION}")
    policy = policy_of(connection)
    again = command("retry", [operation, *(paths or [])])
    given = Approval(approve, None, auto_approve, signed_approvals(policy, approvals or ()), again)
    options = Options(wait_timeout=duration(wait_timeout, "--wait-timeout").total_seconds(), wait=not no_wait)
    approved = approval(console, shown, given)

    async def work(stop: Stop) -> ApplyReport:
        with journal(connection) as kept:
            ctx = run_context(kept, console, stop)
            manifest = load(paths or _planned_from(operation, ctx), follow_symlinks=follow_symlinks)
            for note in manifest.notes:
                console.note(note)
            asked = RetryRequest(operation, manifest, limits.over(manifest.limits), approved, options)
            target = operation_to_retry(operation, ctx).intent.pool.target
            targets = [each for each in manifest.targets if str(each) == target]
            if not targets:
                raise BadInput(
                    f"the manifests are not for {target}, where operation {operation} was sent",
                    "name the manifests that declare its pool",
                )
            sources = sources_of(
                paths or _planned_from(operation, ctx), connection, follow_symlinks=follow_symlinks
            )
            seen = read_as(manifest, policy, sources)
            interlock = Interlock.of(manifest, connection.project_id, console.info, writes=True)
            async with connections(targets, connection, interlock) as opened:
                run = replace(
                    ctx, connections=opened, policy=policy, check_sources=lambda: sources.check(seen)
                )
                with console.working("Reading the live pool"):
                    return await run_retry(asked, run)

    report = run_async(work)
    if shown is flags.Output.JSON:
        from reconciler.render.json.apply import apply_json  # noqa: PLC0415 - one of two forms

        console.json_text(apply_json(report))
    else:
        console.lines(resolution_lines(report.resolutions))
        console.lines(retry_lines(report))
    return int(report.exit_code)


def _planned_from(operation_id: str, ctx: RunContext) -> list[Path]:
    """The manifests that the operation was planned from; raises ``BadInput`` when the journal does not know them."""
    run_id = operation_to_retry(operation_id, ctx).intent.run_id
    record = ctx.journal.run(run_id)
    plan = approved_plan(record) if record else None
    paths = [Path(path) for path, _ in plan.sources] if plan else []
    if not paths:
        raise BadInput(
            f"the journal does not say which manifests run {run_id} was planned from",
            "name the manifests that declare the pool, after the operation",
        )
    return paths
