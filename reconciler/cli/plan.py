"""``plan``: shows which disks would go, what that destroys, and why; never writes to the service.

Computing the plan is left to ``planner``, the formats to ``render``.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from reconciler.apply.stop import Stop
from reconciler.cli import flags
from reconciler.cli.commands import acting_as, command, path_word
from reconciler.cli.connect import connections, duration, journal_place, journal_to_read, new_id
from reconciler.cli.console import Console
from reconciler.cli.flags import ConnectionOptions
from reconciler.cli.interlock import Interlock
from reconciler.cli.manifest_paths import manifest_paths
from reconciler.cli.outputs import (
    different,
    plan_outputs,
    show_plan,
    tell_github,
    unnamed_losses,
    write_outputs,
)
from reconciler.cli.parameters import flag
from reconciler.cli.policy import policy_of
from reconciler.cli.signals import run_async
from reconciler.clock import CLOCK
from reconciler.errors import BadInput, ExitCode, ReconcilerError, Refused
from reconciler.manifest.load import load, read
from reconciler.model import Limits, Manifest, Shard
from reconciler.planner import (
    DEFAULT_LIFETIME,
    NOTHING,
    Known,
    PlanMetadata,
    compute,
    connected,
    with_inconsistent_desktops,
)
from reconciler.planning.anonymous import anonymised
from reconciler.planning.manifest_changes import manifest_changes
from reconciler.planning.plan import Plan, Service
from reconciler.planning.selection import select
from reconciler.render.line import count
from reconciler.render.words import approval
from reconciler.values import Struct, field, replace

if TYPE_CHECKING:
    from reconciler.notify.notifications import Notifications


@flags.options
def plan(
    paths: flags.OptionalPaths = None,
    *,
    out: Annotated[Path | None, flag(help="Save the plan for a later apply.", metavar="FILE")] = None,
    detailed_exitcode: Annotated[
        bool, flag("--detailed-exitcode", help="Exit 2 when changes are pending.")
    ] = False,
    shown: flags.PlanFormat = flags.Format.TEXT,
    connection: flags.ConnectionOptions,
    plan_ttl: flags.Lifetime = "1h",
    outputs: flags.OutputOptions,
    limits: flags.LimitOptions,
    shard: flags.ShardOf = "1/1",
    selection: flags.SelectionOptions,
    base: Annotated[
        list[Path] | None,
        flag(help="Manifests of the target branch: say what changes in what is allowed.", metavar="PATH"),
    ] = None,
    desktops: Annotated[
        bool, flag("--desktops", help="Also show desktops whose disks are not those of their pool.")
    ] = False,
    notify: Annotated[
        bool, flag("--notify", help="Tell the webhooks of a plan that waits for approval.")
    ] = False,
    webhook: flags.Webhooks = None,
    anonymise: flags.Anonymise = False,
    follow_symlinks: flags.FollowSymlinks = False,
) -> int:
    """Show which disks would go, what that destroys, and why; never writes."""
    console = Console()
    paths = manifest_paths(paths)
    different(out, outputs)
    lifetime = duration(plan_ttl, "--plan-ttl")
    teller = _Teller.of(webhook) if notify or webhook else None
    declared = load(paths, follow_symlinks=follow_symlinks)
    manifest = select(declared, selection.selection)
    acting_as(manifest.targets)
    for note in manifest.notes:
        console.note(note)
    if teller:
        teller.say_unheard(manifest, console)
    before = _base(base, follow_symlinks=follow_symlinks) if base else None
    changes = None if before is None else manifest_changes(before, declared)
    made = compute_plan(
        manifest,
        limits.over(manifest.limits),
        connection,
        console,
        PlanRequest(lifetime, flags.shard(shard), desktops),
    )
    made = replace(made, manifest_changes=changes)
    if out:
        from reconciler.cli.plan_files import save  # noqa: PLC0415 - builds models

        save(made, out)
    seen = anonymised(made) if anonymise else made
    apply = command("apply", paths, *([f"--shard {shard}"] if shard != "1/1" else []))
    write_outputs(seen, outputs, apply)
    show_plan(seen, shown, console, apply)
    tell_github(seen, console, apply)
    plan_outputs(seen, console)
    way = _way_to_apply(made, apply)
    if out:
        console.note(f"Saved to {out}; apply exactly this with: reconciler apply {path_word(out)}")
    elif shown is flags.Format.TEXT and way:
        console.text(way)  # with the plan: who has not got that must not apply it
    if teller and way:
        teller.tell(seen, way.partition(": ")[2], console, anonymise=anonymise)
    code = exit_code_of(made, console, detailed=detailed_exitcode)
    if outputs.out_markdown and (hidden := unnamed_losses(seen, apply)):
        console.error(
            Refused(
                f"{outputs.out_markdown} has no room to name {hidden} of the pools that lose disks",
                "split the change into several pull requests, or review --out-html",
            )
        )
        return code or int(ExitCode.REFUSED)
    return code


class _Teller(Struct, frozen=True):
    """Tells webhooks of a plan that waits for approval: only where asked to, since who plans by hand tries things."""

    notify: Notifications

    @classmethod
    def of(cls, webhook: list[str] | None) -> _Teller:
        """Raises ``BadInput`` where nobody would hear, before anything is read."""
        from reconciler.cli import messages  # noqa: PLC0415 - only where somebody is to be notified

        notify = messages.notifier(webhook)
        if not notify.webhooks:
            raise BadInput("--notify has nobody to tell", "set RECONCILER_WEBHOOK, or give --webhook")
        return cls(notify)

    def say_unheard(self, manifest: Manifest, console: Console) -> None:
        """Say which owners nobody tells."""
        from reconciler.cli import messages  # noqa: PLC0415 - as above

        messages.say_unheard(manifest.pools, self.notify, console)

    def tell(self, plan: Plan, approval: str, console: Console, *, anonymise: bool) -> None:
        """Deliver; whatever comes of it, the plan stands."""
        from reconciler.cli import messages  # noqa: PLC0415 - as above
        from reconciler.render.notification import plan_message  # noqa: PLC0415 - as above

        source = messages.source("plan", approval=approval, anonymise=anonymise)
        messages.send(plan_message(plan, source), self.notify, console)


def _way_to_apply(made: Plan, apply: str) -> str:
    """How to go on from a plan, in one line; empty where nothing of it can be applied."""
    if made.run_blocked or not any(pool.pending and not pool.blocked for pool in made.pools):
        return ""
    policy = made.policy
    if policy and policy.approvals and made.destroys:
        people = count(policy.approvals.required, "person", "people")
        return (
            f"It has to be signed by {people}, each with: reconciler approve --digest {made.digest} --key KEY"
        )
    return f"Apply exactly this with: {approval(made, apply)}"


def _base(paths: list[Path], *, follow_symlinks: bool) -> Manifest:
    """The manifests of the target branch; raises ``BadInput`` when they do not load: nothing could be compared."""
    try:
        return read(paths, follow_symlinks=follow_symlinks)
    except BadInput as error:
        raise BadInput(
            f"the manifests of --base cannot be read, so what this change widens is not known: {error.message}",
            "give --base the manifests as they are on the target branch",
            faults=error.faults,
        ) from None


class PlanRequest(Struct, frozen=True):
    """What kind of plan to make."""

    lifetime: timedelta = DEFAULT_LIFETIME
    shard: Shard = field(default_factory=Shard)
    desktops: bool = False
    """True also reads which desktops differ from their pool."""


def compute_plan(
    manifest: Manifest, limits: Limits, connection: ConnectionOptions, console: Console, asked: PlanRequest
) -> Plan:
    """Read the targets and plan, showing progress on a terminal."""

    async def work(_stop: Stop) -> Plan:
        return await planned(manifest, limits, connection, console, asked)

    return run_async(work)


async def planned(
    manifest: Manifest, limits: Limits, connection: ConnectionOptions, console: Console, asked: PlanRequest
) -> Plan:
    """The same inside an event loop, whose signals are its caller's."""
    metadata = PlanMetadata(new_id(), CLOCK.get().now(), asked.lifetime, asked.shard, policy_of(connection))
    interlock = Interlock.of(manifest, connection.project_id, console.info, writes=False)
    async with connections(manifest.targets, connection, interlock) as opened:
        services = [each.service for each in connected(opened).values()]
        known = _known(services, connection, console)
        with console.working("Reading the live pools"):
            made = await compute(manifest, limits, opened, metadata, known)
            return await with_inconsistent_desktops(made, opened) if asked.desktops else made


def _known(services: list[Service], connection: ConnectionOptions, console: Console) -> Known:
    """What other runs left open or did in part, as far as there is a journal; it is only read."""
    with journal_to_read(connection, console.info) as kept:
        if kept:
            from reconciler.engine.holds import recorded_holds  # noqa: PLC0415 - only where there is a journal
            from reconciler.engine.known import known_of  # noqa: PLC0415 - as above

            return known_of(kept, services, recorded_holds(kept, services, kept.now()), stays=False)
    where = journal_place(connection)
    console.note(f"There is no journal at {where}: what other runs have left open is not known here.")
    return NOTHING


def exit_code_of(plan: Plan, console: Console, *, detailed: bool) -> int:
    """The exit code of a plan: a failed target first, then blocked, then pending changes if ``detailed``."""
    if plan.failures:
        first = plan.failures[0]
        console.error(
            ReconcilerError(f"target {first.target} could not be planned: {first.message}", first.hint)
        )
        return first.exit_code
    if plan.blocked:
        from reconciler.engine.holds import blocked_code  # noqa: PLC0415 - most plans are not

        blocking = sum(each.severity == "block" for each in plan.all_findings)
        console.info(f"Error: the plan is blocked by {blocking} finding{'s'[: blocking != 1]}; see above.")
        return int(blocked_code(plan))
    differs = plan.inconsistent_count or plan.has_leftovers or any(pool.drift for pool in plan.pools)
    return int(ExitCode.CHANGES if detailed and differs else ExitCode.DONE)
