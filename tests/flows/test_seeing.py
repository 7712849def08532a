"""Seeing what a command does: the log, what is quiet, and progress on a terminal and in the log of a CI."""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from pathlib import Path

import pytest

from reconciler import sandbox
from reconciler.cli.logs import Asked, logging_as
from reconciler.redaction import know
from tests.flows.conftest import CALLS, FINANCE, Run, bare, manifest
from tests.flows.inside import run_inside
from tests.flows.serving import Served, serving
from tests.flows.skipping import TIME

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|DEBUG) (\w+) \S")
PEOPLE = "amara|bjorn|chiara|dmitri|elif|farah|gustav|hana|imran|jelena"
BOTH = ("apply", "--auto-approve", "pools.yaml")


def entries(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_verbose_run_logs_each_request_on_stderr_and_nothing_else_changes(
    run: Run, served: Served, tmp_path: Path
) -> None:
    manifest(tmp_path, [FINANCE])
    plain = run("plan", "pools.yaml", "--format", "json", env=served.env)
    seen = run("plan", "pools.yaml", "--format", "json", "-v", env=served.env)
    assert set(json.loads(seen.out)) == set(json.loads(plain.out))
    lines = [line for line in seen.err.splitlines() if LINE.match(line)]
    listing, *_ = [line for line in lines if 'call="list pools"' in line]
    assert re.search(
        rf"request method=GET host=\S+ path=/v2/{sandbox.PROJECT_ID}/desktop-pools\?limit=1000&offset=0 "
        r'call="list pools" status=200 request_id=\w{32} seconds=[\d.e-]+ attempt=1$',
        listing,
    )
    assert [line for line in seen.err.splitlines() if line not in lines] == plain.err.splitlines()


def test_a_debug_log_holds_every_step_of_an_apply_and_neither_a_secret_nor_a_person(
    run: Run, served: Served, tmp_path: Path
) -> None:
    manifest(tmp_path, [FINANCE])
    log = ("--debug", "--log-file", "run.log", "--log-format=json")
    ran = run(*BOTH, *log, env=served.env)
    assert ran.code == 0
    assert not any(LINE.match(line) for line in ran.err.splitlines())
    found = entries(tmp_path / "run.log")
    events = {(each["area"], each["event"]) for each in found}
    assert events >= {
        ("api", "request"), ("journal", "lease renewed"), ("guards", "pass"),
        ("apply", "checking"), ("apply", "sending"), ("apply", "job runs"), ("apply", "ended"),
    }  # fmt: skip
    [sent] = [each for each in found if each.get("method") == "POST"]
    assert (sent["status"], sent["call"], sent["attempt"]) == (200, "batch-delete", 1)
    # httpx and httpcore would log whole headers, with the signature.
    assert {each["area"] for each in found} == {"api", "apply", "guards", "journal"}
    text = (tmp_path / "run.log").read_text()
    assert not re.search(rf"Authorization|SDK-HMAC|{sandbox.ACCESS_KEY}|{sandbox.SECRET_KEY}|{PEOPLE}", text)


def test_a_log_file_is_for_its_user_alone_and_is_added_to(run: Run, tmp_path: Path) -> None:
    manifest(tmp_path, [FINANCE])
    log = tmp_path / "run.log"
    counts = []
    for _ in range(2):
        assert run("plan", "--sandbox", "pools.yaml", "--log-file", str(log)).code == 0
        counts.append(len(log.read_text().splitlines()))
    assert counts == [counts[0], 2 * counts[0]]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert not logging.getLogger("reconciler").handlers


@pytest.mark.parametrize("place", ["no/such/folder.log", "link", "pipe", "."])
def test_a_log_that_cannot_be_written_is_refused_before_anything_is_sent(
    run: Run, served: Served, tmp_path: Path, place: str
) -> None:
    manifest(tmp_path, [FINANCE])
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pipe")
    ran = run(*BOTH, "--log-file", place, env=served.env)
    assert (ran.code, "nothing was sent" in ran.err, "Traceback" in ran.err) == (9, True, False)
    assert served.posts() == []
    assert not (tmp_path / "elsewhere").exists()


def test_a_log_never_goes_where_the_result_goes(process: Run, tmp_path: Path) -> None:
    manifest(tmp_path, [FINANCE])
    ran = process("plan", "--sandbox", "pools.yaml", "--format", "json", "--log-file", "/dev/stdout")
    assert (ran.code, json.loads(ran.out)["error"]["kind"]) == (9, "bad_input")


def test_a_disk_that_becomes_full_is_said_and_stops_nothing(run: Run, served: Served, tmp_path: Path) -> None:
    manifest(tmp_path, [FINANCE])
    ran = run(*BOTH, "--debug", "--log-file", "/dev/full", env=served.env)
    assert (ran.code, len(served.posts())) == (0, 1)
    assert ran.err.count("Warning: the log /dev/full is not complete: No space left on device.") == 1


@pytest.mark.parametrize(
    ("setting", "flags", "levels"),
    [
        ("", [], set()),
        ("off", [], set()),
        ("info", [], {"INFO"}),
        ("DEBUG", [], {"INFO", "DEBUG"}),
        ("off", ["-v"], {"INFO"}),
        ("info", ["--debug"], {"INFO", "DEBUG"}),
    ],
)
def test_the_setting_asks_for_a_log_and_the_flags_outrank_it(
    run: Run, tmp_path: Path, setting: str, flags: list[str], levels: set[str]
) -> None:
    manifest(tmp_path, [FINANCE])
    ran = run("plan", "--sandbox", "pools.yaml", *flags, env={"RECONCILER_LOG": setting})
    found = {match[1] for line in ran.err.splitlines() if (match := LINE.match(line))}
    assert (ran.code, found) == (0, levels)


def test_a_log_file_is_written_also_where_the_setting_is_off(run: Run, tmp_path: Path) -> None:
    manifest(tmp_path, [FINANCE])
    run("plan", "--sandbox", "pools.yaml", "--log-file", "run.log", env={"RECONCILER_LOG": "off"})
    assert {LINE.match(line)[1] for line in (tmp_path / "run.log").read_text().splitlines()} == {"INFO"}  # type: ignore[index]


def test_a_level_that_is_none_and_a_form_without_a_log_are_refused(run: Run, tmp_path: Path) -> None:
    manifest(tmp_path, [FINANCE])
    wrong = run("plan", "--sandbox", "pools.yaml", env={"RECONCILER_LOG": "loud"})
    assert (wrong.code, "off, info, debug" in wrong.err) == (9, True)
    assert run("plan", "--sandbox", "pools.yaml", "--log-format", "json").code == 9


def test_quiet_leaves_out_progress_and_notes_and_no_plan_loss_refusal_or_error(
    run: Run, served: Served, tmp_path: Path
) -> None:
    manifest(tmp_path, [FINANCE])
    loud, quiet = (run("plan", "pools.yaml", *flags, env=served.env) for flags in ([], ["-q"]))
    assert loud.err

    def lasting(text: str) -> list[str]:
        return [line for line in text.splitlines() if "Digest" not in line and "--approve" not in line]

    assert (lasting(quiet.out), quiet.err) == (lasting(loud.out), "")
    assert "This destroys 1 disk for good" in quiet.out
    refused = run("apply", "pools.yaml", "--quiet", env=served.env)
    assert (refused.code, "cannot prompt for approval" in refused.err) == (3, True)
    blocked = run("plan", "pools.yaml", "-q", "--limit-disks", "0", env=served.env)
    assert (blocked.code, "the plan is blocked by 1 finding" in blocked.err) == (3, True)
    done = run(*BOTH, "-q", env=served.env)
    assert (done.code, "Apply complete!" in done.out) == (0, True)
    assert not re.search("destroying|accepted|done:|Read 1 file", done.err)


def test_in_the_log_of_a_ci_each_change_of_state_is_a_line_with_its_end(
    run: Run, served: Served, tmp_path: Path
) -> None:
    manifest(tmp_path, [FINANCE])
    err = run(*BOTH, env=served.env).err
    assert re.search(r"^finance-analysts: destroying \S+$", err, re.M)
    assert re.search(
        r"^finance-analysts: job \S+ accepted, until \d\d:\d\d:\d\d UTC at the latest$", err, re.M
    )
    assert re.search(r"^finance-analysts: done: 1 of 1 disk gone", err, re.M)
    assert "\x1b" not in err
    assert "\r" not in err


def test_a_service_that_throttles_is_waited_for_aloud(run: Run, tmp_path: Path) -> None:
    manifest(tmp_path, [FINANCE])
    with serving(sandbox.default_world(), budget=2) as served:
        err = run("plan", "pools.yaml", "-v", env=served.env).err
        again = run("plan", "pools.yaml", "-v", env=served.env).err
    words = r"Reading the live pools: waiting for the service, which answered 429, for [\w ]+, until \d\d:\d\d:\d\d UTC"
    assert re.search(words, err + again)
    assert "INFO api throttled call=" in err + again


def screens(raw: str) -> tuple[list[str], int]:
    """The lines that stay on a terminal, and the longest one that was drawn and taken back."""
    lines, longest = [""], 0
    for part in re.split(r"(\x1b\[\d+A\r\x1b\[J|\n)", raw):
        if part == "\n":
            lines.append("")
        elif found := re.fullmatch(r"\x1b\[(\d+)A\r\x1b\[J", part):
            assert lines[-1] == "", "the cursor stands below what is taken back"
            drawn = lines[-1 - int(found[1]) : -1]
            longest = max(longest, *map(len, drawn))
            del lines[-1 - len(drawn) :]
            lines.append("")
        else:
            lines[-1] += part
    return lines, longest


@pytest.mark.parametrize("columns", [40, 80])
def test_a_terminal_shows_bars_that_fit_and_leaves_the_ends_alone(
    served: Served, tmp_path: Path, columns: int
) -> None:
    manifest(tmp_path, [FINANCE, CALLS])
    env = bare(tmp_path) | served.env | {"TERM": "xterm", "COLUMNS": str(columns), "NO_COLOR": "1"}
    ran = run_inside(BOTH, env, tmp_path, "", TIME, terminal=True)
    assert ran.code == 0
    lines, longest = screens(ran.err)
    assert 0 < longest < columns
    assert re.search(r"finance\S+ +\[[#-]{10}\]", ran.err)
    assert "Applying: 0/1 pool, 0/1 disk" in ran.err
    left = " ".join(" ".join(lines).split())
    assert "finance-analysts: done: 1 of 1 disk gone, seen in two readings" in left
    assert not [line for line in lines if "[#" in line or "Applying" in line or "Reading" in line]
    assert not re.search("destroying|accepted", left)


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"TERM": "xterm", "CI": "true"}])
def test_what_cannot_draw_again_gets_lines_and_no_bar(
    served: Served, tmp_path: Path, env: dict[str, str]
) -> None:
    manifest(tmp_path, [FINANCE])
    own = bare(tmp_path) | served.env | env | {"COLUMNS": "200", "NO_COLOR": "1"}
    ran = run_inside(BOTH, own, tmp_path, "", TIME, terminal=True)
    assert (ran.code, "accepted, until" in ran.err, "\x1b" in ran.err) == (0, True, False)


def test_a_variable_left_behind_approves_nothing_and_widens_nothing(
    run: Run, served: Served, tmp_path: Path
) -> None:
    manifest(tmp_path, [FINANCE], "limits: {disks: 0}")
    names = ("AUTO_APPROVE", "APPROVE", "LIMIT_DISKS", "LIMIT_COPIES", "KEEP_GOING", "CORRECT", "MARK")
    forms = ("RECONCILER_{}", "RECONCILER_APPLY_{}", "{}", "CLICK_{}")
    left = {form.format(name): "1" for name in names for form in forms}
    ran = run("apply", "pools.yaml", env=served.env | left)
    assert (ran.code, served.posts()) == (3, [])


def test_of_a_request_without_a_name_a_log_shows_the_host_alone(
    run: Run, served: Served, tmp_path: Path
) -> None:
    """The address of a webhook is a secret, also where redaction has never heard of it."""
    manifest(tmp_path, [FINANCE])
    env = served.env | {"RECONCILER_WEBHOOK": f"{served.url}/q?k=x"}
    err = run("drift", "pools.yaml", "--debug", env=env).err
    [sent] = [line for line in err.splitlines() if "method=POST" in line]
    assert ("host=127.0.0.1" in sent, "path=" in sent, "/q" in sent) == (True, False, False)


def test_an_internal_error_is_in_a_debug_log_with_its_place_and_without_a_secret(tmp_path: Path) -> None:
    know("a-secret-of-some-length")
    log = tmp_path / "run.log"
    with pytest.raises(ZeroDivisionError), logging_as(Asked(debug=True, file=log), {}):
        raise ZeroDivisionError("by a-secret-of-some-length")
    text = log.read_text()
    assert ("Traceback" in text, "in test_an_internal_error" in text) == (True, True)
    assert ("ZeroDivisionError: by ***" in text, "a-secret" in text) == (True, False)
