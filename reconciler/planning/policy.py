"""The policy over a plan: what it forbids, as findings like any other, each with its place in the policy.

Reading a policy is left to ``manifest.policy``; whether enough people signed to ``approvals``.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from reconciler.model import Grant, Limit, Limits, Policy, Position
from reconciler.planning import drift
from reconciler.planning.change import Change, Heard
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.permissions import window_words
from reconciler.planning.plan import Plan, PoolPlan
from reconciler.values import replace

WINDOW = "policy-window"
REQUIRE = "policy-require"


def within(limits: Limits, policy: Policy | None) -> Limits:
    """The limits of a run under a policy: each that of the manifests and flags, or the ceiling where that is lower."""
    if policy is None:
        return limits
    ceilings = dict(policy.ceilings.items())
    return Limits(**{name: _lower(limit, ceilings[name]) for name, limit in limits.items()})


def _lower(limit: Limit, ceiling: Limit) -> Limit:
    if ceiling.value is None or (limit.value is not None and limit.value <= ceiling.value):
        return limit
    return ceiling


def judge_pool(pool: PoolPlan, policy: Policy | None) -> PoolPlan:
    """Add to a pool what the policy has against its changes."""
    if policy is None or not (pool.pending or pool.ties):
        return pool
    found = tuple(each for each in pool_checks(pool, policy) if each.severity is not Severity.PASS)
    return replace(pool, findings=pool.findings + found) if found else pool


def pool_checks(pool: PoolPlan, policy: Policy) -> Iterator[Finding]:
    """Every rule of the policy about one pool with what it measured, passed ones included."""
    for rule, passed, check in _POOL_CHECKS:
        found = list(check(pool, policy))
        yield from found or [Finding(rule, passed, Severity.PASS, pool.label, source=policy.file)]


def run_checks(pools: Sequence[PoolPlan], policy: Policy, now: datetime) -> Iterator[Finding]:
    """Every rule of the policy about the whole run, passed ones included; a closed window only warns here."""
    yield from _targets(pools, policy)
    if policy.windows:
        yield _window(pools, policy, now)


def acting(plan: Plan, now: datetime) -> Plan:
    """The plan as ``apply`` judges it: outside the policy's windows nothing may begin."""
    policy = plan.policy
    if policy is None or not policy.windows:
        return plan
    others = tuple(each for each in plan.findings if each.rule != WINDOW)
    found = _window(plan.pools, policy, now)
    if found.severity is Severity.PASS:
        return replace(plan, findings=others)
    return replace(plan, findings=(*others, replace(found, severity=Severity.BLOCK)))


def unattended(permitted: drift.Permission, policy: Policy | None, now: datetime) -> drift.Permission:
    """What of a remediation the policy lets happen without a person: nothing is removed that must be signed for."""
    if policy is None or not permitted.pools:
        return permitted
    if place := policy.forbids(Grant.REMEDIATION):
        refused = Finding(
            rule="policy-forbid",
            message="the policy forbids correcting anything without a person",
            source=str(place.at),
            allow=f"apply by hand, or take remediation out of forbid in {policy.file}",
        )
        return drift.Permission(refused=(*permitted.refused, refused))
    window = _window(permitted.pools, policy, now) if policy.windows else None
    if window and window.severity is not Severity.PASS:
        return drift.Permission(refused=(*permitted.refused, window))
    if policy.approvals is None:
        return permitted
    signed_for = [pool for pool in permitted.pools if pool.removed]
    refused_ones = tuple(_unsigned(pool, policy) for pool in signed_for)
    rest = tuple(pool for pool in permitted.pools if not pool.removed)
    return drift.Permission(rest, permitted.refused + refused_ones)


def _unsigned(pool: PoolPlan, policy: Policy) -> Finding:
    rule = policy.approvals
    required = rule.required if rule else 0
    return Finding(
        rule="policy-approvals",
        message=f"{_disks(len(pool.removed))} would be destroyed without a person; the policy demands approvals "
        f"signed by {required}",
        pool=pool.label,
        measured=0,
        limit=required,
        source=str(rule.at) if rule else "",
        allow="apply by hand, with signed approvals",
    )


def _protected(pool: PoolPlan, policy: Policy) -> Iterator[Finding]:
    going = [disk.id for disk in pool.removed] + [disk.id for tie in pool.ties for disk in tie.candidates]
    if not going:
        return
    names = {pool.label, pool.desired.name, pool.desired.id, pool.live.id if pool.live else ""} - {""}
    for pattern, at in policy.protect_pools:
        if any(fnmatchcase(name, pattern) for name in names):
            yield _finding(
                pool,
                "policy-protect",
                f"the policy protects pools called {pattern!r}, and {_disks(len(going))} of this one would go",
                at,
                measured=len(going),
                allow=f"declare the disks, or take {pattern} out of protect.pools in {policy.file}",
            )
    for disk, at in policy.protect_disks:
        if disk in going:
            yield _finding(
                pool,
                "policy-protect",
                f"the policy protects disk {disk}, which would be destroyed",
                at,
                allow=f"declare the disk, or take it out of protect.disks in {policy.file}",
            )


def _forbidden(pool: PoolPlan, policy: Policy) -> Iterator[Finding]:
    desired = pool.desired
    given = {
        Grant.ALLOW_EMPTY: desired.allow_empty,
        Grant.ALLOW_LIVE_SESSIONS: desired.allow_live_sessions,
        Grant.ON_TIE: desired.on_tie is not None,
        Grant.REPLACE: any(disk.replace for disk in desired.disks),
    }
    for grant, is_given in given.items():
        if is_given and (place := policy.forbids(grant)):
            yield _finding(
                pool,
                "policy-forbid",
                f"the entry at {desired.at} has {grant}, which the policy forbids",
                place.at,
                allow=f"take {grant} out of the manifest, or out of forbid in {policy.file}",
            )


def _required(pool: PoolPlan, policy: Policy) -> Iterator[Finding]:
    if not (pool.removed or pool.ties):
        return
    for demanded, at in policy.require:
        if demanded.startswith(("grace: ", "backup: ")):
            continue  # grace is fulfilled by waiting: what is not due is no removal; the backups have their guard
        if demanded.startswith("announce: "):
            yield from _untold(pool, policy, at)
            continue
        yield _finding(
            pool,
            "policy-require",
            f"the policy demands {demanded} before a removal, and this version cannot fulfil it",
            at,
            allow=f"declare the disks, or take it out of require in {policy.file}",
        )


def _untold(pool: PoolPlan, policy: Policy, at: Position) -> Iterator[Finding]:
    """Removals of which the people of the pool have not been notified, or not for long enough."""
    least = policy.announce or timedelta(0)
    for change in pool.changes:
        if not (change.destroys and change.live):
            continue
        if change.heard_for is not None and change.heard_for >= least:
            continue
        why, allow = _silence(pool, change, least)
        yield _finding(
            pool,
            REQUIRE,
            f"the policy demands that people are notified before a removal: of disk {change.live.id} {why}",
            at,
            allow=f"{allow}; or declare the disk, or take announce out of require in {policy.file}",
        )


def _silence(pool: PoolPlan, change: Change, least: timedelta) -> tuple[str, str]:
    """Why its people count as not notified, and what a person can do about it."""
    disk = change.live.id if change.live else ""
    clear = f"reconciler marks clear {shlex.quote(f'{pool.label}/{disk}')}"
    anew = f"{clear}: the next apply marks it again and notifies them, and its grace begins again"
    if pool.retry_of and change.heard_for is None:
        return (
            "nobody was notified before the removal that this is to finish",
            "delete the copies in the console",
        )
    if change.heard_for is not None:
        left = least - change.heard_for
        return "they have known for too short a time", f"wait for another {_span(left)}"
    if not pool.desired.announce:
        write = "write announce: {text: …} and a grace into the entry"
        return (
            "nobody is notified, as the entry has no announce",
            # Without grace there is no mark that could be cleared.
            f"{write}, and then {anew}"
            if pool.grace
            else f"{write}: the next apply marks it and notifies them",
        )
    if not change.told:
        return "nobody was notified", anew
    last = change.told[-1]
    if last.heard is Heard.UNKNOWN:
        return (
            f"it is not known whether the message of {last.at:%Y-%m-%d %H:%M} UTC arrived, so it is not repeated",
            anew,
        )
    return (
        f"the message of {last.at:%Y-%m-%d %H:%M} UTC was not accepted ({last.why})",
        f"remove the cause, then {anew}",
    )


def _span(left: timedelta) -> str:
    """A length of time in hours and minutes, rounded up to the minute."""
    minutes = -(-left // timedelta(minutes=1))
    return f"{minutes // 60} h {minutes % 60} min"


def _targets(pools: Sequence[PoolPlan], policy: Policy) -> Iterator[Finding]:
    if policy.targets is None:
        return
    allowed = [each.value for each in policy.targets]
    others = sorted({str(pool.target) for pool in pools} - set(allowed))
    for target in others:
        yield Finding(
            rule="policy-target",
            message=f"the policy does not allow the target {target}; it allows {', '.join(allowed)}",
            source=str(policy.targets[0].at),
            allow=f"leave that target's manifests out, or add it to targets in {policy.file}",
        )
    if not others:
        yield Finding(
            rule="policy-target",
            message="the policy allows every target of this run",
            severity=Severity.PASS,
            source=str(policy.targets[0].at),
        )


def _window(pools: Sequence[PoolPlan], policy: Policy, now: datetime) -> Finding:
    """Whether an apply of these pools may begin now; what changes nothing needs no window."""
    idle = not any(pool.pending and not pool.blocked for pool in pools)
    words = ", ".join(map(window_words, policy.windows))
    is_open = idle or any(drift.opens(window, now) for window in policy.windows)
    return Finding(
        rule=WINDOW,
        message=f"an apply may begin in a window of the policy ({words}); it is {now:%a %Y-%m-%d %H:%M} UTC",
        severity=Severity.PASS if is_open else Severity.WARN,
        source=str(policy.windows[0].at),
        allow="" if is_open else f"wait for a window, or correct windows in {policy.file}",
    )


def _finding(
    pool: PoolPlan, rule: str, message: str, at: Position, *, allow: str, measured: int | None = None
) -> Finding:
    return Finding(
        rule=rule,
        message=message,
        pool=pool.label,
        measured=measured,
        limit=None if measured is None else 0,
        source=str(at),
        allow=allow,
    )


_POOL_CHECKS: tuple[tuple[str, str, Callable[[PoolPlan, Policy], Iterator[Finding]]], ...] = (
    ("policy-protect", "the policy protects none of the disks that would go", _protected),
    ("policy-forbid", "the entry has no permission that the policy forbids", _forbidden),
    ("policy-require", "the policy demands nothing before it that cannot be fulfilled", _required),
)
"""Each rule, what is said where it has nothing against the pool, and the check."""


def _disks(number: int) -> str:
    return f"{number} disk{'s'[: number != 1]}"
