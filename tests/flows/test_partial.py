"""A job that did only a part: which desktops are done and which are left, everywhere and for as long as it is so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.sandbox import seed
from reconciler.sandbox.world import Behaviour
from tests.flows.conftest import Run, manifest
from tests.flows.serving import Served, serving

DECLARED = "{name: p, apply_to: all, disks: [{type: SAS, size: 50}]}"


@contextmanager
def in_part(behaviour: Behaviour | None = None, users: int = 2) -> Iterator[Served]:
    """A pool of four desktops with one surplus disk, of which two desktops keep their copy."""
    pool = seed.pool("p", [("SAS", 50), ("SSD", 100)], 4, users)
    pool["behaviour"] = {"delete": "partial", "failing": 2} if behaviour is None else behaviour
    with serving(seed.world("partial", [pool])) as served:
        yield served


def names(served: Served) -> list[str]:
    return [each["name"] for each in served.pool("p")["desktops"]]


def test_a_partial_job_names_the_desktops_and_counts_the_copies_on_the_screen_in_json_and_in_history(
    run: Run, tmp_path: Path
) -> None:
    with in_part() as served:
        ran = run("apply", "--auto-approve", str(manifest(tmp_path, [DECLARED])), env=served.env)
        one, two, three, four = names(served)
    words = f"2 of 4 copies gone, on {one}, {two}; left on {three}, {four}"
    assert (ran.code, words in ran.out) == (6, True), ran.out
    listed = json.loads(run("history", "--format", "json").out)["runs"]
    shown = run("history", "show", listed[0]["id"])
    assert words in shown.out
    assert f"desktop   left on {four}" in shown.out
    kept = json.loads(run("history", "show", listed[0]["id"], "--format", "json").out)
    [event] = [each for each in kept["events"] if each["kind"] == "operation.desktops"]
    assert [each["desktop_name"] for each in event["detail"]["left"]] == [three, four]


def test_apply_says_the_desktops_in_its_json(run: Run, tmp_path: Path) -> None:
    with in_part() as served:
        path = str(manifest(tmp_path, [DECLARED]))
        ran = run("apply", "--auto-approve", "--format", "json", path, env=served.env)
        one, two, three, four = names(served)
    [result] = json.loads(ran.out)["results"]
    found = result["desktops"]
    assert (found["copies"], found["copies_gone"], found["unreported"]) == (4, 2, [])
    assert [each["desktop_name"] for each in found["done"]] == [one, two]
    assert [each["desktop_name"] for each in found["left"]] == [three, four]


def test_resolve_says_the_desktops_of_a_job_that_another_run_began(run: Run, tmp_path: Path) -> None:
    with in_part() as served:
        path = str(manifest(tmp_path, [DECLARED]))
        run("apply", "--auto-approve", "--no-wait", path, env=served.env)
        ran = run("resolve", "--format", "json", env=served.env)
    [found] = json.loads(ran.out)["operations"]
    assert (ran.code, found["ending"], found["desktops"]["copies_gone"]) == (6, "partial", 2), ran.err
    listed = json.loads(run("history", "--format", "json").out)["runs"]
    assert "desktop   left on" in run("history", "show", listed[-1]["id"]).out


def test_no_form_of_a_partial_job_names_anybody_where_that_is_asked(run: Run, tmp_path: Path) -> None:
    path = str(manifest(tmp_path, [DECLARED]))
    with in_part() as served:
        ran = [run("apply", "--auto-approve", "--anonymise", path, env=served.env)]
        [first] = json.loads(run("history", "--format", "json").out)["runs"]
        for each in (
            ("plan",),
            ("plan", "--format", "json"),
            ("explain", "p"),
            ("drift", "--format", "json"),
        ):
            ran.append(run(*each, path, "--anonymise", env=served.env))
        people = {user for each in served.pool("p")["desktops"] for user in each["users"]}
        found = [*names(served), *people]
    ran += [run("history", "show", first["id"], "--anonymise")]
    ran += [run("history", "show", first["id"], "--anonymise", "--format", "json")]
    ran += [run("history", "--anonymise", "--format", "jsonl")]
    assert [(name, each.out) for name in found for each in ran if name in each.out + each.err] == []
    assert "2 of 4 copies gone, on " in ran[0].out
    assert ", of 1 user\n" in ran[5].out
    assert found[0] in run("history", "show", first["id"]).out


def test_history_names_nobody_of_a_run_that_did(run: Run, tmp_path: Path) -> None:
    with in_part() as served:
        run("apply", "--auto-approve", str(manifest(tmp_path, [DECLARED])), env=served.env)
        people = {user for each in served.pool("p")["desktops"] for user in each["users"]}
        found = [*names(served), *people]
    [first] = json.loads(run("history", "--format", "json").out)["runs"]
    ran = run("history", "show", first["id"], "--anonymise")
    assert [name for name in found if name in ran.out] == []
    assert "2 of 4 copies gone, on " in ran.out
    assert all(name in run("history", "show", first["id"]).out for name in found)


def left_in_part(run: Run, served: Served, folder: Path) -> str:
    """The path of a manifest whose apply has left two copies."""
    path = str(manifest(folder, [DECLARED]))
    assert run("apply", "--auto-approve", path, env=served.env).code == 6
    return path


def test_plan_shows_what_a_partial_job_left_until_it_is_gone(run: Run, tmp_path: Path) -> None:
    with in_part() as served:
        path = left_in_part(run, served, tmp_path)
        ran = run("plan", "--detailed-exitcode", path, env=served.env)
        assert (ran.code, "2 copies are left on 2 desktops" in ran.out) == (2, True), ran.out
        assert "No changes. Your infrastructure matches" not in ran.out
        assert all(f"      {name}: a copy of disk" in ran.out for name in names(served)[2:])
        document = json.loads(run("plan", "--format", "json", path, env=served.env).out)
        [left] = document["leftovers"]
        assert [each["desktop_name"] for each in left["copies"]] == names(served)[2:]
        assert f"reconciler retry {left['operation']}" in ran.out
        assert "2 copies are left" in run("plan", "--format", "markdown", path, env=served.env).out
        assert "2 copies left" in run("explain", "p", path, env=served.env).out

        clean(served)
        ran = run("plan", "--detailed-exitcode", path, env=served.env)
        assert (ran.code, "No changes. Your infrastructure matches" in ran.out) == (0, True), ran.out


def clean(served: Served) -> None:
    """Somebody deletes by hand the copies of disks that the pool no longer has."""
    with served.store.changing(served.now()) as world:
        for pool in world["projects"][seed.PROJECT_ID]["pools"].values():
            known = {disk["id"] for disk in pool["disks"]}
            for desktop in pool["desktops"]:
                desktop["copies"] = [copy for copy in desktop["copies"] if copy["disk"] in known]
            pool["revision"] += 1


def test_drift_shows_what_a_partial_job_left_until_it_is_gone(run: Run, tmp_path: Path) -> None:
    with in_part() as served:
        path, gauges = left_in_part(run, served, tmp_path), tmp_path / "drift.prom"
        ran = run("drift", path, "--prometheus", str(gauges), env=served.env)
        assert (ran.code, "2 copies left by partial removals" in ran.out) == (2, True), ran.out
        assert 'leftover_copies{pool="p"' in gauges.read_text(encoding="utf-8")
        document = json.loads(run("drift", "--format", "json", path, env=served.env).out)
        assert document["summary"]["leftover_copies"] == document["pools"][0]["leftover_copies"] == 2
        assert document["leftovers"][0]["unread"] is None
        clean(served)
        ran = run("drift", path, env=served.env)
        assert (ran.code, "all as declared" in ran.out) == (0, True), ran.out


def test_a_reading_that_hides_desktops_never_makes_leftovers_disappear(run: Run, tmp_path: Path) -> None:
    with in_part() as served:
        path = left_in_part(run, served, tmp_path)
        with served.store.changing(served.now()) as world:
            [pool] = world["projects"][seed.PROJECT_ID]["pools"].values()
            pool["behaviour"] = {"desktops": "hidden"}
        planned, drifted = (run(each, path, env=served.env) for each in ("plan", "drift"))
        assert "It could not be read whether copies are left" in planned.out
        assert "0 desktops were read, and the pool counts 4" in planned.out
        assert (drifted.code, "not everything could be decided" in drifted.out) == (3, True), drifted.out


def test_a_pool_that_no_manifest_names_any_more_is_noted_by_plan_and_drift(run: Run, tmp_path: Path) -> None:
    with serving(
        seed.world("left", [seed.pool(name, [("SAS", 50), ("SSD", 100)], 2, 1) for name in "pq"])
    ) as served:
        assert run("apply", "--auto-approve", str(manifest(tmp_path, [DECLARED])), env=served.env).code == 0
        path = str(
            manifest(
                tmp_path, [DECLARED.replace("name: p", "name: q").replace("[{", "[{type: SSD, size: 100}, {")]
            )
        )
        planned, drifted = (run(each, path, env=served.env) for each in ("plan", "drift"))
        for ran in (planned, drifted):
            assert (ran.code, ran.out.count("no-longer-managed")) == (0, 1), ran.out
            assert "(no longer managed): p (" in ran.out


def test_nothing_names_anybody_where_a_partial_job_left_copies_and_others_can_read(
    run: Run, tmp_path: Path
) -> None:
    with in_part(users=4) as served:
        path, summary = str(manifest(tmp_path, [DECLARED])), tmp_path / "summary.md"
        with served.store.changing(served.now()) as world:
            [pool] = world["projects"][seed.PROJECT_ID]["pools"].values()
            people = sorted({user for desktop in pool["desktops"] for user in desktop["users"]})
        env = served.env | {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
        ran = [run("apply", "--auto-approve", "--anonymise", path, env=env)]
        assert ran[0].code == 6
        for command in (["plan"], ["drift"], ["explain", "p"]):
            for form in ("text", "json"):
                ran.append(run(*command, path, "--anonymise", "--format", form, env=env))
        texts = [each.out + each.err for each in ran] + [summary.read_text(encoding="utf-8")]
    assert people
    for name in (*people, *names(served)):
        assert [text for text in texts if name in text] == [], name
    assert all("left" in text for text in texts[:-1])
