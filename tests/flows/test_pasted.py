"""Every command that is printed can be pasted into a shell as it is, with the flags of the run that printed it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from reconciler import sandbox
from reconciler.cli.commands import GIVEN, Given, command, complete, path_word, quoted
from tests.flows import started
from tests.flows.conftest import CALLS, FINANCE, Run, bare, manifest
from tests.flows.inside import Ran
from tests.flows.skipping import TIME

FOLDER = "its 'pools' & more"
MANIFEST = f"{FOLDER}/fi nance.yaml"


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """A journal whose place has to be quoted."""
    return f"sqlite:///{tmp_path}/my journal.db"


def pasted(line: str, folder: Path) -> Ran:
    """What a shell makes of a printed command."""
    program = folder / "bin" / "reconciler"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.join(started.command())} "$@"\n')
    program.chmod(0o755)
    env = bare(folder) | {"PATH": f"{program.parent}:{os.environ['PATH']}"}
    with started.skipping(TIME) as skips:
        env |= skips
        done = subprocess.run(
            ["bash", "-c", line], cwd=folder, env=env, input="", capture_output=True, text=True, check=False
        )
    assert "Traceback" not in done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def printed(text: str, after: str = "") -> str:
    """The one command of a text that stands at the end of a line, behind some words."""
    found = [
        line.partition(f"{after}reconciler ")[2]
        for line in text.splitlines()
        if f"{after}reconciler " in line
    ]
    assert len(found) == 1, text
    return f"reconciler {found[0]}"


def declared(folder: Path, *pools: str) -> None:
    (folder / FOLDER).mkdir(exist_ok=True)
    manifest(folder, pools, name=MANIFEST)


def test_from_a_saved_plan_to_its_history(run: Run, tmp_path: Path, journal: str) -> None:
    declared(tmp_path, FINANCE)
    saved = run("plan", "--sandbox", "--journal", journal, "--out", "the plan.bin", FOLDER)
    applied = pasted(printed(saved.err, "exactly this with: "), tmp_path)
    assert applied.code == 0, applied.err
    shown = pasted(printed(applied.out, "in the journal: "), tmp_path)
    assert shown.code == 0, shown.err
    [done] = json.loads(run("history", "--journal", journal, "--format", "json").out)["runs"]
    assert f"Run {done['id']}: apply" in shown.out


@pytest.mark.parametrize("form", ["markdown", "html"])
@pytest.mark.parametrize("command_", ["plan", "show"])
def test_the_command_of_a_review_applies_what_was_reviewed(
    run: Run, tmp_path: Path, journal: str, form: str, command_: str
) -> None:
    declared(tmp_path, FINANCE, CALLS)
    flags = ("--sandbox", "--journal", journal, "--limit-disks", "7")
    planned = run("plan", *flags, "--out", "plan.bin", "--format", form, FOLDER)
    page = planned.out if command_ == "plan" else run("show", "plan.bin", "--format", form).out
    line = next(each for each in page.splitlines() if "--approve" in each)
    line = line[line.index("reconciler apply") :].removesuffix("</pre>")
    line = line.replace("&#39;", "'").replace("&#34;", '"').replace("&amp;", "&")
    applied = pasted(line, tmp_path)
    assert (applied.code, "Apply complete!" in applied.out) == (0, True), applied.err


def test_after_an_import_the_manifests_are_checked(run: Run, tmp_path: Path) -> None:
    told = run("import", "--sandbox", "--out", "-my manifests")
    checked = pasted(printed(told.err, "check them with: "), tmp_path)
    assert checked.code == 0, checked.err
    assert "No changes. Your infrastructure matches the configuration." in checked.out


def test_what_is_left_open_is_resolved_where_it_was_left(run: Run, tmp_path: Path, journal: str) -> None:
    declared(tmp_path, FINANCE)
    where = ("--sandbox", "--journal", journal)
    assert run("apply", *where, "--auto-approve", "--no-wait", FOLDER).code == 8
    drift = run("drift", *where, FOLDER)
    resolved = pasted(printed(drift.out, "not resolved: "), tmp_path)
    assert resolved.code in (0, 8), resolved.err
    assert "1 operation checked" in resolved.err


def test_what_a_partial_job_left_is_finished_by_the_command_that_plan_prints(
    run: Run, tmp_path: Path, journal: str
) -> None:
    declared(tmp_path, FINANCE)
    where = ("--sandbox", "--journal", journal)
    run("sandbox", "reset")
    state = tmp_path / "state" / "sandbox.json"
    world = json.loads(state.read_text(encoding="utf-8"))
    for pool in world["projects"][sandbox.PROJECT_ID]["pools"].values():
        pool["behaviour"] = {"delete": "partial"}
    state.write_text(json.dumps(world), encoding="utf-8")
    assert run("apply", *where, "--auto-approve", FOLDER).code == 6
    TIME.skipped += 60
    planned = run("plan", *where, FOLDER)
    # Not in a process of its own, whose time would be before that of the job that ended here.
    finished = run(*shlex.split(printed(planned.out, "in the console: "))[1:], "--auto-approve")
    assert (finished.code, "Retry complete!" in finished.out) == (0, True), finished.err


def test_hints_repeat_the_flags_too(run: Run, tmp_path: Path, journal: str) -> None:
    missing = run("history", "show", "no-such-run", "--journal", "sqlite:///a b.db", cwd=tmp_path)
    assert missing.code == 9
    run("plan", "--sandbox", "--journal", journal, "none.yaml")
    wrong = run("resolve", "no-such-operation", "--sandbox", "--journal", journal)
    hint = f"reconciler resolve --sandbox --journal {shlex.quote(journal)} "
    assert hint in wrong.err
    assert pasted(hint, tmp_path).code == 0


def test_without_flags_a_command_gets_none(run: Run, tmp_path: Path) -> None:
    run("plan", "--sandbox", str(manifest(tmp_path, [FINANCE])))
    assert "  reconciler resolve without both lists them\n" in run("resolve", "some-operation").err
    assert GIVEN.get() == Given()


@pytest.mark.parametrize(
    "name",
    [
        "plain.yaml",
        "a b",
        "it's",
        "$(touch x)",
        "`id`",
        "a\nb",
        "\x1b[31m",
        "\udcff",
        "\u202e",
        "-x",
        "ä",
        "\\",
    ],
)
def test_any_path_is_one_word_of_a_shell_and_fit_for_a_screen(name: str, tmp_path: Path) -> None:
    word = path_word(name)
    assert word.isprintable()
    done = subprocess.run(
        ["bash", "-c", f"printf '%s' {word}"], cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stdout.removeprefix(b"./") == os.fsencode(name)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:sesame@host/db",
        "postgresql+psycopg://me@host/db?password=sesame",
        "postgresql://me:ses@me@[host/db",
    ],
)
def test_a_password_in_the_journals_url_is_not_repeated(url: str) -> None:
    shown = Given(journal=url).flags("plan")
    assert shown == ' --journal "$RECONCILER_JOURNAL"'


def test_only_flags_that_a_command_has_are_repeated() -> None:
    token = GIVEN.set(Given(sandbox=True, endpoint="http://127.0.0.1:1", journal="sqlite:///j.db"))
    try:
        assert command("import") == "reconciler import --sandbox --endpoint http://127.0.0.1:1"
        assert command("history") == "reconciler history --sandbox --journal sqlite:///j.db"
        for text in ("see reconciler validate", "my-reconciler plan", "reconciler plan-policy"):
            assert complete(text) == text
        assert complete("run 'reconciler resolve', or") == (
            "run 'reconciler resolve --sandbox --endpoint http://127.0.0.1:1 --journal sqlite:///j.db', or"
        )
    finally:
        GIVEN.reset(token)


def test_a_resolve_of_one_target_as_one_profile_is_printed_as_such() -> None:
    token = GIVEN.set(Given(projects=("p1",), profile="my ops", region="r1"))
    try:
        assert command("resolve") == "reconciler resolve --region r1 --project-id p1 --profile 'my ops'"
        assert command("plan") == "reconciler plan --project-id p1"
    finally:
        GIVEN.reset(token)


def test_links_that_were_followed_are_followed_by_every_command_that_reads_manifests() -> None:
    token = GIVEN.set(Given(follow_symlinks=True))
    try:
        assert command("apply", ["m"]) == "reconciler apply --follow-symlinks m"
        assert command("history") == "reconciler history"
    finally:
        GIVEN.reset(token)


def test_a_plan_over_links_prints_commands_that_follow_them(run: Run, tmp_path: Path, journal: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "m").mkdir()
    manifest(tmp_path / "elsewhere", [FINANCE])
    (tmp_path / "m" / "linked.yaml").symlink_to(tmp_path / "elsewhere" / "pools.yaml")
    shown = run("plan", "--sandbox", "--journal", journal, "--follow-symlinks", "--format", "markdown", "m")
    line = next(each for each in shown.out.splitlines() if "--approve" in each)
    assert "--follow-symlinks" in line


def test_quoting_is_left_out_where_a_shell_needs_none() -> None:
    assert quoted("manifests/finance.yaml") == "manifests/finance.yaml"
    assert sandbox.REGION in quoted(sandbox.REGION)
