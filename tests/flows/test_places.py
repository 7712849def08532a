"""Where a command reads and writes: for its owner's eyes, through no link, and without a home folder."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from reconciler import DISTRIBUTION, __version__
from tests.flows.conftest import FINANCE, Run, bare, manifest
from tests.flows.inside import Ran, run_inside
from tests.flows.serving import Served
from tests.flows.skipping import TIME

PACKAGE = ("--package", f"{DISTRIBUTION}=={__version__}", "--index-url", "https://packages.example/simple")
OUTPUTS = ("--out-markdown", "--out-html", "--out-json", "--out-gitlab")


def test_files_for_a_review_are_their_owners_alone(run: Run, served: Served, tmp_path: Path) -> None:
    shared = tmp_path / "--out-json"
    shared.touch(0o644)
    arguments = [word for each in OUTPUTS for word in (each, str(tmp_path / each))]
    assert run("plan", str(manifest(tmp_path, [FINANCE])), *arguments, env=served.env).code == 0
    found = {each: stat.S_IMODE((tmp_path / each).stat().st_mode) for each in OUTPUTS}
    assert found == dict.fromkeys(OUTPUTS, 0o600) | {"--out-json": 0o644}


@pytest.mark.parametrize("arguments", [
    *(("plan", "pools.yaml", flag, "link") for flag in ("--out", *OUTPUTS)),
    ("drift", "pools.yaml", "--prometheus", "link"),
    ("report", "--out", "link"),
    ("import", "--out", "links", "--force"),
    ("import", "--out", "linked"),
    ("init", "systemd", "--dir", "links", "--force", *PACKAGE),
    ("init", "github", "--dir", "inner", *PACKAGE),
], ids=" ".join)  # fmt: skip
def test_no_command_writes_through_a_link(
    run: Run, served: Served, tmp_path: Path, arguments: Sequence[str]
) -> None:
    manifest(tmp_path, [FINANCE])
    run("drift", "pools.yaml", env=served.env)  # so that there is a journal
    elsewhere = tmp_path / "elsewhere"
    for folder in ("elsewhere", "links", "inner"):
        (tmp_path / folder).mkdir()
    (tmp_path / "link").symlink_to(elsewhere / "file")
    (tmp_path / "linked").symlink_to(elsewhere)
    (tmp_path / "inner" / ".github").symlink_to(elsewhere)
    for name in ("finance-analysts.yaml", "reconciler-drift.service"):
        (tmp_path / "links" / name).symlink_to(elsewhere / "file")
    target = ["--region", "ap-southeast-3", "--project-id", "0123456789abcdef0123456789abcdef"]
    ran = run(*arguments, *(target if arguments[0] == "import" else []), env=served.env)
    assert (ran.code, "symbolic link" in ran.err) == (9, True), ran.err
    assert os.listdir(elsewhere) == []


def test_a_journal_that_others_may_write_is_refused(run: Run, served: Served, tmp_path: Path) -> None:
    path, shared = str(manifest(tmp_path, [FINANCE])), tmp_path / "shared"
    shared.mkdir()
    env = served.env | {"RECONCILER_JOURNAL": f"sqlite:///{shared}/journal.db"}
    assert run("drift", path, env=env).code == 2
    for place, mode in ((shared, 0o777), (shared / "journal.db", 0o666)):
        before = stat.S_IMODE(place.stat().st_mode)
        place.chmod(mode)
        for command in ("plan", "apply", "history"):
            ran = run(command, *([path] if command != "history" else []), env=env)
            assert (ran.code, f"other users may write {place}" in ran.err) == (10, True), ran.err
            assert f"chmod go-w {place}" in ran.err
        place.chmod(before)
    (tmp_path / "link.db").symlink_to(shared / "journal.db")
    ran = run("apply", path, env=served.env | {"RECONCILER_JOURNAL": f"sqlite:///{tmp_path}/link.db"})
    assert (ran.code, "is a symbolic link" in ran.err) == (10, True)
    assert served.posts() == []


def test_a_state_folder_that_others_may_write_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    ran = run("plan", "--sandbox", str(manifest(tmp_path, [FINANCE])))
    assert (ran.code, "other users may write the state folder" in ran.err) == (9, True)


def test_a_plan_file_that_others_may_write_is_not_applied(run: Run, served: Served, tmp_path: Path) -> None:
    saved = tmp_path / "plan.bin"
    run("plan", str(manifest(tmp_path, [FINANCE])), "--out", str(saved), env=served.env)
    saved.chmod(0o606)
    for command in ("apply", "show"):
        ran = run(command, str(saved), env=served.env)
        assert (ran.code, "can be written by other users" in ran.err) == (9, True)
    assert served.posts() == []


def homeless(env: dict[str, str], folder: Path, *arguments: str) -> Ran:
    """Run a command line without a home folder."""
    environ = {name: value for name, value in (bare(folder) | env).items() if name != "HOME"}
    return run_inside(arguments, environ, folder, "", TIME)


def test_without_a_home_folder_or_a_name_everything_works_with_settings(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_uid: int) -> pwd.struct_passwd:
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    path = str(manifest(tmp_path, [FINANCE]))
    env = served.env | {
        "RECONCILER_JOURNAL": f"sqlite:///{tmp_path}/journal.db",
        "RECONCILER_STATE_FOLDER": "",
    }
    for command in (
        ("plan", path),
        ("apply", path, "--auto-approve"),
        ("drift", path),
        ("history",),
        ("resolve",),
    ):
        ran = homeless(env, tmp_path, *command)
        assert ran.code == 0, ran.err
    lost = homeless(env | {"RECONCILER_JOURNAL": ""}, tmp_path, "apply", path, "--auto-approve")
    assert (lost.code, "set RECONCILER_STATE_FOLDER" in lost.err) == (9, True), lost.err
    keyless = homeless({"RECONCILER_ENDPOINT": served.env["RECONCILER_ENDPOINT"]}, tmp_path, "plan", path)
    assert (keyless.code, "no credentials found" in keyless.err) == (1, True), keyless.err
    assert not (tmp_path / "~").exists()


def test_nothing_that_is_shown_names_anybody_when_asked(run: Run, served: Served, tmp_path: Path) -> None:
    path, saved = str(manifest(tmp_path, [FINANCE])), tmp_path / "plan.bin"
    hook = tmp_path / "summary.md"
    env = served.env | {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(hook)}
    users = sorted({user for each in served.pool("finance-analysts")["desktops"] for user in each["users"]})
    assert users
    arguments = [word for each in OUTPUTS for word in (each, str(tmp_path / each))]
    commands = [
        ("plan", path, "--anonymise", *arguments, "--out", str(saved)),
        ("plan", path, "--anonymise", "--format", "json"),
        ("show", str(saved), "--anonymise", "--format", "html"),
        ("explain", "finance-analysts", path, "--anonymise", "--format", "json"),
        ("drift", path, "--anonymise", "--format", "json"),
        ("apply", path, "--anonymise", "--auto-approve"),
    ]
    texts = [ran.out + ran.err for ran in (run(*each, env=env) for each in commands)]
    texts += [(tmp_path / each).read_text() for each in OUTPUTS] + [hook.read_text()]
    assert [(user, text) for user in users for text in texts if user in text] == []
    assert f'"user_count": {len(users)}' in texts[1]
    assert f"**Users who lose data:** {len(users)}" in hook.read_text()
    assert users[0] in saved.read_text()  # apply needs it, and keeps it in the journal


def test_a_link_that_leaves_the_folder_is_followed_only_when_asked(
    run: Run, served: Served, tmp_path: Path
) -> None:
    (tmp_path / "given").mkdir()
    manifest(tmp_path, [FINANCE], name="elsewhere.yaml")
    (tmp_path / "given" / "pools.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    refused = run("plan", "given", env=served.env)
    assert (refused.code, "use --follow-symlinks" in refused.err) == (9, True)
    assert run("plan", "given", "--follow-symlinks", env=served.env).code == 0
