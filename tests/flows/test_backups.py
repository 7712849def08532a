"""Backups through the whole command line: nothing goes without one, and what is left of it afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler import sandbox
from reconciler.sandbox.backups import backed_up
from reconciler.sandbox.world import Backup
from tests.flows.conftest import FINANCE, Run, manifest
from tests.flows.serving import Served, listening
from tests.flows.skipping import TIME

HOUR = 3600.0
DEMANDING = FINANCE.replace("apply_to: all", "apply_to: all, backup: {within: 24h}")


def backups(served: Served) -> list[Backup]:
    return served.world()["projects"][sandbox.PROJECT_ID]["backups"]


def back_up(served: Served, *, age: float = 10 * HOUR, named: bool = True) -> list[Backup]:
    """A backup of every desktop of the finance pool, instead of those that there were."""
    found = backups(served)
    found[:] = backed_up(served.pool("finance-analysts"), age=age, named=named)
    return found


def plan_of(run: Run, path: Path, env: dict[str, str], *more: str) -> Any:
    return json.loads(run("plan", str(path), "--format", "json", *more, env=env).out)


def removal(document: Any) -> Any:
    return next(each for each in document["resource_changes"] if each["change"]["drift"] == ["delete"])


def last_run(run: Run, env: dict[str, str], command: str = "apply") -> str:
    runs = json.loads(run("history", "--format", "json", env=env).out)["runs"]
    return str(next(each["id"] for each in runs if each["command"] == command))


@pytest.fixture
def env(served: Served, tmp_path: Path) -> dict[str, str]:
    return served.env | {"RECONCILER_JOURNAL": f"sqlite:///{tmp_path}/journal.db"}


@dataclass
class Counting:
    """Passes requests on, counts those to the backup service, and may answer them itself."""

    app: Any
    answer: Callable[[str], tuple[int, bytes] | None] = lambda _query: None
    asked: list[str] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not scope["path"].endswith("/backups"):
            await self.app(scope, receive, send)
            return
        self.asked.append(scope["query_string"].decode())
        if (own := self.answer(self.asked[-1])) is None:
            await self.app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": own[0], "headers": headers})
        await send({"type": "http.response.body", "body": own[1]})


@contextmanager
def counting(
    served: Served, answer: Callable[[str], tuple[int, bytes] | None] = lambda _query: None
) -> Iterator[tuple[Counting, dict[str, str]]]:
    """The same sandbox as backup service at an address of its own."""
    counted = Counting(served.app, answer)
    with listening(counted) as url:
        yield counted, {"RECONCILER_CBR_ENDPOINT": url}


def test_one_desktop_without_a_backup_blocks_the_removal_and_every_form_of_the_plan_says_so(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path = manifest(tmp_path, [DEMANDING])
    last = served.pool("finance-analysts")["desktops"][-1]
    last["name"] = "zoe-pc"
    made = TIME.now() - timedelta(
        hours=10
    )  # as the sandbox's backups are: before midnight, until ten in the morning
    said = f"11 of 12 desktops have a backup younger than 24 h, the oldest of {made:%Y-%m-%d}"
    planned = run("plan", str(path), env=env)
    assert planned.code == 3
    assert said in planned.out
    assert "UTC; zoe-pc has none" in planned.out
    assert "Blocked by 1 finding" in planned.out
    assert f"desktop {last['id']} has none\n      set at:   {path}:4:" in planned.out
    assert "to allow: back these desktops up in the backup service and plan again" in planned.out
    assert "zoe-pc has none" in run("plan", str(path), "--format", "html", env=env).out
    comment = run("plan", str(path), "--format", "markdown", env=env).out
    assert "of `12` desktops have a backup younger" in comment.replace("of 12 ", "of `12` ")
    assert "zoe-pc" in comment
    document = plan_of(run, path, env)
    [finding] = document["findings"]
    assert (finding["rule"], finding["measured"], finding["limit"]) == ("backup", 11, 12)
    known = removal(document)["backups"]
    assert (known["desktops"], known["having"], known["within_seconds"]) == (12, 11, 86400)
    assert [each["desktop_name"] for each in known["lacking"]] == ["zoe-pc"]
    assert said in known["sentence"]
    for form in ("text", "markdown", "html", "json"):
        assert "zoe-pc" not in run("plan", str(path), "--anonymise", "--format", form, env=env).out
    assert "NO backup" in run("explain", "finance-analysts", str(path), env=env).out
    assert run("apply", str(path), "--auto-approve", env=env).code == 3
    assert served.posts() == []


def test_with_a_backup_of_each_desktop_the_disk_goes_and_history_ends_with_every_handle(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path, made = manifest(tmp_path, [DEMANDING]), back_up(served)
    planned = run("plan", str(path), env=env)
    assert planned.code == 0
    assert "12 of 12 desktops have a backup younger than 24 h" in planned.out
    assert "Nobody can restore that data." not in planned.out
    oldest = min(made, key=lambda each: each["id"])
    assert f"the backup service has 12 backups, the oldest {oldest['id']} of " in planned.out
    assert "whether a destroyed disk can be restored from a backup is not documented." in planned.out
    digest = plan_of(run, path, env)["digest"]
    assert run("apply", str(path), "--approve", digest, env=env).code == 0
    [post] = served.posts()

    shown = run("history", "show", last_run(run, env), env=env).out
    section = shown[shown.index("\nWays back\n") :]
    for backup in made:
        assert f"      backup    {backup['id']} of " in section
    document = json.loads(run("history", "show", last_run(run, env), "--format", "json", env=env).out)
    [way] = document["ways_back"]
    assert way["certain"] is True
    assert {backup["id"] for copy in way["copies"] for backup in copy["backups"]} == {
        each["id"] for each in made
    }
    assert all(copy["volume_id"] in section and copy["volume_id"] in way["ticket"] for copy in way["copies"])
    assert "recycle bin of the disk service (EVS) is off by default" in section
    assert "not documented for the disks of desktop pools" in " ".join(section.split())
    assert "Cloud Trace Service" in section
    assert f"request {post['request_id']}" in section
    assert "Please tell us whether any of these volumes can still be restored" in section
    assert "No document says that a destroyed disk of a desktop pool can be restored" in section
    unnamed = run("history", "show", last_run(run, env), "--anonymise", env=env).out
    assert "finance--001" not in unnamed[unnamed.index("Ways back") :]


def test_a_run_that_asked_for_no_backup_has_its_ways_back_too_and_says_that_none_is_known(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    with counting(served) as (counted, place):
        path = manifest(tmp_path, [FINANCE])
        assert "Nobody can restore that data." in run("plan", str(path), env=env | place).out
        assert run("apply", str(path), "--auto-approve", env=env | place).code == 0
        assert counted.asked == []
    shown = run("history", "show", last_run(run, env), env=env).out
    assert shown[shown.index("Ways back") :].count("backup    none is known") == 12
    nothing = run("apply", str(path), "--auto-approve", env=env)
    assert nothing.code == 0
    assert "Ways back" not in run("history", "show", last_run(run, env), env=env).out


def test_nothing_is_asked_of_the_backup_service_where_nothing_would_go(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    kept = DEMANDING.replace("{type: SAS, size: 50}", "{type: SAS, size: 50}, {type: SAS, size: 200}")
    with counting(served) as (counted, place):
        path = manifest(tmp_path, [kept])
        assert run("plan", str(path), env=env | place).code == 0
        assert counted.asked == []


def test_a_backup_counts_only_while_it_is_young_usable_and_of_the_very_volume(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path, now = manifest(tmp_path, [DEMANDING]), TIME.time()
    spoilt: list[tuple[str, dict[str, Any]]] = [
        ("too old", {"age": 24 * HOUR + 60}),
        ("not made yet", {"age": -HOUR}),
        ("ended badly", {"status": "error"}),
        ("still running", {"status": "protecting"}),
        ("expired", {"expires": now - 1}),
        ("of another volume", {"volumes": ["another-volume"]}),
        ("its volume's ended badly", {"volume_status": "error"}),
        ("of another region", {"image_type": "replication"}),
        ("cannot be restored", {"restore_mode": "na"}),
        ("of another desktop", {"desktop": "another-desktop"}),
    ]
    for why, change in spoilt:
        made = back_up(served)
        made[0].update(change)  # type: ignore[typeddict-item]
        planned = run("plan", str(path), env=env)
        assert (planned.code, "11 of 12 desktops have" in planned.out) == (3, True), why
    back_up(served)
    assert run("plan", str(path), env=env).code == 0


def test_where_backups_name_no_disks_the_plan_says_that_it_is_not_known_which_they_hold(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path = manifest(tmp_path, [DEMANDING])
    back_up(served, named=False)
    planned = run("plan", str(path), env=env)
    assert planned.code == 0
    assert "; it is not known which disks the backups of 12 desktops hold" in planned.out
    assert removal(plan_of(run, path, env))["backups"]["disks_unknown"] == 12
    assert run("apply", str(path), "--auto-approve", env=env).code == 0


def test_the_stricter_of_entry_and_policy_holds_and_its_place_is_named(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    back_up(served, age=10 * HOUR)
    rules = tmp_path / "policy.yaml"
    for within, code, place in (("6h", 3, f"{rules}:2:"), ("48h", 0, "")):
        rules.write_text(f"version: 1\nrequire: {{backup: {within}}}\n")
        path = manifest(tmp_path, [DEMANDING])
        planned = run("plan", str(path), "--policy", str(rules), "--format", "json", env=env)
        assert planned.code == code
        assert [each["source"].startswith(place) for each in json.loads(planned.out)["findings"]] == (
            [True] if code else []
        )
    path = manifest(tmp_path, [FINANCE], "defaults: {backup: {within: 6h}}")
    rules.write_text("version: 1\nrequire: {backup: 48h}\n")
    planned = run("plan", str(path), "--policy", str(rules), "--format", "json", env=env)
    [finding] = json.loads(planned.out)["findings"]
    assert (planned.code, finding["source"]) == (3, f"{path}:3:20")


def test_how_old_a_backup_may_be_is_in_the_digest_and_which_there_are_is_not(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    back_up(served)
    path = manifest(tmp_path, [DEMANDING])
    first = plan_of(run, path, env)["digest"]
    back_up(served, age=HOUR, named=False)
    assert plan_of(run, path, env)["digest"] == first
    stricter = manifest(tmp_path, [DEMANDING.replace("24h", "23h")], name="stricter.yaml")
    assert plan_of(run, stricter, env)["digest"] != first
    compared = run("plan", str(path), "--base", str(stricter), env=env).out
    assert "backup changed from 23 h to 24 h" in compared


def test_a_backup_that_grows_too_old_after_the_review_stops_the_apply_and_a_fresh_one_lets_it_go(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path, saved = manifest(tmp_path, [DEMANDING]), tmp_path / "plan.bin"
    made = back_up(served)
    made[0] = {"id": made[0]["id"], "desktop": made[0]["desktop"], "made": TIME.time() - 23.9 * HOUR}
    assert run("plan", str(path), "--out", str(saved), env=env).code == 0
    TIME.skipped += 0.5 * HOUR
    refused = run("apply", str(saved), env=env)
    assert refused.code == 3
    assert "11 of 12 desktops have a backup younger than 24 h" in refused.out + refused.err
    assert served.posts() == []
    back_up(served)
    assert run("apply", str(path), "--auto-approve", env=env).code == 0
    assert len(served.posts()) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((403, b'{"error_code": "BackupService.0403", "error_msg": "no"}'), "cbr:backups:list"),
        ((404, b'{"error_code": "APIGW.0101", "error_msg": "no such API"}'), "RECONCILER_CBR_ENDPOINT"),
        ((404, b"not found"), "RECONCILER_CBR_ENDPOINT"),
        ((200, b'{"count": 12, "backups": [{"id": "b-1", "resource_id": "d'), "list backups"),
        ((200, b'{"count": 12, "backups": []}'), "the list of backups is not complete"),
        ((200, b'{"backups": []}'), "list backups"),
        ((500, b""), "list backups"),
        (
            (200, b'{"count": 1, "backups": [{"id": "b-1", "resource_type": "OS::Nova::Server"}]}'),
            "it is not of a desktop of this project",
        ),
        (
            (
                200,
                b'{"count": 1, "backups": [{"id": "b-1", "resource_type": "OS::Workspace::DesktopV2", '
                b'"expired_at": "soon"}]}',
            ),
            "one of its times is none",
        ),
    ],
    ids=[
        "403",
        "404",
        "another server",
        "half a page",
        "fewer",
        "uncounted",
        "500",
        "of a server",
        "no time",
    ],
)
def test_a_backup_service_that_cannot_be_read_whole_blocks_and_says_why(
    run: Run,
    served: Served,
    tmp_path: Path,
    env: dict[str, str],
    answer: tuple[int, bytes],
    said: str,
) -> None:
    path = manifest(tmp_path, [DEMANDING])
    with counting(served, lambda _query: answer) as (_, place):
        planned = run("plan", str(path), "--format", "json", env=env | place)
        assert planned.code == 3
        [finding] = json.loads(planned.out)["findings"]
        assert (finding["rule"], finding["measured"]) == ("backup", None)
        assert "could not be read: " in finding["message"]
        assert said in finding["message"] + finding["allow"]
        assert removal(json.loads(planned.out))["backups"]["unread"]


def test_a_thousand_backups_are_one_request_and_a_page_that_is_left_out_blocks(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path, made = manifest(tmp_path, [DEMANDING]), back_up(served)
    with counting(served) as (counted, place):
        assert run("plan", str(path), env=env | place).code == 0
        assert len(counted.asked) == 1
        assert "resource_type=OS%3A%3AWorkspace%3A%3ADesktopV2" in counted.asked[0]
        made += [{"id": f"zz-{number}", "desktop": "elsewhere", "age": HOUR} for number in range(1490)]
        counted.asked.clear()
        assert run("plan", str(path), env=env | place).code == 0
        assert len(counted.asked) == 2  # of 1,000 and 502

    def second_page(query: str) -> tuple[int, bytes] | None:
        return (200, b'{"count": 1502, "backups": []}') if "offset=1000" in query else None

    with counting(served, second_page) as (_, place):
        planned = run("plan", str(path), env=env | place)
        assert planned.code == 3
        assert "the list of backups is not complete" in planned.out


def test_a_backup_service_that_fails_between_plan_and_call_sends_nothing(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path = manifest(tmp_path, [DEMANDING])
    back_up(served)
    first = True

    def only_once(_query: str) -> tuple[int, bytes] | None:
        nonlocal first
        if first:
            first = False
            return None
        return 403, b'{"error_code": "BackupService.0403", "error_msg": "no"}'

    with counting(served, only_once) as (counted, place):
        refused = run("apply", str(path), "--auto-approve", env=env | place)
        assert refused.code == 3
        assert len(counted.asked) == 2
        assert "could not be read" in refused.out + refused.err
    assert served.posts() == []


def test_a_retry_needs_backups_of_what_is_left(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    path = manifest(tmp_path, [DEMANDING])
    pool = served.pool("finance-analysts")
    pool["behaviour"] = {"delete": "partial", "failing": 2}
    made = back_up(served)
    partial = run("apply", str(path), "--auto-approve", "--format", "json", env=env)
    assert partial.code == 6
    document = plan_of(run, path, env)
    [left] = document["leftovers"]
    last = pool["desktops"][-1]["id"]
    gone = next(each for each in made if each["desktop"] == last)
    gone["status"] = "deleting"
    refused = run("retry", left["operation"], str(path), "--auto-approve", env=env)
    assert refused.code == 3
    assert "1 of 2 desktops has a backup younger than 24 h" in refused.out
    assert len(served.posts()) == 1
    gone["status"] = "available"
    assert run("retry", left["operation"], str(path), "--auto-approve", env=env).code == 0
    assert len(served.posts()) == 2
    first = run("history", "show", last_run(run, env), env=env).out
    assert "(done in part: some of these copies may be left)" in first[first.index("Ways back") :]
    shown = run("history", "show", last_run(run, env, "retry"), env=env).out
    assert gone["id"] in shown[shown.index("Ways back") :]


def test_doctor_tries_the_backup_service_where_something_asks_for_backups(
    run: Run, served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    plain, path = manifest(tmp_path, [FINANCE]), manifest(tmp_path, [DEMANDING], name="backed.yaml")
    assert "list backups" not in run("doctor", str(plain), env=env).out
    asked = run("doctor", str(path), env=env)
    assert "ok         list backups: 11 backups of desktops, 11 of them available" in asked.out
    assert "fields and words: all are known" in asked.out
    rules = tmp_path / "policy.yaml"
    rules.write_text("version: 1\nrequire: {backup: 24h}\n")
    served.world()["accounts"][0]["denied"].append("list-backups")
    denied = run("doctor", str(plain), "--policy", str(rules), env=env)
    assert denied.code == 1
    assert "failure    list backups" in denied.out
    assert "cbr:backups:list" in denied.out
