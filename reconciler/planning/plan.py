"""The plan as a value: what would change, what that destroys, and the digest of the decision.

Making one is left to ``draft``, blocking to ``guards``, showing it to ``render``, files to ``plan_file``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import force_setattr

from reconciler.model import (
    SHARES,
    Action,
    BackupRule,
    DesiredPool,
    Disk,
    DriftPolicy,
    Limits,
    LostCopy,
    Policy,
    Pool,
    Selection,
    Target,
    Whom,
)
from reconciler.planning.change import Change, Tie
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.inconsistent_desktops import InconsistentDesktops
from reconciler.planning.leftovers import Leftovers, count_of
from reconciler.planning.manifest_changes import ManifestChange
from reconciler.planning.permissions import Permission, permissions
from reconciler.values import Struct

DECISION_VERSION = 2

HELD_RULES = frozenset({"unresolved-operation", "pool-held", "journal-damaged", "pool-alarm"})
"""What only the journal of the one who applies knows."""
BACKUP = "backup"
"""The rule of a removal that lacks a backup that is asked for."""
TRANSIENT_RULES = HELD_RULES | {"live-session", "pool-state", "unknown-job", BACKUP}
"""What comes and goes by itself: an operation is open, somebody logs in, a pool is busy, a backup grows old."""
SINCE_THE_REVIEW = (frozenset[str](), HELD_RULES, TRANSIENT_RULES)
"""Blocks that may have come since a review, and then leave the approval of everything else alone."""


class Loss(Struct, frozen=True):
    """What the removals of one pool destroy, as counted when the plan was made."""

    disks: int = 0
    copies: int = 0
    """Physical volumes destroyed, over all removed disks and desktops."""
    desktops: int = 0
    """Desktops that lose at least one copy."""
    gigabytes: int = 0
    """GB over all destroyed copies."""
    users: tuple[str, ...] = ()
    """People of those desktops by name, sorted; at least these where a group is attached."""
    groups: tuple[str, ...] = ()
    """User groups attached to those desktops, sorted; who is in them is not known."""
    live_sessions: int = 0
    """Desktops among them with a connected user at the time of reading."""
    upper_bound: bool = False
    """True when the service decides which desktops are reached, so the numbers are the worst case."""
    maintained: int = 0
    """Desktops among them in maintenance mode (``in_maintenance_mode``): nobody can connect to say anything."""
    isolated: int = 0
    """Desktops among them that the pool's own repair has taken out of service (``isolated``)."""
    frozen: int = 0
    """Desktops among them that are frozen (``is_freeze``), so that the service may not change them."""


class Unbacked(Struct, frozen=True):
    """A desktop that would lose a copy and has no backup that counts."""

    desktop_id: str
    desktop_name: str
    latest: datetime | None = None
    """When its latest usable backup was made, which is too old; None: it has none."""


class Backups(Struct, frozen=True):
    """Which of the desktops that would lose a copy of one disk have a backup that is young enough."""

    within: timedelta
    desktops: int
    """Those that would lose a copy."""
    having: int
    """Those among them of which every copy that would go has a backup."""
    oldest: datetime | None = None
    """When the oldest of these was made, taking the newest of each desktop."""
    lacking: tuple[Unbacked, ...] = ()
    """The others, by name."""
    undivided: int = 0
    """Desktops that have one of which the service does not say which disks it holds."""
    unread: str = ""
    """Why the backups could not be read, so that nothing of the above is known; empty when they were."""

    @property
    def complete(self) -> bool:
        """True when every desktop has one."""
        return not self.unread and self.having == self.desktops


class DiskLoss(Struct, frozen=True):
    """What removing one disk destroys."""

    disk_id: str
    copies: int
    gigabytes: int
    lost: tuple[LostCopy, ...] = ()
    """Each of those copies, by desktop."""
    backups: Backups | None = None
    """What backups these desktops have; None where none is asked for."""


class Candidate(Struct, frozen=True):
    """What is known of one disk of a tie, so that a person can choose."""

    disk_id: str
    copies: int
    desktops: int
    """Desktops that have a copy of it."""
    users: tuple[str, ...] = ()
    """People bound to those desktops, sorted."""
    created: datetime | None = None
    """When its oldest copy was made; None when any copy does not say."""
    live_sessions: int = 0
    """Desktops with a connected user that would lose a copy if this disk went."""


_KEEP = Action.KEEP
_NOTHING_LOST = Loss()


class PoolPlan(Struct, frozen=True):
    """The plan of one declared pool."""

    desired: DesiredPool
    live: Pool | None = None
    """None when the declared pool was not found or is ambiguous; a finding says so."""
    changes: tuple[Change, ...] = ()
    """One per disk, canonical order, keeps included."""
    ties: tuple[Tie, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    """One per disk of the ties, in their order; empty while the desktops were not read."""
    loss: Loss = _NOTHING_LOST
    disk_losses: tuple[DiskLoss, ...] = ()
    findings: tuple[Finding, ...] = ()
    """Findings about this pool alone."""
    inconsistent: InconsistentDesktops | None = None
    """Desktops that differ from the pool; None when nobody asked for them."""
    leftovers: tuple[Leftovers, ...] = ()
    """What earlier removals that were done in part have left on its desktops; drift that no change here ends."""
    retry_of: str = ""
    """Id of the operation whose removal the service is to finish; empty for a plan from the manifest."""
    grace: timedelta = timedelta(0)
    """How long its disks must have been surplus before they go, by its entry or the policy."""
    backup: BackupRule | None = None
    """The backup without which no desktop loses a copy, by its entry or the policy; None: none is asked for."""
    drift: tuple[Change, ...] = ()
    """Every difference, carried out or only shown: asked for often, and empty for most of ten thousand pools.

    Always taken from ``changes``, whatever is given.
    """

    def __post_init__(self) -> None:
        """Set apart what differs; whatever is carried out or marked is among it."""
        drift = [each for each in self.changes if each.action is not _KEEP or each.differs]
        force_setattr(self, "drift", tuple(drift))

    @property
    def target(self) -> Target:
        """The target this pool belongs to."""
        return self.desired.target

    @property
    def label(self) -> str:
        """The live name where known, else what the manifest calls it."""
        return self.live.name if self.live and self.live.name else self.desired.label

    @property
    def blocked(self) -> bool:
        """True when a finding forbids changing this pool."""
        return bool(self.findings) and any(each.severity is Severity.BLOCK for each in self.findings)

    @property
    def pending(self) -> tuple[Change, ...]:
        """The changes that apply would carry out if nothing blocked them."""
        return tuple([each for each in self.drift if each.carried_out]) if self.drift else ()

    @property
    def waiting(self) -> tuple[Change, ...]:
        """The removals that are only marked, because they are not due yet."""
        return tuple([each for each in self.drift if each.waits]) if self.drift else ()

    @property
    def removed(self) -> tuple[Disk, ...]:
        """The live disks this plan destroys."""
        return tuple([each.live for each in self.drift if each.destroys and each.live]) if self.drift else ()


class Service(Struct, frozen=True):
    """Which service a target was read from."""

    target: Target
    name: str
    """Host of the endpoint, or ``sandbox:<world>``."""
    whom: Whom | None = None
    """As whom it was read; None in plans of older versions."""

    @property
    def sandbox(self) -> bool:
        """True when this is the simulated service."""
        return self.name.startswith("sandbox:")


class TargetFailure(Struct, frozen=True):
    """A target that could not be read; none of its pools is planned."""

    target: Target
    message: str
    hint: str = ""
    exit_code: int = 1


class Totals(Struct, frozen=True):
    """Counts over all pools of a plan."""

    add: int = 0
    change: int = 0
    destroy: int = 0
    undecided: int = 0
    """Disks that must go while nobody has chosen which: those of ties."""
    pools: int = 0
    """Pools that lose at least one disk."""
    copies: int = 0
    desktops: int = 0
    gigabytes: int = 0
    users: int = 0
    """Distinct people, counted once per target; at least so many where groups are attached."""
    groups: int = 0
    """Distinct user groups attached to desktops that lose a copy, counted once per target."""
    live_sessions: int = 0
    upper_bound: bool = False


class Plan(Struct, frozen=True):
    """Everything a reviewer sees and ``apply`` honours; holds no secret."""

    id: str
    """Unique per plan; a saved plan is applied once."""
    services: tuple[Service, ...]
    pools: tuple[PoolPlan, ...]
    """Sorted by target and label."""
    limits: Limits
    created: datetime
    expires: datetime
    tool_version: str
    sources: tuple[tuple[str, str], ...] = ()
    """``(path, sha256)`` of the manifests it was made from."""
    findings: tuple[Finding, ...] = ()
    """Findings about the run as a whole; those of pools stand in the pools."""
    failures: tuple[TargetFailure, ...] = ()
    policy: Policy | None = None
    """The policy that it was judged by; None: there was none."""
    drift_policies: tuple[DriftPolicy, ...] = ()
    """What the manifests let a scheduled run correct without a person."""
    manifest_changes: tuple[ManifestChange, ...] | None = None
    """How the manifests differ from those of the target branch; None when they were not compared."""
    selection: Selection | None = None
    """Which of the declared pools it is about; None: all of them."""

    @property
    def permissions(self) -> tuple[Permission, ...]:
        """What its manifests and flags allow beyond the defaults."""
        return permissions(self.limits, [pool.desired for pool in self.pools], self.drift_policies)

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Run-wide findings first, then those of each pool."""
        return self.findings + tuple(each for pool in self.pools for each in pool.findings)

    @property
    def run_blocked(self) -> bool:
        """True when a finding forbids the whole run."""
        return any(each.severity is Severity.BLOCK for each in self.findings)

    @property
    def blocked(self) -> bool:
        """True when anything in the plan is blocked."""
        return self.run_blocked or any(pool.findings and pool.blocked for pool in self.pools)

    @property
    def sandbox(self) -> bool:
        """True when any of its targets is the simulated service."""
        return any(each.sandbox for each in self.services)

    @property
    def has_changes(self) -> bool:
        """True when there is something to carry out, blocked or not."""
        return any(pool.drift and pool.pending for pool in self.pools)

    @property
    def destroys(self) -> bool:
        """True when carrying it out destroys a disk: in a pool that nothing blocks."""
        return any(pool.removed for pool in self.pools if not pool.blocked)

    @property
    def inconsistent_count(self) -> int:
        """Desktops that differ from their pool, where they were asked for."""
        return sum(len(pool.inconsistent.desktops) for pool in self.pools if pool.inconsistent)

    @property
    def leftover_copies(self) -> int:
        """Copies that partial removals have left on desktops."""
        return sum(count_of(pool.leftovers) for pool in self.pools if pool.leftovers)

    @property
    def leftovers_unread(self) -> bool:
        """True when it could not be read whether partial removals have left more copies."""
        return any(each.unread for pool in self.pools for each in pool.leftovers)

    @property
    def has_leftovers(self) -> bool:
        """True when copies are left, or when it could not be read whether they are."""
        return any(pool.leftovers for pool in self.pools)

    @property
    def digest(self) -> str:
        """Hexadecimal sha256 over the canonical decision: what a reviewer approves."""
        return digest_of(decision(self))

    def approved_by(self, digest: str) -> bool:
        """Whether an approval holds: for this decision, or for what it was before something was blocked.

        What was blocked in the review must be blocked still: it stays out of its approval.
        """
        return any(digest == digest_of(decision(self, ignoring=rules)) for rules in SINCE_THE_REVIEW)

    @property
    def totals(self) -> Totals:
        """What would be carried out: counts over the pools that are not blocked."""
        return totals([pool for pool in self.pools if not pool.blocked])

    @property
    def blocked_totals(self) -> Totals:
        """What is held back: counts over the pools that are blocked."""
        return totals([pool for pool in self.pools if pool.blocked])


def totals(pools: Sequence[PoolPlan]) -> Totals:
    """Add up what carrying out these pools would do and destroy."""
    count = dict.fromkeys(Action, 0)
    people: set[tuple[Target, str]] = set()
    groups: set[tuple[Target, str]] = set()
    losing = [pool for pool in pools if pool.loss.disks]
    for pool in pools:
        for change in pool.drift:
            count[change.action] += change.carried_out
    for pool in losing:
        people.update((pool.target, user) for user in pool.loss.users)
        groups.update((pool.target, group) for group in pool.loss.groups)
    return Totals(
        add=count[Action.ADD] + count[Action.REPLACE],
        change=count[Action.EXPAND],
        destroy=count[Action.REMOVE] + count[Action.REPLACE],
        undecided=sum(
            tie.remove for pool in pools if Action.REMOVE in pool.desired.manage for tie in pool.ties
        ),
        pools=len(losing),
        copies=sum(pool.loss.copies for pool in losing),
        desktops=sum(pool.loss.desktops for pool in losing),
        gigabytes=sum(pool.loss.gigabytes for pool in losing),
        users=len(people),
        groups=len(groups),
        live_sessions=sum(pool.loss.live_sessions for pool in losing),
        upper_bound=any(pool.loss.upper_bound for pool in losing),
    )


def decision(plan: Plan, *, ignoring: frozenset[str] = frozenset()) -> dict[str, Any]:
    """What a reviewer approves, as plain JSON values in canonical order.

    Target, pool and disk ids, types, sizes, actions, ``apply_to``, limits, permissions, grace, the age that backups may
    have, the policy, and what is blocked; not the counts that move by the minute, which the limits bound, nor which
    backups there are. Pools without a difference take no part, nor do disks that are only marked: what is not due yet
    is nobody's approval.
    ``ignoring``: rules as whose blocks are left out; with ``TRANSIENT_RULES`` also those of the whole run.
    """
    changed = {pool.target for pool in plan.pools if _deciding(pool)}
    policy = {"policy": plan.policy.digest} if plan.policy else {}
    missing = sorted(f"{pool.target}/{pool.label}" for pool in plan.pools if pool.live is None)
    not_found = {"not_found": missing} if missing and changed else {}
    return (
        policy
        | not_found
        | {
            "version": DECISION_VERSION,
            "targets": [
                {"region": each.target.region, "project_id": each.target.project_id, "service": each.name}
                | ({"profile": each.target.profile} if each.target.profile else {})
                for each in plan.services
                if each.target in changed
            ],
            # A share that is not limited is left out, as is a policy where there is none: so digests that were approved
            # before there were any still hold.
            "limits": {
                name: limit.value
                for name, limit in plan.limits.items()
                if name not in SHARES or limit.value is not None
            },
            "blocked": plan.run_blocked and ignoring != TRANSIENT_RULES,
            "pools": {
                f"{pool.target}/{pool.live.id}": pool_decision(pool, ignoring=ignoring)
                for pool in plan.pools
                if pool.live and _deciding(pool)
            },
        }
    )


def pool_decision(pool: PoolPlan, *, ignoring: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The decision about one pool, disk by disk; shared by the digest and the stale check."""
    live, desired = pool.live, pool.desired
    allowed = {
        "empty": desired.allow_empty,
        "live_sessions": desired.allow_live_sessions,
        "count_mismatch": desired.allow_count_mismatch,
    }
    return {
        "name": live.name if live else pool.label,
        "apply_to": desired.apply_to.value if desired.apply_to else None,
        "disks": {
            _decision_key(change, index): _disk_decision(change)
            for index, change in enumerate(pool.changes)
            if not change.waits
        },
        "undecided": sorted(disk.id for tie in pool.ties for disk in tie.candidates),
        "blocked": any(
            each.severity is Severity.BLOCK and each.rule not in ignoring for each in pool.findings
        ),
        "protect": sorted(desired.protect),
        "allow": sorted(name for name, given in allowed.items() if given),
        # Left out where there is none, so that digests from before there was any still hold.
        **({"grace": int(pool.grace.total_seconds())} if pool.grace else {}),
        **({"backup": int(pool.backup.within.total_seconds())} if pool.backup else {}),
        # An approval of one is none of the other, although both destroy the same disk.
        **({"retry_of": pool.retry_of} if pool.retry_of else {}),
    }


def digest_of(value: Mapping[str, Any]) -> str:
    """Hexadecimal sha256 of the canonical JSON of ``value``."""
    try:
        # The text that the json module makes, in a tenth of the time; fractions, which differ, are in no plan.
        text = msgspec.json.encode(value, order="sorted")
    except (UnicodeEncodeError, TypeError):  # a lone surrogate, or a type of text of its own
        plain = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        text = plain.encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()


def _deciding(pool: PoolPlan) -> bool:
    if not (pool.ties or pool.drift):
        return False
    return bool(pool.ties) or any(
        change.action is not Action.KEEP and not change.waits for change in pool.drift
    )


def _decision_key(change: Change, index: int) -> str:
    if change.live and change.live.id:
        return change.live.id
    return f"new-{index}"


def _disk_decision(change: Change) -> dict[str, Any]:
    decided: dict[str, Any] = {"action": change.action.value, "carried_out": change.carried_out}
    if change.live:
        decided["before"] = {"type": change.live.type, "size": change.live.size}
    if change.desired and change.action is not Action.KEEP:
        decided["after"] = {
            name: value
            for name in ("type", "size", "iops", "throughput", "kms_id")
            if (value := getattr(change.desired, name)) is not None
        }
    return decided
