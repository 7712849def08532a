"""The worlds a sandbox starts with: the small default one, and large generated ones.

``store`` keeps them, and ``world`` knows how they change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .backups import backed_up
from .world import FORMAT, Account, Desktop, Disk, Pool, World, copy_of, derived_id

REGION: Final = "ap-southeast-3"
PROJECT_ID: Final = "0123456789abcdef0123456789abcdef"
ACCESS_KEY: Final = "SANDBOXACCESSKEY0001"
SECRET_KEY: Final = "sandbox-secret-key-not-a-secret-0001"  # noqa: S105 - of a simulation
TOKEN: Final = "sandbox-token"  # noqa: S105 - of a simulation
AGENCY: Final = "sandbox-agency"
"""An agency of the domain ``sandbox``, which acts as the built-in account."""
BIRTH: Final = 1_760_000_000.0
"""Seconds since the epoch: when every pool of these worlds was made."""

_PEOPLE = (
    "amara", "bjorn", "chiara", "dmitri", "elif", "farah", "gustav", "hana", "imran", "jelena", "kofi", "lucia",
    "mateo", "nadia", "omar", "priya", "quentin", "rosa", "sven", "tomoko", "umar", "vera", "wei", "ximena", "yusuf",
)  # fmt: skip


def account(*projects: str) -> Account:
    """The built-in credentials: keys, a token, and a login."""
    return {
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "security_token": "",
        "token": TOKEN,
        "user": "sandbox",
        "password": "sandbox-password",
        "domain": "sandbox",
        "projects": list(projects),
        "denied": [],
        "agency": AGENCY,
    }


def pool(name: str, disks: Sequence[tuple[str, int]], desktops: int, users: int, pool_id: str = "") -> Pool:
    """A pay-per-use pool in which the first ``users`` of ``desktops`` desktops are bound to somebody."""
    made: list[Disk] = [
        {"id": derived_id("disk", name, pool_id, index), "type": kind, "size": size}
        for index, (kind, size) in enumerate(disks)
    ]
    return {
        "id": pool_id or derived_id("pool", name),
        "name": name,
        "created": BIRTH,
        "charging_mode": "1",
        "status": "STEADY",
        "disks": made,
        "desktops": [_desktop(name, pool_id, number, users, made) for number in range(desktops)],
        "behaviour": {},
        "revision": 0,
    }


def world(name: str, pools: Sequence[Pool]) -> World:
    """A world with one project that holds these pools."""
    return {
        "format": FORMAT,
        "name": name,
        "seed": 0,
        "serial": 0,
        "accounts": [account(PROJECT_ID)],
        "projects": {
            PROJECT_ID: {"id": PROJECT_ID, "region": REGION, "pools": {each["id"]: each for each in pools}}
        },
        "jobs": {},
        "running": [],
        "record": [],
    }


def default_world() -> World:
    """Six pools: two with surplus disks, two as the example manifests declare them, two that nobody may change.

    The desktops of one have a backup, but for the last.
    """
    contractors = pool("contractors", [("SAS", 40), ("SSD", 60)], 5, 4)
    contractors["desktops"][0]["login_status"] = "CONNECTED"
    kiosk = pool("kiosk-lobby", [("SAS", 20), ("SAS", 30)], 2, 0)
    kiosk["charging_mode"] = "0"
    frozen = pool("lab-frozen", [("SSD", 100), ("SSD", 200)], 3, 1)
    frozen["status"] = "EXIST_FROZEN"
    finance = pool("finance-analysts", [("SSD", 100), ("SAS", 50), ("SAS", 200)], 12, 11)
    made = world(
        "default",
        [
            finance,
            pool("design-studio", [("SSD", 200), ("SSD", 100), ("SATA", 500)], 8, 8),
            pool("call-centre", [("SAS", 20)], 25, 20),
            contractors,
            kiosk,
            frozen,
        ],
    )
    # Of the last desktop there is none, so that a demanded backup can be seen to be missing.
    last = finance["desktops"][-1]["name"]
    made["projects"][PROJECT_ID]["backups"] = backed_up(finance, age=10 * 3600, without=[last])
    return made


def make_world(
    pools: int = 1000, disks: int = 4, desktops: int = 2, surplus: int = 0, name: str = "generated"
) -> World:
    """A large world: ``surplus`` of its pools have one SATA disk of 500 GB more than the others."""
    sizes = [("SAS" if index % 2 else "SSD", 50 + 10 * index) for index in range(disks)]
    extra = [("SATA", 500)]
    return world(
        name,
        [
            pool(f"pool-{number:05}", sizes + extra * (number < surplus), desktops, desktops // 2)
            for number in range(pools)
        ],
    )


def _desktop(name: str, pool_id: str, number: int, users: int, disks: Sequence[Disk]) -> Desktop:
    return {
        "id": derived_id("desktop", name, pool_id, number),
        "name": f"{name[:8]}-{number + 1:03}",
        "users": [_PEOPLE[number % len(_PEOPLE)]] if number < users else [],
        "login_status": "DISCONNECTED" if number < users else "REGISTERED",
        "status": "ACTIVE",
        "copies": [copy_of(disk, BIRTH) for disk in disks],
    }
