"""``explain POOL``: every disk of both sides, the rule that matched them, and every guard with its numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from reconciler.sandbox import seed
from reconciler.sandbox.world import World
from tests.flows.conftest import Run, manifest
from tests.flows.serving import serving

GUARDS = {
    "doubtful-reading", "pool-state", "prepaid", "empties-pool", "protected", "live-session",
    "limit-disks", "limit-copies", "limit-pools", "limit-gigabytes", "limit-users",
    "limit-share-of-pool", "limit-share-of-run",
}  # fmt: skip
LIVE = [("SSD", 100), ("SAS", 50), ("SATA", 500), ("SAS", 70), ("SAS", 70)]
DISKS = "{type: SSD, size: 200}, {id: PIN, type: SAS, size: 50}, {type: SAS, size: 70}, {type: SAS, size: 70}"


def world() -> World:
    pool = seed.pool("p", LIVE, 3, 2)
    pool["desktops"][0]["login_status"] = "CONNECTED"
    return seed.world("explain", [pool, seed.pool("other", [("SAS", 50)], 1, 1)])


def test_every_disk_and_every_guard_is_told_with_its_number_limit_and_source(
    run: Run, tmp_path: Path
) -> None:
    with serving(world()) as served:
        disks = served.pool("p")["disks"]
        entries = DISKS.replace("PIN", disks[1]["id"])
        path = manifest(tmp_path, [f"{{name: p, disks: [{entries}]}}"], "limits: {copies: 2, users: 9}")

        told: Any
        [told] = json.loads(run("explain", "p", str(path), "--format", "json", env=served.env).out)["pools"]
        matched = {each["live"].split()[0]: (each["action"], each["rule"]) for each in told["disks"]}
        ids = [disk["id"] for disk in disks]
        assert matched == {
            ids[0]: ("expand", "grown"),
            ids[1]: ("keep", "pinned"),
            ids[2]: ("remove", "surplus"),
            ids[3]: ("keep", "equal"),
            ids[4]: ("keep", "equal"),
        }
        assert sum(each["declared"] is not None for each in told["disks"]) == 4
        guards = {each["rule"]: each for each in told["guards"]}
        assert guards.keys() == GUARDS
        copies, session = guards["limit-copies"], guards["live-session"]
        # The pool is blocked by the session, and blocked pools do not count against the run's limits.
        assert (copies["measured"], copies["limit"], copies["source"]) == (0, 2, f"{path}:3:18")
        assert (session["severity"], session["measured"], session["limit"]) == ("block", 1, 0)
        assert session["source"] == f"{path}:5:5"
        assert (guards["limit-disks"]["limit"], guards["limit-disks"]["source"]) == (10, "default")
        assert guards["limit-users"]["limit"] == 9
        assert guards["limit-gigabytes"]["limit"] is None

        text = run("explain", "p", str(path), env=served.env)
        assert text.code == run("plan", str(path), env=served.env).code == 3
        for live in ids:
            assert live in text.out
        for rule in GUARDS:
            assert re.search(rf"^(ok|NO|  ?!) {rule} ", text.out, re.M), rule
        assert "(not managed)" in text.out
        assert "no declared disk needs it" in text.out
        assert "allow_live_sessions: true" in text.out
        assert "other" not in text.out
        assert served.world()["record"] == []


def test_a_limit_that_is_exceeded_tells_by_how_much(run: Run, tmp_path: Path) -> None:
    with serving(seed.world("explain", [seed.pool("p", [("SSD", 100), ("SAS", 50)], 3, 2)])) as served:
        path = manifest(tmp_path, ["{name: p, disks: [{type: SSD, size: 100}]}"], "limits: {copies: 2}")
        [told] = json.loads(run("explain", "p", str(path), "--format", "json", env=served.env).out)["pools"]
        copies = next(each for each in told["guards"] if each["rule"] == "limit-copies")
        assert (copies["severity"], copies["measured"], copies["limit"]) == ("block", 3, 2)
        assert "limits.copies: 3" in copies["allow"]


def test_a_tie_and_a_missing_disk_are_explained_too(run: Run, tmp_path: Path) -> None:
    with serving(seed.world("explain", [seed.pool("p", [("SAS", 50), ("SAS", 50)], 1, 1)])) as served:
        path = manifest(tmp_path, ["{name: p, disks: [{type: SAS, size: 50}, {type: SSD, size: 10}]}"])
        text = run("explain", "p", str(path), env=served.env).out
        assert text.count("undecided: 1 of 2 must be removed") == 2
        assert "add: declared, but the pool does not have it (not managed)" in text
        assert "NO tie" in text


def test_a_pool_is_found_by_id_and_an_undeclared_one_is_refused(run: Run, tmp_path: Path) -> None:
    with serving(world()) as served:
        path = manifest(tmp_path, ["{name: p, disks: [{type: SSD, size: 100}]}"])
        served.pool("p")["desktops"][0]["login_status"] = "DISCONNECT"
        assert run("explain", served.pool("p")["id"], str(path), env=served.env).code == 0
        refused = run("explain", "other", str(path), env=served.env)
        assert refused.code == 9
        assert "no manifest declares a pool 'other'" in refused.err


def test_each_pool_is_told_its_own_share_and_the_worst_one_where_that_stops_the_run(
    run: Run, tmp_path: Path
) -> None:
    disks = [("SAS", 50), ("SAS", 60), ("SSD", 40), ("SSD", 70)]
    pools = [seed.pool("big", disks, 1, 1), seed.pool("small", disks[:2], 1, 1)]
    big = "{type: SAS, size: 50}, {type: SAS, size: 60}, {type: SSD, size: 40}"
    declared = [f"{{name: big, disks: [{big}]}}", "{name: small, disks: [{type: SAS, size: 50}]}"]
    with serving(seed.world("explain", pools)) as served:
        for limit, shares in (("60%", [25]), ("40%", [25, 50])):
            path = str(manifest(tmp_path, declared, f"limits: {{share_of_pool: {limit}}}"))
            told = json.loads(run("explain", "big", path, "--format", "json", env=served.env).out)
            found = [each for each in told["pools"][0]["guards"] if each["rule"] == "limit-share-of-pool"]
            assert [each["measured"] for each in found] == shares
            assert found[0]["message"].startswith("1 of 4 disks of big (25 %)")
