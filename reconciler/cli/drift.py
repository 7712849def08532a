"""``drift``: shows how far the pools are from their manifests; ``watch`` repeats the same round.

Detecting and remediating are left to ``engine.remediation``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

from reconciler.apply.results import DriftReport, DriftRound, LivePool, Sight, live_pool
from reconciler.apply.stop import Stop
from reconciler.apply.unnamed import unnamed_drift
from reconciler.cli import flags, messages
from reconciler.cli.commands import acting_as
from reconciler.cli.connect import connections, journal, run_context
from reconciler.cli.console import Console
from reconciler.cli.interlock import Interlock
from reconciler.cli.outputs import plan_outputs, show_faults, to_github
from reconciler.cli.parameters import flag
from reconciler.cli.policy import policy_of, read_as, sources_of
from reconciler.cli.signals import run_async
from reconciler.clock import CLOCK
from reconciler.engine.remediation import detect, remediate
from reconciler.errors import ExitCode, ReconcilerError
from reconciler.journal.records import Alarm, Journal, PoolKey
from reconciler.manifest.load import load
from reconciler.manifest.sources import Seen, changes
from reconciler.model import Selection, Shard, Target
from reconciler.notify.notifications import Notifications, notifications
from reconciler.planning.selection import select
from reconciler.render.drift_report import drift_lines, drift_page
from reconciler.render.message import EVERYBODY, Compose, Deliveries
from reconciler.render.notification import changing, drift_message, drift_parts
from reconciler.values import Struct, field, replace

Correct = Annotated[
    bool,
    flag("--correct", help="Remediate what the manifests' drift policy allows, not only detect."),
]
Textfile = Annotated[Path | None, flag("--prometheus", help="Write gauges to this textfile.", metavar="FILE")]


class Memory(Struct):
    """What a round knows of those before it in this process."""

    noted: set[str] = field(default_factory=set)
    """What was said of the manifests so far; each line is said once, also in many rounds."""
    sights: dict[Target, datetime] = field(default_factory=dict)
    """When each target was last read completely; of one never read, when it was first asked for."""
    sources: Seen | None = None
    """The files that the round before was decided by; None when there was none, or it could not read them."""
    drifting: dict[LivePool, datetime] = field(default_factory=dict)
    """Since when pools are seen to have surplus or missing disks; the journal is asked once for each."""


class DriftRequest(Struct, frozen=True):
    """What one round reads, and how."""

    paths: list[Path]
    limits: flags.LimitOptions
    connection: flags.ConnectionOptions
    remediate: bool
    shard: Shard = field(default_factory=Shard)
    group: str = ""
    follow_symlinks: bool = False
    selection: Selection = field(default_factory=Selection)
    anonymise: bool = False
    """True: the outcome names nobody."""
    settled: bool = False
    """True: correct only by files that the round before has read exactly so."""
    memory: Memory = field(default_factory=Memory)
    notify: Notifications = field(default_factory=lambda: notifications(None, (), CLOCK.get()))
    command: str = "drift"
    gauges: bool = False
    """True: the outcome is also shown as gauges."""


@flags.options
def drift(
    paths: flags.Paths,
    *,
    correct: Correct = False,
    shown: flags.OutputFormat = flags.Output.TEXT,
    prometheus: Textfile = None,
    webhook: flags.Webhooks = None,
    connection: flags.ConnectionOptions,
    shard: flags.ShardOf = "1/1",
    run_group: flags.RunGroup = "",
    selection: flags.SelectionOptions,
    limits: flags.LimitOptions,
    anonymise: flags.Anonymise = False,
    follow_symlinks: flags.FollowSymlinks = False,
) -> int:
    """Show how far pools are from their manifests; exit 2 when they differ. Writes only with --correct."""
    console = Console()
    notify = messages.notifier(webhook, prometheus)
    group = flags.group_of(run_group)
    share = flags.share(shard, group) if correct else flags.shard(shard)
    asked = DriftRequest(
        list(paths),
        limits,
        connection,
        correct,
        share,
        group,
        follow_symlinks,
        selection.selection,
        anonymise,
        notify=notify,
        gauges=prometheus is not None,
    )

    async def work(stop: Stop) -> DriftRound:
        with console.working("Reading the live pools"):
            outcome = await run_round(asked, console, stop)
        show(outcome, shown, console)  # before the webhooks: a slow one may be interrupted
        to_github(lambda: drift_page(outcome), console)
        if outcome.report:
            plan_outputs(outcome.report.plan, console)
        if outcome.error:
            show_faults(outcome.error, console)
        await notified(asked, outcome, console, stop)
        return outcome

    return int(run_async(work).exit_code)


async def notified(asked: DriftRequest, outcome: DriftRound, console: Console, stop: Stop) -> None:
    """Write the gauges, tell the webhooks that the round concerns, and write what became of that."""
    asked.notify.write_gauges(outcome, console.info)
    await messages.sent(written(asked, outcome), asked.notify, console, stop)
    if asked.notify.deliveries != Deliveries():
        asked.notify.write_gauges(outcome, console.info)


def written(asked: DriftRequest, outcome: DriftRound) -> Compose:
    """The message of a round, for those whom it concerns."""
    compose = drift_message(outcome, messages.source(asked.command, anonymise=asked.anonymise))
    return lambda owner: compose(owner) if concerns(outcome, owner) else None


def concerns(outcome: DriftRound, owner: str = EVERYBODY) -> bool:
    """Whether the round is worth a message to this owner, or to everybody."""
    if owner:
        return bool(drift_parts(outcome, owner)) and not changing(outcome, owner)
    return noteworthy(outcome)


async def run_round(asked: DriftRequest, console: Console, stop: Stop) -> DriftRound:
    """One round from the manifests on; what goes wrong is part of the outcome."""
    clock = CLOCK.get()
    started, begun = clock.now(), clock.monotonic()

    alarms: list[Alarm] = []

    def outcome(code: ExitCode, report: DriftReport | None, error: ReconcilerError | None) -> DriftRound:
        if report:
            failed = {each.target for each in report.plan.failures}
            read = [each for each in asked.memory.sights if each not in failed]
            asked.memory.sights.update(dict.fromkeys(read, started))
        sights = tuple(Sight(*each) for each in sorted(asked.memory.sights.items()))
        since = tuple(asked.memory.drifting.items())
        return DriftRound(
            started, clock.monotonic() - begun, code, report, error, tuple(alarms), sights, since
        )

    memory, before = asked.memory, asked.memory.sources
    memory.sources = None
    try:
        manifest = select(load(asked.paths, follow_symlinks=asked.follow_symlinks), asked.selection)
        acting_as(manifest.targets)

        def once(note: str, say: Callable[[str], None] = console.info) -> None:
            if note not in memory.noted:
                memory.noted.add(note)
                say(note)

        memory.sights = {each: memory.sights.get(each, started) for each in manifest.targets}
        for note in manifest.notes:
            once(note, console.note)
        if silent := messages.unheard(manifest.pools, asked.notify):
            once(silent)
        interlock = Interlock.of(manifest, asked.connection.project_id, once, writes=asked.remediate)
        policy = policy_of(asked.connection)  # read again in each round, as the manifests are
        sources = sources_of(asked.paths, asked.connection, follow_symlinks=asked.follow_symlinks)
        memory.sources = seen = read_as(manifest, policy, sources)
        limits = asked.limits.over(manifest.limits)
        with journal(asked.connection) as kept:
            alarms += [each for target in manifest.targets for each in kept.alarms(str(target))]
            async with connections(manifest.targets, asked.connection, interlock) as opened:
                run = replace(
                    run_context(kept, console, stop),
                    connections=opened,
                    shard=asked.shard,
                    group=asked.group,
                    policy=policy,
                    check_sources=lambda: sources.check(seen),
                    unnamed=asked.anonymise,
                )
                if asked.remediate:
                    unsettled = _unsettled(before, seen) if asked.settled else ""
                    report = await remediate(manifest, limits, run, unsettled)
                else:
                    report = await detect(manifest, limits, run)
            if asked.gauges:
                memory.drifting = _drifting_since(report, memory.drifting, kept)
    except ReconcilerError as error:
        return outcome(error.exit_code, None, error)
    if asked.anonymise:
        report = unnamed_drift(report)
    return outcome(report.exit_code, report, None)


def _drifting_since(
    report: DriftReport, known: Mapping[LivePool, datetime], kept: Journal
) -> dict[LivePool, datetime]:
    """Since when each pool that drifts does so, by this process or else by the journal."""
    drifting = {
        key for each in report.measures_now if each.surplus or each.missing if (key := live_pool(each.pool))
    }
    services = {each.target: each.name for each in report.plan.services}
    asked = {
        PoolKey(str(target), services[target], pool_id): (target, pool_id)
        for target, pool_id in drifting - known.keys()
    }
    found = kept.drifting_since(asked) if asked else {}
    old = {key: at for key, at in known.items() if key in drifting}
    return old | {asked[key]: at for key, at in found.items()}


def _unsettled(before: Seen | None, now: Seen) -> str:
    """Why nothing may be corrected by these files yet; empty when the round before has read the very same."""
    if before is None:
        return "no round before this one has read the manifests"
    changed = changes(before, now)
    return f"the manifests are not those of the round before: {changed}" if changed else ""


def noteworthy(outcome: DriftRound) -> bool:
    """Whether the round is worth a notification."""
    return not (outcome.exit_code is ExitCode.DONE or being_changed(outcome)) or remediated(outcome)


def being_changed(outcome: DriftRound) -> bool:
    """Whether all that kept the round from being calm is a run that is changing a pool: no alarm."""
    calm = outcome.report and not outcome.report.error and not outcome.drifting
    return outcome.exit_code is ExitCode.HELD and bool(calm)


def remediated(outcome: DriftRound) -> bool:
    """Whether the round tried to remediate anything."""
    applied = outcome.report.applied if outcome.report else None
    return bool(applied and applied.results)


def show(outcome: DriftRound, shown: flags.Output, console: Console) -> None:
    """Print a round: its result on stdout, its errors on stderr."""
    if shown is flags.Output.JSON:
        from reconciler.render.json.drift import drift_json  # noqa: PLC0415 - one of two forms

        console.json_text(drift_json(outcome))
    else:
        console.lines(drift_lines(outcome))
    for error in (outcome.error, outcome.report.error if outcome.report else None):
        if error:
            console.error(error)
