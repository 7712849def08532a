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
def in_part(behaviour: Behaviour | None = None) -> Iterator[Served]:
    """A pool of four desktops with one surplus disk, of which two desktops keep their copy."""
    pool = seed.pool("p", [("SAS", 50), ("SSD", 100)], 4, 2)
    pool["behaviour"] = behaviour or {"delete": "partial", "failing": 2}
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
