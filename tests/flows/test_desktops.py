"""``plan --desktops``: what desktops have beside or below their pool is shown, and never touched."""

from __future__ import annotations

import json
from pathlib import Path

from reconciler.sandbox import seed
from reconciler.sandbox.world import World
from tests.flows.conftest import Run, manifest
from tests.flows.serving import serving

ONE_SSD = "{name: p, apply_to: new, disks: [{type: SSD, size: 100}]}"


def two_pools() -> World:
    return seed.world(
        "desktops",
        [seed.pool("p", [("SAS", 50), ("SSD", 100)], 3, 2), seed.pool("other", [("SAS", 50)], 2, 1)],
    )


def test_copies_left_behind_by_apply_to_new_are_shown_and_left_alone(run: Run, tmp_path: Path) -> None:
    with serving(two_pools()) as served:
        gone = served.pool("p")["disks"][0]["id"]
        path = manifest(tmp_path, [ONE_SSD])
        before = run("plan", str(path), "--desktops", env=served.env)
        assert "Every desktop of 1 pool has the disks of its pool." in before.out
        assert run("apply", str(path), "--auto-approve", env=served.env).code == 0

        shown = run("plan", str(path), "--desktops", env=served.env)
        assert shown.code == 0
        assert "3 desktops in 1 pool differ from their pools; this is only reported" in shown.out
        assert "p: 3 desktops with a different number of disks, 3 with a different total size" in shown.out
        assert (
            shown.out.count(f"still has a copy of disk {gone} (SAS 50 GB), which is not a disk of the pool")
            == 3
        )
        assert "No changes to carry out. 1 pool checked." in shown.out
        assert run("plan", str(path), "--desktops", "--detailed-exitcode", env=served.env).code == 2
        assert run("plan", str(path), "--detailed-exitcode", env=served.env).code == 0
        assert (
            "3 desktops in 1 pool differ"
            in run("plan", str(path), "--desktops", "--format", "markdown", env=served.env).out
        )
        assert (
            "3 desktops in 1 pool differ"
            in run("plan", str(path), "--desktops", "--format", "html", env=served.env).out
        )

        again = run("apply", str(path), "--auto-approve", env=served.env)
        assert (again.code, len(served.posts())) == (0, 1)


def test_the_json_tells_what_each_desktop_has_too_much_too_little_and_of_another_size(
    run: Run, tmp_path: Path
) -> None:
    with serving(two_pools()) as served:
        pool = served.pool("p")
        sas, ssd = pool["disks"]
        pool["desktops"][0]["copies"].pop()
        pool["desktops"][1]["copies"][0]["size"] = 40
        stray = {"disk": "", "type": "SATA", "size": 30, "created": seed.BIRTH}
        pool["desktops"][2]["copies"].append(stray)  # type: ignore[arg-type]
        served.pool("other")["desktops"][0]["copies"].clear()  # not declared, so not asked
        path = manifest(tmp_path, ["{name: p, disks: [{type: SSD, size: 100}, {type: SAS, size: 50}]}"])

        told = json.loads(run("plan", str(path), "--desktops", "--format", "json", env=served.env).out)

        [found] = told["desktops"]
        assert (found["pool_name"], found["differ_in_number"], found["differ_in_size"]) == ("p", 2, 3)
        first, second, third = found["desktops"]
        assert first["missing"] == [{"id": ssd["id"], "type": "SSD", "size": 100}]
        assert first["users"] == pool["desktops"][0]["users"]
        [resized] = second["resized"]
        assert (resized["disk_id"], resized["size"], resized["pool_size"]) == (sas["id"], 40, 50)
        [left] = third["left_behind"]
        assert (left["disk_id"], left["type"], left["size"]) == (None, "SATA", 30)
        assert told["summary"] == {"add": 0, "change": 0, "destroy": 0}

        without = json.loads(run("plan", str(path), "--format", "json", env=served.env).out)
        assert without["desktops"] is None
        assert without["digest"] == told["digest"]


def test_a_saved_plan_keeps_what_was_seen(run: Run, tmp_path: Path) -> None:
    with serving(two_pools()) as served:
        served.pool("p")["desktops"][0]["copies"].pop()
        path, plan = manifest(tmp_path, [ONE_SSD]), tmp_path / "saved.plan"
        shown = run("plan", str(path), "--desktops", "--out", str(plan), env=served.env)
        assert "1 desktop in 1 pool differs from its pool" in shown.out
        assert run("show", str(plan)).out == shown.out
