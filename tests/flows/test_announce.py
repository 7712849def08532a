"""Announcements through the whole command line: who is told of what, when, and how often; and what never stops."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from reconciler import sandbox
from reconciler.sandbox.store import Store
from tests.flows.conftest import Run, manifest
from tests.flows.rounds import watched
from tests.flows.serving import Served, listening, serving
from tests.flows.skipping import TIME
from tests.flows.test_partial import DECLARED, in_part

DAY = 86400.0
WEEK = 7 * DAY
TEXT = "Disk {disk} ({size}) of {pool} goes after {date}. Object now."
QUIET = "{name: finance-analysts, apply_to: all, grace: 7d, disks: [{type: SSD, size: 100}, {type: SAS, size: 50}]}"
FINANCE = QUIET.replace("disks:", f"announce: {{text: '{TEXT}'}}, disks:")
STUDIO = "{name: design-studio, grace: 1d, disks: [{type: SSD, size: 200}, {type: SSD, size: 100}]}"
ALWAYS = "[{days: [mon, tue, wed, thu, fri, sat, sun], start: '00:00', end: '23:59', timezone: UTC}]"


@pytest.fixture
def env(served: Served, tmp_path: Path) -> dict[str, str]:
    """A sandbox, and a journal that is kept."""
    return served.env | kept(tmp_path)


def kept(folder: Path) -> dict[str, str]:
    return {"RECONCILER_JOURNAL": f"sqlite:///{folder}/journal.db", "RECONCILER_ACTOR": "amara"}


def messages(served: Served) -> list[str]:
    """What the people of pools have been notified, as the service has it."""
    return [str(each["body"]["notifications"]) for each in asked(served) if each["status"] == 200]


def asked(served: Served) -> list[Any]:
    """Every request for a message that reached the service."""
    return [each for each in served.world()["record"] if each["path"].endswith("/notifications")]


def removals(served: Served) -> list[Any]:
    return [each for each in served.posts() if each["path"].endswith("/batch-delete")]


def surplus(served: Served) -> str:
    """The surplus disk of the finance pool."""
    return next(disk["id"] for disk in served.pool("finance-analysts")["disks"] if disk["size"] == 200)


def policy(folder: Path, announce: str) -> tuple[str, str]:
    path = folder / "policy.yaml"
    path.write_text(f"version: 1\nrequire: {{announce: {announce}}}\n", encoding="utf-8")
    return "--policy", str(path)


@contextmanager
def answering(answer: Callable[[Any], Response | None]) -> Iterator[Served]:
    """A sandbox in front of which something else answers requests for messages; None: the sandbox does."""
    store, offset = Store.memory(sandbox.default_world()), [0.0]
    app = sandbox.create_app(store, clock=lambda: TIME.time() + offset[0], job_seconds=0.3)

    async def door(scope: Any, receive: Any, send: Any) -> None:
        found = answer(scope) if scope.get("path", "").endswith("/notifications") else None
        if found is None:
            await app(scope, receive, send)
        else:
            await found(scope, receive, send)

    with listening(door) as url:
        yield Served(url, store, app, offset)


def test_a_disk_is_marked_announced_reminded_objected_to_extended_due_removed_and_proven(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path, disk = str(manifest(tmp_path, [FINANCE])), surplus(served)
    due = TIME.now() + timedelta(seconds=WEEK)
    first = run("apply", path, "--auto-approve", env=env)
    assert first.code == 0, first.err
    [told] = messages(served)
    assert told.startswith(f"Disk {disk} (200 GB) of finance-analysts goes after {due:%Y-%m-%d} ")
    assert told.endswith(" UTC. Object now.")
    assert "finance-analysts: the message about disk" in first.err
    assert f"announced {TIME.now():%Y-%m-%d}" in first.out

    for command in (("apply", path, "--auto-approve"), ("apply", path, "--mark"), ("drift", path)):
        run(*command, env=env)
    TIME.skipped += 5 * DAY
    run("apply", path, "--auto-approve", env=env)
    assert len(messages(served)) == 1  # whoever runs again tells nobody again

    TIME.skipped += 1.5 * DAY
    run("apply", path, "--auto-approve", env=env)
    run("apply", path, "--auto-approve", env=env)
    assert messages(served) == [told, told]  # the reminder, once

    until = TIME.now() + timedelta(days=4)
    name = f"finance-analysts/{disk}"
    assert run("marks", "extend", name, "--until", f"{until:%Y-%m-%d}", env=env).code == 0
    TIME.skipped += DAY
    assert run("apply", path, "--auto-approve", env=env).code == 0
    assert len(messages(served)) == 2  # not yet within a day of the new date
    TIME.skipped += 2 * DAY
    run("apply", path, "--auto-approve", env=env)
    run("apply", path, "--auto-approve", env=env)
    *_, moved = messages(served)
    assert len(messages(served)) == 3
    assert f"goes after {until:%Y-%m-%d} 00:00 UTC" in moved
    listed = run("marks", env=env).out
    assert listed.count("accepted as job") == 3
    assert listed.count("reminder: sent") == 2
    assert removals(served) == []

    TIME.skipped += 2 * DAY
    done = run("apply", path, "--auto-approve", env=env)
    assert done.code == 0, done.err
    assert len(removals(served)) == 1
    assert len(messages(served)) == 3
    assert "announced " in done.out
    assert f"reminded {TIME.now() - timedelta(days=2):%Y-%m-%d}" in done.out
    assert "1 change proven; a new plan shows no changes." in done.out
    assert json.loads(run("marks", "--format", "json", env=env).out)["marks"] == []


def test_without_announce_nobody_is_told_and_no_plan_ever_tells_anybody(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    quiet, path = str(manifest(tmp_path, [QUIET], name="quiet.yaml")), str(manifest(tmp_path, [FINANCE]))
    run("apply", quiet, "--mark", env=env)
    for command in (("plan", path), ("drift", path), ("explain", "finance-analysts", path)):
        run(*command, env=env)
    assert "its people are not notified yet" in run("plan", path, env=env).out
    assert "not notified" not in run("plan", quiet, env=env).out
    assert asked(served) == []
    run("apply", path, "--mark", env=env)  # marked before there was a text
    assert len(messages(served)) == 1


def test_a_watch_that_corrects_tells_the_people_once(
    served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    drift = f"drift: {{correct: [remove], disks_per_day: 9, windows: {ALWAYS}}}"
    path = manifest(tmp_path, [FINANCE, STUDIO], drift)
    ran = watched(tmp_path, served, str(path), "--correct", rounds=4, env=env)
    assert len(messages(served)) == 1, ran.err
    plain = watched(tmp_path, served, str(path), rounds=1, env=env)
    assert len(messages(served)) == 1, plain.err


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("apply_to: all", "apply_to: all, manage: [add]"), ""),
        (("apply_to: all", "apply_to: all, protect: [DISK]"), "disk DISK is protected"),
        (("apply_to: all", "apply_to: all, manage: [remove]"), "was accepted, job"),
    ],
    ids=["not managed", "protected", "to be removed"],
)
def test_nobody_is_told_of_a_disk_that_stays(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str], change: tuple[str, str], why: str
) -> None:
    old, new = change
    path = manifest(tmp_path, [FINANCE.replace(old, new.replace("DISK", surplus(served)))])
    marked = run("apply", str(path), "--mark", env=env)
    assert "marked 1 disk" in marked.err
    assert why.replace("DISK", surplus(served)) in marked.err
    assert len(messages(served)) == ("accepted" in why)


def test_the_job_of_a_message_holds_no_expansion_of_its_pool_up(run: Run, tmp_path: Path) -> None:
    with serving(sandbox.default_world(), job_seconds=600.0) as served:
        env = served.env | kept(tmp_path)
        served.pool("finance-analysts")["behaviour"]["seconds"] = 0.1
        grows = FINANCE.replace("size: 100", "size: 120").replace("grace", "manage: [remove, expand], grace")
        path = str(manifest(tmp_path, [grows]))
        run("apply", path, "--mark", env=env)
        TIME.skipped += 120
        done = run("apply", path, "--auto-approve", env=env)
        assert done.code == 0, done.err
        assert [each["path"].rpartition("/")[2] for each in served.posts()] == [
            "notifications",
            "batch-expand",
        ]


def test_a_grace_of_less_than_two_days_is_announced_once(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path = str(manifest(tmp_path, [FINANCE.replace("7d", "47h")]))
    run("apply", path, "--mark", env=env)
    for _ in range(3):
        TIME.skipped += 15 * 3600
        run("apply", path, "--mark", env=env)
    assert len(messages(served)) == 1


def test_a_rejected_message_is_said_stops_nothing_and_is_sent_by_the_next_run(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path = str(
        manifest(tmp_path, [FINANCE, STUDIO.replace("disks:", f"announce: {{text: '{TEXT}'}}, disks:")])
    )
    account = served.world()["accounts"][0]
    account["denied"] = ["send-notifications"]
    first = run("apply", path, "--mark", env=env)
    assert first.code == 0
    assert "was not accepted: " in first.err
    assert "HTTP 403" in first.err
    assert "(the identity needs the permission workspace:desktopPools:sendNotifications)" in first.err
    assert "the next run that marks sends it again" in first.err
    assert len(asked(served)) == 1  # the second would be denied as well
    assert len(json.loads(run("marks", "--format", "json", env=env).out)["marks"]) == 2
    assert "not accepted: " in run("marks", env=env).out
    account["denied"] = []
    run("apply", path, "--mark", env=env)
    assert len(messages(served)) == 2
    run("apply", path, "--mark", env=env)
    assert len(asked(served)) == 3


@pytest.mark.parametrize(
    "answer",
    [
        Response("bad gateway", 502),
        JSONResponse({}),
        JSONResponse({"job_id": "job-1", "error_code": "WKS.1"}),
    ],
    ids=["no answer of the service", "no job", "an error with a job"],
)
def test_a_message_of_which_nobody_knows_whether_it_arrived_is_never_repeated(
    run: Run, tmp_path: Path, answer: Response
) -> None:
    received: list[Any] = []

    def lost(scope: Any) -> Response:
        received.append(scope["path"])
        return answer

    with answering(lost) as served:
        env = served.env | kept(tmp_path)
        path = str(manifest(tmp_path, [FINANCE]))
        first = run("apply", path, "--mark", env=env)
        assert first.code == 0
        assert "it is not known whether the message about disk" in first.err
        for _ in range(3):
            TIME.skipped += DAY
            planned = run("apply", path, "--mark", env=env)
        assert len(received) == 1
        assert "not known whether the announcement of" in planned.out
        TIME.skipped += 3.5 * DAY
        run("apply", path, "--mark", env=env)
        assert len(received) == 2  # the reminder is another message


def test_the_policy_lets_nothing_go_before_the_message_was_accepted(run: Run, tmp_path: Path) -> None:
    broken = [True]
    with answering(lambda _scope: Response("", 502) if broken[0] else None) as served:
        env, disk = served.env | kept(tmp_path), surplus(served)
        given = (str(manifest(tmp_path, [FINANCE])), *policy(tmp_path, "true"))
        run("apply", *given, "--auto-approve", env=env)
        broken[0] = False
        TIME.skipped += 8 * DAY
        refused = run("apply", *given, "--auto-approve", env=env)
        assert refused.code == 3
        assert removals(served) == []
        planned = run("plan", *given, env=env).out
        assert "policy-require" in planned
        assert f"of disk {disk} it is not known whether the message of" in planned
        assert "policy.yaml:2:" in planned
        clear = f"marks clear finance-analysts/{disk}"
        assert clear in " ".join(planned.split())

        assert run(*clear.split(), env=env).code == 0
        run("apply", *given, "--auto-approve", env=env)
        assert len(messages(served)) == 1
        assert removals(served) == []
        TIME.skipped += 8 * DAY
        done = run("apply", *given, "--auto-approve", env=env)
        assert done.code == 0, done.err
        assert len(removals(served)) == 1


def test_the_policy_names_what_the_entry_lacks_and_how_long_people_must_have_known(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path, quiet = str(manifest(tmp_path, [FINANCE])), str(manifest(tmp_path, [QUIET], name="quiet.yaml"))
    asks = policy(tmp_path, "24h")
    run("apply", quiet, "--mark", env=env)
    TIME.skipped += 8 * DAY
    assert "nobody is notified, as the entry has no announce" in run("plan", quiet, *asks, env=env).out
    assert "nobody was notified" in run("plan", path, *asks, env=env).out
    run("marks", "clear", f"finance-analysts/{surplus(served)}", env=env)
    run("apply", path, "--mark", env=env)
    TIME.skipped += 8 * DAY
    assert run("plan", path, *asks, env=env).code == 0
    longer = run("plan", path, *policy(tmp_path, "9d"), env=env)
    assert longer.code == 3
    assert "they have known for too short a time" in longer.out
    assert "wait for another 2" in longer.out
    assert run("apply", path, *policy(tmp_path, "9d"), "--auto-approve", env=env).code == 3
    assert removals(served) == []


def test_every_form_of_a_plan_and_the_history_show_who_was_told_what(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path = str(manifest(tmp_path, [FINANCE]))
    run("apply", path, "--mark", env=env)
    for form in ("text", "markdown", "html"):
        out = run("plan", path, "--format", form, env=env).out.replace("`", "")
        assert f"announced {TIME.now():%Y-%m-%d}" in out, form
    planned = json.loads(run("plan", path, "--format", "json", env=env).out)
    [change] = [each for each in planned["resource_changes"] if each["marked"]]
    [message] = change["announcements"]
    assert (message["notice"], message["heard"], message["why"]) == ("marked", "accepted", None)
    [mark] = json.loads(run("marks", "--format", "json", env=env).out)["marks"]
    [told] = mark["announcements"]
    assert told["text"] == messages(served)[0]
    assert (told["state"], bool(told["job_id"])) == ("accepted", True)
    runs = json.loads(run("history", "--format", "json", env=env).out)["runs"]
    shown = run("history", "show", runs[0]["id"], env=env).out
    assert messages(served)[0] in " ".join(shown.split())
    assert "accepted as job" in shown
    assert "announcement.begun" in shown
    assert "announcement.ended" in shown
    whole = json.loads(run("history", "show", runs[0]["id"], "--format", "json", env=env).out)
    assert [each["id"] for each in whole["announcements"]] == [told["id"]]


def test_a_pull_request_that_takes_the_message_away_widens_what_may_happen(
    run: Run, tmp_path: Path, env: dict[str, str]
) -> None:
    path, quiet = str(manifest(tmp_path, [FINANCE])), str(manifest(tmp_path, [QUIET], name="quiet.yaml"))
    other = str(manifest(tmp_path, [FINANCE.replace("Object now", "Object")], name="other.yaml"))
    changes = {}
    for before, after in ((path, quiet), (quiet, path), (path, other)):
        found = json.loads(run("plan", after, "--base", before, "--format", "json", env=env).out)
        [change] = [each for each in found["changed_by_base"] if "message" in each["what"]]
        changes[change["what"].split()[-1]] = change["direction"]
    assert changes == {"removed": "widens", "added": "narrows", "changed": "neutral"}


@pytest.mark.parametrize("told", [True, False])
def test_a_retry_goes_by_what_people_knew_before_the_removal_that_it_finishes(
    run: Run, tmp_path: Path, told: bool
) -> None:
    declared = DECLARED.replace("disks:", f"grace: 7d, announce: {{text: '{TEXT}'}}, disks:")
    quiet = DECLARED.replace("disks:", "grace: 7d, disks:")
    path = str(manifest(tmp_path, [declared if told else quiet]))
    with in_part() as served:
        run("apply", path, "--mark", env=served.env)
        TIME.skipped += 8 * DAY
        assert run("apply", path, "--auto-approve", env=served.env).code == 6
        demands = policy(tmp_path, "24h")
        document = json.loads(run("plan", "--format", "json", path, env=served.env).out)
        operation = str(document["leftovers"][0]["operation"])
        again = run("retry", operation, path, *demands, "--auto-approve", env=served.env)
        assert again.code == (0 if told else 3), again.err
        assert (
            "nobody was notified before the removal that this is to finish" in again.err + again.out
        ) != told
