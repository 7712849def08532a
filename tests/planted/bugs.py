"""Twenty bugs that somebody could write, each with the text it replaces and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass

SIMULATION = "tests/simulation/test_simulation.py"
MATCH = "tests/test_match.py"
GUARD = "tests/test_guard.py"
PLAN = "tests/test_plan.py"
SECOND = "tests/test_second_check.py"
OUTCOME = "tests/api/test_outcome.py"
SANDBOX = "tests/api/test_against_sandbox.py"
JOURNAL = "tests/journal/test_fence.py"
JUDGE = "tests/apply/test_judge.py"
MAIN = "tests/flows/test_main_job.py"


@dataclass(frozen=True)
class Bug:
    """One planted bug."""

    name: str
    file: str
    right: str
    wrong: str
    noticed_by: str
    """Test files, separated by blanks."""


BUGS = (
    Bug(
        "a call whose answer was lost is taken as not sent, and so made again",
        "apply/operation.py",
        "        case OutcomeKind.NOT_SENT:\n",
        "        case OutcomeKind.NOT_SENT | OutcomeKind.UNKNOWN:\n",
        SIMULATION,
    ),
    Bug(
        "the job's word is taken for the deed",
        "apply/operation.py",
        "        if seen.complete:\n",
        "        if end is JobEnd.SUCCEEDED:\n",
        JUDGE,
    ),
    Bug(
        "an open operation is given up while its request can still arrive",
        "apply/resolve.py",
        "return intent.not_after is not None and ctx.clock.now() > intent.not_after",
        "return True",
        SIMULATION,
    ),
    Bug(
        "operations of earlier runs are not looked at",
        "engine.py",
        "        for operation in ctx.journal.unresolved(str(target), connection.service.name):\n",
        "        for operation in ():\n",
        SIMULATION,
    ),
    Bug(
        "the plan is not compared with what was approved",
        "apply/pools.py",
        "    if not same:\n",
        "    if False:\n",
        JUDGE,
    ),
    Bug(
        "blocked pools are carried out",
        "apply/run.py",
        "going = [pool for pool in plan.pools if pool.pending and not pool.blocked]",
        "going = [pool for pool in plan.pools if pool.pending]",
        SIMULATION,
    ),
    Bug(
        "a disk of the same size does not count as fitting",
        "match.py",
        "    if disk.size > entry.size:\n        return None\n",
        "    if disk.size >= entry.size:\n        return None\n",
        MATCH,
    ),
    Bug(
        "the larger of two disks goes",
        "match.py",
        "(int(guarded), 1, size, 0, 0, 0)",
        "(int(guarded), 1, -size + 100_000, 0, 0, 0)",
        MATCH,
    ),
    Bug(
        "a limit may be passed by one", "guard.py", "number > limit.value", "number > limit.value + 1", GUARD
    ),
    Bug(
        "blocked pools count against the limits",
        "guard.py",
        "totals([pool for pool in pools if not pool.blocked])",
        "totals(pools)",
        GUARD,
    ),
    Bug(
        "connected users are not looked at",
        "guard.py",
        "    if connected and not pool.desired.allow_live_sessions:\n",
        "    if connected > 1 and not pool.desired.allow_live_sessions:\n",
        GUARD,
    ),
    Bug(
        "protected disks may go",
        "guard.py",
        "hit = [disk.id for disk in pool.removed if disk.id in pool.desired.protect]",
        "hit = [disk.id for disk in pool.removed if disk.id == pool.desired.protect]",
        GUARD,
    ),
    Bug(
        "an approval for one service fits another",
        "plan.py",
        '"service": each.name}',
        '"service": ""}',
        PLAN,
    ),
    Bug(
        "idle desktops are thought to be known",
        "plan.py",
        "upper_bound=pool.desired.apply_to in (None, ApplyTo.IDLE)",
        "upper_bound=pool.desired.apply_to is None",
        PLAN,
    ),
    Bug(
        "the second check lets pinned disks go",
        "apply/second_check.py",
        "        if pin.id in going:\n",
        "        if pin.id == going:\n",
        SECOND,
    ),
    Bug(
        "a server error is taken for a refusal",
        "api/outcome.py",
        "    if 400 <= status < 500 and",
        "    if 400 <= status < 600 and",
        OUTCOME,
    ),
    Bug(
        "a success without a job is taken for acceptance",
        "api/outcome.py",
        'OutcomeKind.UNKNOWN, f"a success',
        'OutcomeKind.ACCEPTED, f"a success',
        OUTCOME,
    ),
    Bug(
        "a doubtful reading is good enough",
        "guard.py",
        "    doubts = pool.live.doubts if pool.live else ()\n",
        "    doubts: tuple[str, ...] = ()\n",
        GUARD,
    ),
    Bug(
        "desktops are read ten at a time, as the service does when it is not asked otherwise",
        "api/client.py",
        'query: dict[str, Any] = {"limit": DESKTOPS_LIMIT, "offset": offset}',
        'query: dict[str, Any] = {"offset": offset}',
        SANDBOX,
    ),
    Bug(
        "a hold is taken over while its owner lives",
        "journal/fence.py",
        '(operations.c.lease_until <= bindparam("now"))',
        '(operations.c.lease_until >= bindparam("now"))',
        JOURNAL,
    ),
    Bug(
        "an old reading is good enough for an intent",
        "journal/fence.py",
        'pools.c.generation == bindparam("expected")',
        'pools.c.generation >= bindparam("expected")',
        JOURNAL,
    ),
    Bug(
        "an approved digest is not compared",
        "cli/applying.py",
        "digest is not None and plan.digest != digest",
        "digest is not None and not plan.digest",
        MAIN,
    ),
)
