"""Sample plans for tests, computed by the real matching and the real guards from the pools below."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from reconciler.model import (
    Action,
    ApplyTo,
    DesiredDisk,
    DesiredPool,
    Desktop,
    Disk,
    DriftPolicy,
    Limit,
    Limits,
    Policy,
    Pool,
    Position,
    Target,
    Whom,
    Window,
)
from reconciler.planning.draft import draft
from reconciler.planning.finding import Finding, Severity
from reconciler.planning.guards import judge
from reconciler.planning.manifest_changes import Direction, ManifestChange
from reconciler.planning.marks import DiskMark, Marks, with_grace
from reconciler.planning.plan import Plan, PoolPlan, Service, TargetFailure
from reconciler.values import replace
from tests.builders import TARGET, copies_of

OTHER = Target("eu-west-101", "fedcba9876543210fedcba9876543210")
MADE = datetime(2026, 3, 14, 9, 26, tzinfo=UTC)
FILE = "pools/finance.yaml"


WHOM = Whom("access key", "HUAWEICLOUD_SDK_AK", access_key="HWAK…7QZK")
"""As whom these plans were made."""


def disk(number: int, kind: str, size: int) -> Disk:
    """A live disk with a readable id."""
    return Disk(f"d{number:07d}-0000-4000-8000-000000000000", kind, size)


def wanted(kind: str, size: int, line: int = 9, *, replace: bool = False, pin: str = "") -> DesiredDisk:
    """A declared disk."""
    return DesiredDisk(kind, size, Position(FILE, line, 9), id=pin, replace=replace)


def desktops(disks: Sequence[Disk], users: Sequence[str], connected: int = 0) -> tuple[Desktop, ...]:
    """One desktop per user, each with a copy of every disk; the first ``connected`` have a session."""
    return tuple(
        Desktop(
            id=f"desktop-{index}",
            name=f"DESKTOP-{index}",
            users=(user,) if user else (),
            live_session=index < connected,
            copies=copies_of(disks, index),
        )
        for index, user in enumerate(users)
    )


def planned(
    declared: DesiredPool, disks: Sequence[Disk], users: Sequence[str] = (), connected: int = 0
) -> PoolPlan:
    """The plan of one pool whose live counterpart has these disks and one desktop per user."""
    live = Pool(
        id=f"id-of-{declared.label}", name=declared.name, disks=tuple(disks), desktop_count=len(users)
    )
    return draft(declared, live, desktops(disks, users, connected))


def whole(
    *pools: PoolPlan,
    limits: Limits | None = None,
    service: str = "workspace.example.com",
    findings: tuple[Finding, ...] = (),
    failures: tuple[TargetFailure, ...] = (),
) -> Plan:
    """A plan of these pools, judged."""
    given = limits or Limits()
    judged, found = judge(pools, given)
    return Plan(
        id="0198c0de-0000-7000-8000-000000000000",
        services=tuple(Service(each, service, WHOM) for each in sorted({pool.target for pool in pools})),
        pools=judged,
        limits=given,
        created=MADE,
        expires=MADE + timedelta(hours=1),
        tool_version="0.0.0",
        sources=((FILE, "ab" * 32),),
        findings=found + findings,
        failures=failures,
    )


def pool(name: str, *disks: DesiredDisk, line: int = 5, target: Target = TARGET) -> DesiredPool:
    """A declared pool that reaches every desktop."""
    return DesiredPool(target, Position(FILE, line, 5), disks, name=name, apply_to=ApplyTo.ALL)


def no_changes() -> Plan:
    """Two pools that are as declared."""
    return whole(
        planned(pool("call-centre", wanted("SAS", 20)), [disk(1, "SAS", 20)]),
        planned(pool("reception", wanted("SSD", 50)), [disk(2, "SSD", 50)]),
    )


def resize() -> Plan:
    """A disk that grows: expanded in place, and the pool manages it; another only shows it."""
    every = frozenset({Action.REMOVE, Action.EXPAND, Action.ADD})
    grows = pool("design-studio", wanted("SSD", 200), wanted("SAS", 50, 10))
    managed = DesiredPool(grows.target, grows.at, grows.disks, name=grows.name, manage=every)
    return whole(
        planned(managed, [disk(1, "SSD", 100), disk(2, "SAS", 50)]),
        planned(pool("research", wanted("SSD", 300, 14), line=12), [disk(3, "SSD", 100)]),
    )


def tie() -> Plan:
    """Two equal disks of which one must be removed."""
    return whole(_twins())


def _twins() -> PoolPlan:
    like = [disk(1, "SAS", 50), disk(2, "SAS", 50), disk(3, "SSD", 100)]
    declared = pool("finance-analysts", wanted("SSD", 100), wanted("SAS", 50, 10))
    return planned(declared, like, ["ann", "bob"])


def two_removals() -> Plan:
    """Two disks of one pool go, three people lose data; the service decides which desktops it reaches."""
    disks = [disk(1, "SSD", 100), disk(2, "SAS", 50), disk(3, "SAS", 200)]
    declared = DesiredPool(TARGET, Position(FILE, 5, 5), (wanted("SSD", 100),), name="finance-analysts")
    return whole(planned(declared, disks, ["ann", "bob", "chen"]))


def waiting() -> Plan:
    """Of four surplus disks one is due, one is marked, one extended, and one not marked yet."""
    disks = [disk(1, "SSD", 100), *(disk(number, "SAS", 10 * number) for number in range(2, 6))]
    declared = replace(pool("finance-analysts", wanted("SSD", 100)), grace=timedelta(days=7))
    keys = [(str(TARGET), "id-of-finance-analysts", each.id) for each in disks]
    marks = {
        keys[1]: DiskMark(MADE - timedelta(days=8)),
        keys[2]: DiskMark(MADE - timedelta(days=3)),
        keys[3]: DiskMark(MADE - timedelta(days=8), MADE + timedelta(days=2), "amara"),
    }
    live = Pool("id-of-finance-analysts", "finance-analysts", tuple(disks), desktop_count=2)
    settle = partial(with_grace, obeyed=None, marks=Marks(marks, MADE))
    return whole(draft(declared, live, desktops(disks, ["ann", "bob"]), settle))


def over_limit() -> Plan:
    """More copies and people than the limits allow, and somebody is connected."""
    disks = [disk(1, "SSD", 100), disk(2, "SAS", 50)]
    people = [f"user-{number:02d}" for number in range(30)]
    limits = Limits(
        copies=Limit(20, f"{FILE}:3:10"), users=Limit(25, "--limit-users"), gigabytes=Limit(5_000)
    )
    return whole(
        planned(pool("finance-analysts", wanted("SSD", 100)), disks, people),
        planned(pool("trading", wanted("SSD", 100, 14), line=12), disks, ["dora", "emil"], connected=1),
        limits=limits,
    )


def target_failed() -> Plan:
    """One of two targets cannot be read; the other is planned."""
    disks = [disk(1, "SSD", 100), disk(2, "SAS", 50)]
    failure = TargetFailure(
        OTHER,
        "the service answered 503 for 20 seconds (request id 4f1c)",
        "try again later; the other target is not affected",
    )
    return whole(
        planned(pool("finance-analysts", wanted("SSD", 100)), disks, ["ann"]),
        failures=(failure,),
    )


def sandbox() -> Plan:
    """A removal in the simulated service."""
    disks = [disk(1, "SSD", 100), disk(2, "SAS", 50)]
    return whole(
        planned(pool("finance-analysts", wanted("SSD", 100)), disks, ["ann"]), service="sandbox:default"
    )


def everything() -> Plan:
    """Each action once, a tie, a warning and several pools: the fullest console."""
    every = frozenset({Action.REMOVE, Action.EXPAND, Action.ADD})
    busy = pool(
        "design-studio", wanted("SSD", 200), wanted("GPSSD", 40, 10, replace=True), wanted("ESSD", 10, 11)
    )
    managed = DesiredPool(
        busy.target,
        busy.at,
        busy.disks,
        name=busy.name,
        manage=every,
        apply_to=ApplyTo.IDLE,
        allow_live_sessions=True,
    )
    disks = [disk(1, "SSD", 100), disk(2, "SAS", 50), disk(3, "SSD", 200), disk(4, "SAS", 300)]
    people = ["ann", "bob", "chen", "dora", "emil", "fay", "gus", "hana", "ivo", "jun", "kai", "lea"]
    warning = Finding(
        "clock-skew", "this machine's clock is 40 seconds ahead of the service's", Severity.WARN
    )
    return whole(
        planned(managed, disks, people, connected=2),
        _twins(),
        planned(
            pool("trading", wanted("SSD", 100, 34), line=30),
            [disk(7, "SSD", 100), disk(8, "SAS", 80)],
            ["mia", "noa"],
        ),
        findings=(warning,),
        limits=Limits(copies=Limit(40, f"{FILE}:3:10"), users=Limit(25, "--limit-users")),
    )


def many(number: int) -> Plan:
    """``number`` pools that each lose a disk."""
    disks = [disk(1, "SSD", 100), disk(2, "SAS", 50)]
    return whole(
        *(
            planned(pool(f"pool-{index:05d}", wanted("SSD", 100)), disks, ["ann", "bob"])
            for index in range(number)
        )
    )


def hostile(text: str) -> Plan:
    """``text`` in every place where a plan can hold foreign text."""
    place = Position(text, 3, 4)
    nasty = [Disk(text, "SAS", 50), Disk(f"{text}2", text, 60), Disk(f"{text}3", "SAS", 70)]
    twins = [Disk(f"{text}4", "SSD", 10), Disk(f"{text}5", "SSD", 10)]
    target = Target(text, text)
    declared = DesiredPool(
        target,
        place,
        (
            DesiredDisk("SSD", 10, place),
            DesiredDisk(text, 80, place),
            DesiredDisk("SAS", 70, place, kms_id=text),
        ),
        name=text,
        protect=(text,),
        apply_to=ApplyTo.ALL,
        manage=frozenset({Action.REMOVE, Action.EXPAND}),
    )
    plan = whole(
        planned(declared, nasty + twins, [text, f"{text}b"], connected=1),
        service=f"sandbox:{text}",
        limits=Limits(copies=Limit(1, text), disks=Limit(0, f"{text}:1:2")),
        findings=(
            Finding(text, text, Severity.BLOCK, text, 1, 2, text, text),
            Finding(text, text, Severity.WARN, text, 1, 2, f"{text}:1:1", text),
        ),
        failures=(TargetFailure(target, text, text),),
    )
    window = Window(("mon",), "01:00", "02:00", text, place)
    return replace(
        plan,
        policy=Policy(text, "0" * 64),
        drift_policies=(DriftPolicy(target, place, frozenset({Action.REMOVE}), 4, (window,)),),
        manifest_changes=(
            ManifestChange(text, Direction.WIDENS, text, target, text),
            ManifestChange(text, Direction.NEUTRAL, f"{text}:1:2"),
        ),
    )
