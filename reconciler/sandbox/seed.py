"""Owns the worlds a sandbox starts with: the small default one, and made-up ones of any size.

How they evolve is left to ``world``.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from .world import FORMAT, Account, Behaviour, Desktop, Disk, Pool, World, copy_of, derived_id

REGION: Final = "ap-southeast-3"
PROJECT_ID: Final = "0123456789abcdef0123456789abcdef"
ACCESS_KEY: Final = "SANDBOXACCESSKEY0001"
SECRET_KEY: Final = "sandbox-secret-key-not-a-secret-0001"  # noqa: S105 - opens nothing but the simulation
TOKEN: Final = "sandbox-token"  # noqa: S105 - the same
USER: Final = "sandbox"
PASSWORD: Final = "sandbox-password"  # noqa: S105 - the same
DOMAIN: Final = "sandbox"
DEFAULT_WORLD: Final = "demo"
"""Name of the default world."""

_FIRST_DAY: Final = 1_772_438_400.0  # 2026-03-02T08:00:00Z
_DAY: Final = 86_400.0

_GIVEN: Final = ("aisha", "bao", "carlos", "devi", "emeka", "farah", "goran", "hana", "ivan", "jun", "kofi")
_FAMILY: Final = ("adeyemi", "chen", "diaz", "eriksen", "fofana", "gupta", "haddad", "ito")


@dataclass(frozen=True, slots=True)
class Sketch:
    """A pool in a few words."""

    name: str
    disks: Sequence[tuple[str, int]]
    """Type and GB of each."""
    desktops: int
    users: int
    """So many desktops, the first ones, are bound to one user each."""
    connected: int = 0
    """So many of those are in a session now."""
    charging_mode: str = "1"
    status: str = "STEADY"
    behaviour: Behaviour = field(default_factory=Behaviour)


# The examples in manifests/ declare these pools; a plan of them removes the last disk of the first two.
_POOLS: Final = (
    Sketch("finance-analysts", [("SSD", 100), ("SAS", 50), ("SAS", 200)], desktops=12, users=11),
    Sketch("design-studio", [("SSD", 200), ("SSD", 100), ("SATA", 500)], desktops=8, users=8),
    Sketch("call-centre", [("SAS", 20)], desktops=25, users=22, behaviour={"ended": "COMPLETE"}),
    Sketch("contractors", [("SAS", 40), ("SSD", 60)], desktops=5, users=3, connected=1),
    Sketch("kiosk-lobby", [("SAS", 10)], desktops=2, users=0, charging_mode="0"),
    Sketch("lab-frozen", [("SSD", 100), ("SAS", 100)], desktops=4, users=2, status="EXIST_FROZEN"),
)


def default_world() -> World:
    """A fresh copy of the default world: six pools whose ids are always the same."""
    return sketched_world(DEFAULT_WORLD, _POOLS)


def sketched_world(name: str, sketches: Sequence[Sketch]) -> World:
    """A world of the built-in project and credentials with these pools, in this order."""
    world = empty_world(name)
    for number, sketch in enumerate(sketches):
        add_pool(world, sketched_pool(name, number, sketch))
    return world


def empty_world(name: str, seed: int = 0) -> World:
    """A world with the built-in project and credentials and nothing in it."""
    return {
        "format": FORMAT,
        "name": name,
        "seed": seed,
        "serial": 0,
        "accounts": [default_account()],
        "projects": {PROJECT_ID: {"id": PROJECT_ID, "region": REGION, "pools": {}}},
        "jobs": {},
        "running": [],
        "record": [],
    }


def default_account() -> Account:
    """The built-in credentials, which may do everything in the built-in project."""
    return {
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "security_token": "",
        "token": TOKEN,
        "user": USER,
        "password": PASSWORD,
        "domain": DOMAIN,
        "projects": [PROJECT_ID],
        "denied": [],
    }


def add_pool(world: World, pool: Pool, project_id: str = PROJECT_ID) -> None:
    """Put a pool into a project of the world."""
    world["projects"][project_id]["pools"][pool["id"]] = pool


def sketched_pool(world_name: str, number: int, sketch: Sketch) -> Pool:
    """The pool of a sketch; all its ids follow from the name of the world and the pool's number."""
    created = _FIRST_DAY + number * _DAY
    pool_id = derived_id(world_name, "pool", number)
    disks: list[Disk] = [
        {"id": derived_id(pool_id, "disk", index), "type": volume_type, "size": size}
        for index, (volume_type, size) in enumerate(sketch.disks)
    ]
    desktops: list[Desktop] = []
    for index in range(sketch.desktops):
        user = f"{_GIVEN[index % len(_GIVEN)]}.{_FAMILY[(number + index) % len(_FAMILY)]}"
        desktops.append(
            {
                "id": derived_id(pool_id, "desktop", index),
                "name": f"{sketch.name[:11]}-{index + 1:03d}",
                "users": [user] if index < sketch.users else [],
                "login_status": "CONNECTED" if index < sketch.connected else "REGISTERED",
                "status": "ACTIVE",
                # One disk a week, so that the order of creation shows.
                "copies": [copy_of(disk, created + 7 * _DAY * age) for age, disk in enumerate(disks)],
            }
        )
    return {
        "id": pool_id,
        "name": sketch.name,
        "created": created,
        "charging_mode": sketch.charging_mode,
        "status": sketch.status,
        "disks": disks,
        "desktops": desktops,
        "behaviour": sketch.behaviour.copy(),
        "revision": 0,
    }


def make_world(pools: int = 1000, disks: int = 4, desktops: int = 2, seed: int = 0) -> World:
    """A world of ``pools`` pools named ``pool-00000`` and on, with ``disks`` disks and ``desktops`` desktops each.

    Types and sizes are drawn from ``seed``; the first desktop of each pool has a user. Fit for benchmarks:
    ten thousand pools are made in about a second.
    """
    draw = random.Random(seed)
    world = empty_world(f"made-{seed}", seed)
    for number in range(pools):
        name = f"pool-{number:05d}"
        made: list[Disk] = [
            {"id": _drawn_id(draw), "type": draw.choice(("SAS", "SSD")), "size": draw.randrange(10, 210, 10)}
            for _ in range(disks)
        ]
        machines: list[Desktop] = [
            {
                "id": _drawn_id(draw),
                "name": f"{name}-{index:03d}",
                "users": [] if index else [f"user-{number:05d}"],
                "login_status": "REGISTERED",
                "status": "ACTIVE",
                "copies": [copy_of(disk, _FIRST_DAY + age * _DAY) for age, disk in enumerate(made)],
            }
            for index in range(desktops)
        ]
        pool: Pool = {
            "id": _drawn_id(draw),
            "name": name,
            "created": _FIRST_DAY + number,
            "charging_mode": "1",
            "status": "STEADY",
            "disks": made,
            "desktops": machines,
            "behaviour": {},
            "revision": 0,
        }
        add_pool(world, pool)
    return world


def _drawn_id(draw: random.Random) -> str:
    text = f"{draw.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
