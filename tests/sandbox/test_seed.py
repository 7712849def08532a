"""Worlds: the default one is what the example manifests expect, and always the same."""

from __future__ import annotations

from reconciler import sandbox
from tests.sandbox.asking import Asked


def test_the_default_world_is_always_the_same() -> None:
    assert sandbox.default_world() == sandbox.default_world()


def test_the_default_world_is_what_the_examples_speak_of() -> None:
    asked = Asked()
    pools = asked.world["projects"][sandbox.PROJECT_ID]["pools"].values()
    live = {
        pool["name"]: ([(disk["type"], disk["size"]) for disk in pool["disks"]], len(pool["desktops"]))
        for pool in pools
    }
    assert live["finance-analysts"] == ([("SSD", 100), ("SAS", 50), ("SAS", 200)], 12)
    assert live["design-studio"] == ([("SSD", 200), ("SSD", 100), ("SATA", 500)], 8)
    assert live["call-centre"] == ([("SAS", 20)], 25)
    assert live["contractors"] == ([("SAS", 40), ("SSD", 60)], 5)
    assert asked.pool("kiosk-lobby")["charging_mode"] == "0"
    assert asked.pool("lab-frozen")["status"] == "EXIST_FROZEN"


def test_a_made_world_has_as_many_of_everything_as_asked_for_and_no_id_twice() -> None:
    world = sandbox.make_world(pools=30, disks=3, desktops=2)
    pools = list(world["projects"][sandbox.PROJECT_ID]["pools"].values())
    ids = [pool["id"] for pool in pools]
    ids += [each["id"] for pool in pools for each in (*pool["disks"], *pool["desktops"])]
    assert len(ids) == len(set(ids)) == 30 * (1 + 3 + 2)
    assert all(len(desktop["copies"]) == 3 for pool in pools for desktop in pool["desktops"])
