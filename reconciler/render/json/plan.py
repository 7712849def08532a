"""The JSON of a plan: ``resource_changes`` shaped as Terraform's, for OPA and scripts."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from reconciler.model import Action, ApplyTo, Disk, LostCopy, Notice, Policy
from reconciler.planning.backups import backup_words
from reconciler.planning.change import Change, Heard, Rule, Tie
from reconciler.planning.inconsistent_desktops import InconsistentDesktop
from reconciler.planning.manifest_changes import Direction
from reconciler.planning.plan import Backups, Plan, PoolPlan
from reconciler.render import words
from reconciler.render.json.base import (
    Count,
    Digest,
    Document,
    E,
    Entry,
    Flag,
    Integer,
    Moment,
    Said,
    Text,
    entry_of,
    json_text,
)
from reconciler.render.json.finding import FindingEntry

FORMAT_VERSION: Final = "1.4"
ActionWord: TypeAlias = Literal["no-op", "create", "update", "delete"]
Names: TypeAlias = Annotated[list[Text], BeforeValidator(words.names)]
"""Nobody, where people are only counted."""

_ACTIONS: dict[Action, list[ActionWord]] = {
    Action.KEEP: ["no-op"],
    Action.REMOVE: ["delete"],
    Action.EXPAND: ["update"],
    Action.ADD: ["create"],
    Action.REPLACE: ["delete", "create"],
}


class IdentityEntry(Entry):
    """As whom a target was read."""

    kind: Text = Field(description="access key, temporary access key, agency, user, token …")
    access_key: Said = Field(description="The ends of the access key's id; null for another kind.")
    user: Said = Field(description="The IAM user and its account; null when not known.")
    agency: Said = Field(description="The agency and its account, or its URN; null for none.")
    source: Text = Field(description="Where that was found: a variable, or a file with its section.")


class TargetEntry(Entry):
    """One project and the service it was read from."""

    region: Text
    project_id: Text
    service: Text = Field(description="Host of the endpoint, or sandbox:<world>.")
    sandbox: Flag = Field(description="True for the simulated service.")
    identity: IdentityEntry | None = Field(description="Null in plans of versions that did not keep it.")


class SummaryEntry(Entry):
    """Disks to add, expand and remove."""

    add: Count
    change: Count
    destroy: Count


class BlockedSummaryEntry(Entry):
    """What is held back because something blocks its pool; not part of the summary."""

    pools: Count = Field(description="Blocked pools.")
    add: Count
    change: Count
    destroy: Count
    undecided: Count = Field(description="Disks that must go while nobody has chosen which.")


class DestroyedEntry(Entry):
    """What carrying out the plan destroys."""

    disks: Count
    pools: Count = Field(description="Pools that lose at least one disk.")
    copies: Count = Field(description="Physical volumes: disks × desktops.")
    desktops: Count = Field(description="Desktops that lose at least one copy.")
    gigabytes: Count = Field(description="GB over all destroyed copies.")
    users: Count = Field(
        description="Distinct people of those desktops, counted once per target; at least so many with groups."
    )
    groups: Count = Field(description="Distinct user groups attached to those desktops; members not known.")
    live_sessions: Count = Field(description="Desktops among them on which somebody is working.")
    upper_bound: Flag = Field(description="True when the counts are the worst case.")
    sentence: Text = Field(description="The loss in one sentence; empty when there is none.")


class LimitEntry(Entry):
    """One ceiling on what a run may destroy."""

    value: Count | None = Field(description="Null: no limit.")
    source: Text = Field(description="default, a flag, or file:line:column.")


class LimitsEntry(Entry):
    """The ceilings of the run, over all its pools together."""

    disks: LimitEntry
    copies: LimitEntry
    pools: LimitEntry
    gigabytes: LimitEntry
    users: LimitEntry
    share_of_pool: LimitEntry = Field(description="Percent of its live disks that one pool may lose.")
    share_of_run: LimitEntry = Field(description="Percent of the live disks of all pools of the run.")


class PolicyRef(Entry):
    """The policy that a plan was judged by."""

    file: Text = Field(description="Its path where the plan was made.")
    digest: Digest = Field(description="sha256 of the file's content; part of the plan's digest.")
    approvals: Count = Field(description="How many people must sign before anything is removed; 0: nobody.")


class SelectionEntry(Entry):
    """Which of the declared pools a plan is about."""

    pools: list[Text] = Field(description="Names, ids or patterns given with --pool; empty: every pool.")
    exclude: list[Text] = Field(description="The same given with --exclude.")
    left_out: Count = Field(description="Declared pools that are not in the plan.")


class LossEntry(Entry):
    """What the removals of one pool destroy."""

    disks: Count
    copies: Count = Field(description="Physical volumes, over all removed disks and desktops.")
    desktops: Count = Field(description="Desktops that lose at least one copy.")
    gigabytes: Count = Field(description="GB over all destroyed copies.")
    users: Names = Field(description="Names of the people of those desktops; none with --anonymise.")
    user_count: Count = Field(description="How many people these are.")
    groups: Names = Field(description="User groups attached to those desktops; none with --anonymise.")
    group_count: Count = Field(description="How many groups these are.")
    live_sessions: Count = Field(description="Desktops among them on which somebody is working.")
    upper_bound: Flag = Field(description="True when the counts are the worst case.")


class DiskEntry(Entry):
    """One disk of a pool: one copy on each of its desktops."""

    id: Text | None
    type: Text
    size: Integer = Field(description="GB.")


class CandidateEntry(DiskEntry):
    """One disk of a tie, with what is known of it."""

    copies: Count | None = Field(description="Null when the desktops were not read.")
    desktops: Count | None = Field(description="Desktops that have a copy.")
    users: Names | None = Field(
        description="Names of the people bound to those desktops; none with --anonymise."
    )
    user_count: Count | None = Field(description="How many people these are.")
    created: Moment | None = Field(description="When its oldest copy was made; null when that is not known.")


class TieEntry(Entry):
    """Equally good disks of which some must go; nothing is removed until the manifest says which."""

    remove: Count = Field(description="How many of the candidates must go.")
    candidates: list[CandidateEntry]


class PoolEntry(Entry):
    """One declared pool with a difference, a tie or a finding."""

    name: Text
    id: Text | None = Field(description="Null when the declared pool was not found.")
    target: Text = Field(description="region/project_id.")
    declared_at: Text = Field(description="file:line:column.")
    apply_to: ApplyTo | None = Field(description="Null: not sent, the service decides.")
    blocked: Flag = Field(description="True when a finding forbids changing this pool.")
    loss: LossEntry
    notes: list[Text] = Field(
        description="What of the pool and its desktops matters where something is lost."
    )
    ties: list[TieEntry]


class KnownBackupEntry(Entry):
    """A backup of a desktop; what can be restored from it is not documented."""

    id: Text
    made: Text = Field(description="When (protected_at), ISO 8601 with an offset.")


class LostCopyEntry(Entry):
    """One copy that would be destroyed: what a backup, an audit or a support ticket can name later."""

    desktop_id: Text
    desktop_name: Text = Field(description="Empty with --anonymise: it is often that of the user.")
    volume_id: Said
    size: Integer = Field(description="GB.")
    users: Names = Field(description="Names of the people of that desktop; none with --anonymise.")
    user_count: Count = Field(description="How many people these are.")
    backups: list[KnownBackupEntry] = Field(
        description="Usable backups of that desktop that may hold the copy, newest first, at most 10; empty where no "
        "backup is asked for."
    )


class UnbackedEntry(Entry):
    """A desktop that has no backup that is young enough."""

    desktop_id: Text
    desktop_name: Text = Field(description="Empty with --anonymise: it is often that of the user.")
    latest: Moment | None = Field(description="When its latest usable backup was made; null: it has none.")


class BackupsEntry(Entry):
    """What backups the desktops have that would lose a copy of one disk."""

    within_seconds: Count = Field(description="How old a backup may be.")
    desktops: Count = Field(description="Desktops that would lose a copy.")
    having: Count = Field(description="Those among them with a backup that is young enough.")
    oldest: Moment | None = Field(description="When the oldest of these was made; null when there is none.")
    lacking: list[UnbackedEntry] = Field(description="The desktops without one.")
    disks_unknown: Count = Field(
        description="Desktops of whose backup the service does not say which disks it holds."
    )
    unread: Said = Field(
        description="Why the backups could not be read, so that the removal is blocked; null when they were."
    )
    sentence: Text


class ChangeEntry(Entry):
    """What happens to one disk, in Terraform's words."""

    actions: list[ActionWord] = Field(min_length=1, description="What apply does.")
    drift: list[ActionWord] = Field(
        min_length=1, description="What would make the disk as declared, carried out or not."
    )
    before: DiskEntry | None = Field(description="Null for a disk to add.")
    after: DiskEntry | None = Field(description="Null for a disk to remove.")


class MarkedEntry(Entry):
    """Why a removal is only marked: its grace has not ended."""

    reason: Rule = Field(description="Why the disk is surplus.")
    since: Moment | None = Field(description="Since when it is surplus; null while no apply has marked it.")
    due: Moment | None = Field(description="From when on it goes; null as above.")
    grace_seconds: Count
    extended_by: Said = Field(description="Who lets it wait longer than its grace; null: nobody.")


class MessageEntry(Entry):
    """One message to the people of a pool about one of its disks."""

    notice: Notice = Field(description="marked: the first one; reminder: a day before the disk is due.")
    heard: Heard = Field(
        description="accepted: the service took it; refused: nobody got it; unknown: nobody knows, and it is not "
        "repeated."
    )
    at: Moment = Field(description="When it was sent.")
    due: Moment = Field(description="The time that it named.")
    why: Said = Field(description="The answer, where it was not accepted.")


class MarkedSummaryEntry(Entry):
    """The removals that are only marked: in no count and under no limit of this plan, and not in its digest."""

    disks: Count
    first_due: Moment | None = Field(
        description="When the first of them goes; null while none has been marked."
    )


class ResourceChange(Entry):
    """One disk of a pool with drift, keeps included."""

    address: Text = Field(description="pool name/disk id.")
    type: Literal["desktop_pool_disk"]
    pool_id: Text | None
    pool_name: Text
    carried_out: Flag = Field(description="False: shown as drift only.")
    change: ChangeEntry
    action_reason: Rule | Literal["marked"] = Field(description="marked: surplus, and not due yet.")
    marked: MarkedEntry | None = Field(description="Null unless action_reason is marked.")
    announcements: list[MessageEntry] = Field(
        description="What its people have been notified since it was marked, oldest first."
    )
    differs: list[Text] = Field(description="Declared attributes that differ; never a reason to remove.")
    declared_at: Text | None = Field(description="file:line:column; null for a disk that is not declared.")
    copies: Count | None = Field(description="Copies destroyed; null when the disk is not destroyed.")
    gigabytes: Count | None = Field(description="GB over those copies; null when the disk is not destroyed.")
    lost_copies: list[LostCopyEntry] | None = Field(
        description="Each of those copies, by desktop; null when the disk is not destroyed."
    )
    backups: BackupsEntry | None = Field(
        description="Null when the disk is not destroyed, and where no backup is asked for."
    )


class CopyEntry(Entry):
    """The physical volume of one disk on one desktop."""

    disk_id: Said = Field(description="Null without a link to a disk.")
    volume_id: Said
    type: Text
    size: Integer = Field(description="GB.")


class ResizedEntry(CopyEntry):
    """A copy whose size is not that of the pool's disk."""

    pool_size: Integer = Field(description="GB of the pool's disk.")


class DesktopEntry(Entry):
    """One desktop that has other disks than its pool."""

    id: Text
    name: Text = Field(description="Empty with --anonymise: it is often that of the user.")
    users: Names = Field(description="Names of the people bound to it; none with --anonymise.")
    user_count: Count = Field(description="How many people these are.")
    left_behind: list[CopyEntry] = Field(description="Copies of disks that the pool does not have.")
    missing: list[DiskEntry] = Field(description="Disks of the pool without a copy here.")
    resized: list[ResizedEntry] = Field(description="Copies whose size is not that of the pool's disk.")


class InconsistentEntry(Entry):
    """One pool with desktops that have other disks than the pool."""

    pool_id: Text | None
    pool_name: Text
    target: Text = Field(description="region/project_id.")
    differ_in_number: Count = Field(description="Desktops with another number of disks than the pool.")
    differ_in_size: Count = Field(description="Desktops with another sum of GB than the pool.")
    desktops: list[DesktopEntry]


class LeftoverCopyEntry(LostCopyEntry):
    """One copy that is still there although its disk was to be removed."""

    disk_id: Text = Field(description="The disk that the removal was about; the pool no longer has it.")


class LeftoversEntry(Entry):
    """What a removal that was done only in part has left on desktops."""

    pool_id: Text | None
    pool_name: Text
    target: Text = Field(description="region/project_id.")
    operation: Text = Field(description="Id of the removal's operation, as retry takes it.")
    opened: Moment
    copies: list[LeftoverCopyEntry]
    unread: Said = Field(description="Why more may be left; null when the reading was complete.")


class FailureEntry(Entry):
    """A target that could not be read; none of its pools is planned."""

    target: Annotated[Text, BeforeValidator(str)] = Field(description="region/project_id.")
    message: Text
    hint: Text = Field(description="What to do; empty when nothing can be said.")


class AllowedEntry(Entry):
    """One thing that is allowed and would not be by default."""

    what: Text = Field(description="As a manifest writes it.")
    note: Said
    source: Text = Field(description="file:line:column, or a flag.")
    target: Said = Field(description="region/project_id; null for the whole run.")
    pool: Said


class ManifestChangeEntry(Entry):
    """One difference between the manifests and those of the target branch."""

    what: Text
    direction: Direction
    source: Text = Field(description="file:line:column.")
    target: Said = Field(description="region/project_id; null for the whole run.")
    pool: Said


class PlanDocument(Document):
    """What would change in the declared pools, and what that destroys. Sizes are GB."""

    tool_version: Text
    id: Text = Field(description="Unique per plan.")
    digest: Digest = Field(description="What a reviewer approves, as apply --approve takes it.")
    created: Moment
    expires: Moment = Field(description="From then on a saved plan is not applied.")
    sandbox: Flag = Field(description="True when any target is the simulated service.")
    target: TargetEntry | None = Field(description="The target when there is exactly one, else null.")
    targets: list[TargetEntry]
    summary: SummaryEntry = Field(description="Disks to carry out.")
    blocked_summary: BlockedSummaryEntry
    destroyed: DestroyedEntry
    marked: MarkedSummaryEntry
    blocked: Flag = Field(description="True when anything in the plan is blocked.")
    findings: list[FindingEntry] = Field(description="Those of the run, then those of each pool.")
    limits: LimitsEntry
    policy: PolicyRef | None = Field(description="Null: there was none.")
    allowed: list[AllowedEntry] = Field(
        description="What the manifests and flags allow beyond the defaults: limits, permissions, drift policies."
    )
    changed_by_base: list[ManifestChangeEntry] | None = Field(
        description="How the manifests differ from those given with --base, what widens first; null without it."
    )
    selection: SelectionEntry | None = Field(description="Null: the plan is about every declared pool.")
    pools: list[PoolEntry] = Field(description="Declared pools with a difference, a tie or a finding.")
    resource_changes: list[ResourceChange] = Field(
        description="One entry per disk of the pools that differ or have a tie, keeps included."
    )
    desktops: list[InconsistentEntry] | None = Field(
        description="Pools with desktops that differ from them, only shown; null unless asked for with --desktops."
    )
    leftovers: list[LeftoversEntry] = Field(
        description="Copies that removals done only in part have left; drift that no change of this plan ends."
    )
    failures: list[FailureEntry] = Field(description="Targets that could not be planned.")


def plan_json(plan: Plan) -> str:
    """The whole plan as JSON text."""
    return json_text(plan_document(plan))


def plan_document(plan: Plan) -> PlanDocument:
    """The whole plan; keeps of unchanged pools are left out."""
    targets, totals = target_entries(plan), plan.totals
    blocked, sentence = sum(pool.blocked for pool in plan.pools), words.destruction(plan)
    return entry_of(
        PlanDocument,
        plan,
        format_version=FORMAT_VERSION,
        target=targets[0] if len(targets) == 1 else None,
        targets=targets,
        summary=totals,
        blocked_summary=entry_of(BlockedSummaryEntry, plan.blocked_totals, pools=blocked),
        destroyed=entry_of(DestroyedEntry, totals, disks=totals.destroy, sentence=sentence),
        marked=_marked_summary(plan),
        findings=plan.all_findings,
        policy=_policy(plan.policy) if plan.policy else None,
        allowed=plan.permissions,
        changed_by_base=plan.manifest_changes,
        pools=[_pool(pool) for pool in plan.pools if pool.drift or pool.ties or pool.findings],
        resource_changes=[
            resource_change(pool, change)
            for pool in plan.pools
            if pool.drift or pool.ties
            for change in pool.changes
        ],
        desktops=_desktops(plan),
        leftovers=leftovers_entries(plan),
    )


def target_entries(plan: Plan) -> list[TargetEntry]:
    """The targets of a plan."""
    return [
        TargetEntry(
            region=each.target.region,
            project_id=each.target.project_id,
            service=each.name,
            sandbox=each.sandbox,
            identity=IdentityEntry.model_validate(each.whom) if each.whom else None,
        )
        for each in plan.services
    ]


def _policy(policy: Policy) -> PolicyRef:
    required = policy.approvals.required if policy.approvals else 0
    return PolicyRef(file=policy.file, digest=policy.digest, approvals=required)


def _pool(pool: PoolPlan) -> PoolEntry:
    return PoolEntry(
        name=pool.label,
        id=pool.live.id if pool.live else None,
        target=str(pool.target),
        declared_at=str(pool.desired.at),
        apply_to=pool.desired.apply_to,
        blocked=pool.blocked,
        loss=entry_of(
            LossEntry, pool.loss, user_count=len(pool.loss.users), group_count=len(pool.loss.groups)
        ),
        notes=list(words.particulars(pool)),
        ties=[_tie(pool, tie) for tie in pool.ties],
    )


def _tie(pool: PoolPlan, tie: Tie) -> TieEntry:
    return TieEntry(remove=tie.remove, candidates=[_candidate(pool, disk) for disk in tie.candidates])


def _candidate(pool: PoolPlan, disk: Disk) -> CandidateEntry:
    known = next((each for each in pool.candidates if each.disk_id == disk.id), None)
    return CandidateEntry(
        id=disk.id or None,
        type=disk.type,
        size=disk.size,
        copies=known.copies if known else None,
        desktops=known.desktops if known else None,
        users=words.names(known.users) if known else None,
        user_count=len(known.users) if known else None,
        created=known.created if known else None,
    )


def resource_change(pool: PoolPlan, change: Change) -> ResourceChange:
    """One disk of a pool, in the form of a change of a Terraform resource."""
    losses = {each.disk_id: each for each in pool.disk_losses}
    loss = losses.get(change.live.id) if change.live else None
    return ResourceChange(
        address=words.address(pool, change),
        type="desktop_pool_disk",
        pool_id=pool.live.id if pool.live else None,
        pool_name=pool.label,
        carried_out=change.carried_out,
        change=ChangeEntry(
            actions=_ACTIONS[change.action] if change.carried_out else ["no-op"],
            drift=_ACTIONS[change.action],
            before=_disk(change.live) if change.live else None,
            after=_after(change),
        ),
        action_reason="marked" if change.waits else change.rule,
        marked=_marked(change),
        announcements=[MessageEntry.model_validate(each) for each in change.told],
        differs=list(change.differs),
        declared_at=str(change.desired.at) if change.desired else None,
        copies=loss.copies if loss else None,
        gigabytes=loss.gigabytes if loss else None,
        lost_copies=[_lost(LostCopyEntry, each) for each in loss.lost] if loss else None,
        backups=_backups(loss.backups) if loss and loss.backups else None,
    )


def _backups(known: Backups) -> BackupsEntry:
    seconds, unknown = int(known.within.total_seconds()), known.undivided
    said = backup_words(known)
    return entry_of(BackupsEntry, known, within_seconds=seconds, disks_unknown=unknown, sentence=said)


def _marked(change: Change) -> MarkedEntry | None:
    if (waits := change.waits) is None:
        return None
    return entry_of(MarkedEntry, waits, reason=change.rule, grace_seconds=int(waits.grace.total_seconds()))


def _marked_summary(plan: Plan) -> MarkedSummaryEntry:
    found = [change.waits for pool in plan.pools for change in pool.waiting if change.waits]
    return MarkedSummaryEntry(
        disks=len(found), first_due=min((each.due for each in found if each.due), default=None)
    )


def _lost(kind: type[E], copy: LostCopy) -> E:
    backups = [KnownBackupEntry(id=each.id, made=each.at) for each in copy.backups]
    return entry_of(kind, copy, user_count=len(copy.users), backups=backups)


def leftovers_entries(plan: Plan) -> list[LeftoversEntry]:
    """What partial removals have left, one entry per removal."""
    return [each for pool in plan.pools for each in leftovers_of(pool)]


def leftovers_of(pool: PoolPlan) -> list[LeftoversEntry]:
    """The same for one pool."""
    return [
        LeftoversEntry(
            pool_id=pool.live.id if pool.live else None,
            pool_name=pool.label,
            target=str(pool.target),
            operation=each.operation_id,
            opened=each.opened,
            copies=[_lost(LeftoverCopyEntry, copy) for copy in each.copies],
            unread=each.unread,
        )
        for each in pool.leftovers
    ]


def _after(change: Change) -> DiskEntry | None:
    if change.action is Action.REMOVE:
        return None
    if change.action is Action.KEEP:
        return _disk(change.live) if change.live else None
    wanted = change.desired
    if wanted is None:
        return None
    kept_id = change.live.id if change.live and change.action is Action.EXPAND else None
    return DiskEntry(id=kept_id, type=wanted.type, size=wanted.size)


def _disk(disk: Disk) -> DiskEntry:
    return DiskEntry(id=disk.id or None, type=disk.type, size=disk.size)


def _desktops(plan: Plan) -> list[InconsistentEntry] | None:
    """One entry per pool that has desktops unlike itself; None when nobody asked for them."""
    asked = [pool for pool in plan.pools if pool.inconsistent]
    if not asked:
        return None
    return [
        InconsistentEntry(
            pool_id=pool.live.id if pool.live else None,
            pool_name=pool.label,
            target=str(pool.target),
            differ_in_number=pool.inconsistent.by_number,
            differ_in_size=pool.inconsistent.by_size,
            desktops=[_desktop(each) for each in pool.inconsistent.desktops],
        )
        for pool in asked
        if pool.inconsistent and pool.inconsistent.desktops
    ]


def _desktop(desktop: InconsistentDesktop) -> DesktopEntry:
    resized = [entry_of(ResizedEntry, each.copy, pool_size=each.pool_size) for each in desktop.resized]
    return entry_of(DesktopEntry, desktop, user_count=len(desktop.users), resized=resized)
