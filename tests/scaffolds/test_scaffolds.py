"""``init`` writes what it says and never over what is there; the systemd units are valid and do their work."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from reconciler import DISTRIBUTION, __version__
from reconciler.cli.init import CONSTRAINTS, INSTALL_NOTHING, Platform
from tests import needs
from tests.flows.conftest import FINANCE, ROOT, Run, manifest
from tests.flows.serving import Served
from tests.postgres import PostgresServer
from tests.scaffolds.installing import PACKAGE, Installer, files, header_lines
from tests.scaffolds.shell import bash

INSTALLING = [each for each in Platform if each not in INSTALL_NOTHING]
NAMED = ("--package", f"{DISTRIBUTION}=={__version__}", "--index-url", PACKAGE.index)
"""This source tree is installed from a folder, of which nothing is recorded that others could install."""


@pytest.mark.parametrize("platform", INSTALLING)
def test_every_kind_writes_what_it_says_and_tells_what_comes_next(
    platform: Platform, tmp_path: Path, run: Run
) -> None:
    done = run("init", platform.value, "--dir", "new/folder", *NAMED)
    assert (done.code, done.out) == (0, "")
    assert f"{CONSTRAINTS} holds no version" not in done.err, "the tests install the extra"
    told, _, following = done.err.partition("\nNext:\n")
    folder = tmp_path / "new" / "folder"
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert there == {*files(platform.value), CONSTRAINTS}
    identities = {f"iam/{name}-policy.json" for name in ("plan", "apply", "announce")} & there
    assert len(identities) == (0 if platform is Platform.PRE_COMMIT else 3)
    assert set(told.split()) - {"Wrote"} == {f"new/folder/{path}" for path in there}
    assert re.findall(r"^  (\d)\. ", following, re.M) == ["1", "2", "3", "4", "5"][: following.count("\n")]
    for path, text in files(platform.value).items():
        assert (folder / path).read_text() == text
    # What the steps name is there.
    named = re.findall(r"[\w./-]+\.(?:yaml|yml|json|service|drift|apply|txt)\b|Dockerfile", following)
    assert (folder / CONSTRAINTS).read_text().count("==") > 20
    assert {name for name in named if not any(path.endswith(name) for path in there)} == set()


@pytest.mark.parametrize("platform", INSTALLING)
def test_every_file_says_this_version_and_is_well_formed(platform: Platform) -> None:
    told = files(platform.value)
    assert any(PACKAGE.arguments("postgres") in text for text in told.values())
    for path, text in told.items():
        assert "@VERSION@" not in text
        assert "@PACKAGE@" not in text
        assert "--auto-approve" not in text
        assert text.endswith("\n")
        if path.endswith((".yml", ".yaml")):
            assert all(isinstance(each, dict) for each in yaml.safe_load_all(text))
        if path.endswith(".json"):
            assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize("platform", list(Platform))
def test_no_file_holds_a_program_of_its_own(platform: Platform) -> None:
    assert not [
        path for path, text in files(platform.value).items() if re.search(r"python3?\b[^\n]* -c\b", text)
    ]


def test_nothing_is_overwritten_without_force(tmp_path: Path, run: Run) -> None:
    (tmp_path / "iam").mkdir()
    (tmp_path / "iam" / "README.md").write_text("mine")
    (tmp_path / "Jenkinsfile").symlink_to(tmp_path / "nowhere")
    refused = run("init", "jenkins", *NAMED)
    assert refused.code == 9
    assert "2 files would be overwritten: Jenkinsfile, iam/README.md" in refused.err
    assert "--force" in refused.err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["Jenkinsfile", "README.md", "iam"]
    (tmp_path / "Jenkinsfile").unlink()
    assert run("init", "jenkins", "--force", *NAMED).code == 0
    assert (tmp_path / "iam" / "README.md").read_text() == files("jenkins")["iam/README.md"]


@pytest.mark.parametrize("place", ["a-file", "/proc/nothing"])
def test_a_place_that_cannot_be_written_is_named(place: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / "a-file").write_text("")
    done = run("init", "gitlab", "--dir", place, *NAMED)
    assert done.code == 9
    assert place in done.err
    assert "--dir" in done.err


def test_an_unknown_kind_is_answered_with_the_known_ones(run: Run) -> None:
    done = run("init", "circleci")
    assert done.code == 9
    assert all(platform.value in done.err for platform in Platform)


@pytest.fixture
def opt(installer: Installer) -> Path:
    """What the lines in the header of the service install; /opt is elsewhere in these tests."""
    return installer.environment(header_lines(files("systemd")["reconciler-drift.service"]))


@pytest.fixture
def units(tmp_path: Path, opt: Path) -> list[Path]:
    """The systemd units in a folder."""
    made = []
    for name in ("reconciler-drift.service", "reconciler-drift.timer"):
        made.append(tmp_path / name)
        made[-1].write_text(files("systemd")[name].replace("/opt/reconciler", str(opt)))
    return made


@pytest.mark.parametrize(
    "check",
    # The exposure that systemd computes, of 100: 20 is what it calls OK.
    [["verify", "--man=no"], ["security", "--offline=yes", "--no-pager", "--threshold=20"]],
    ids=["verify", "security"],
)
def test_systemd_finds_nothing_wrong_with_the_units(check: list[str], units: list[Path]) -> None:
    program = needs.program("systemd")
    about = units if check[0] == "verify" else units[:1]
    done = subprocess.run([program, *check, *about], capture_output=True, text=True, check=False)
    own = [line for line in done.stderr.splitlines() if "reconciler" in line]
    assert (done.returncode, own) == (0, []), done.stdout + done.stderr


def test_the_service_looks_for_drift_and_writes_nothing(tmp_path: Path, served: Served, opt: Path) -> None:
    text = files("systemd")["reconciler-drift.service"]
    [command] = re.findall(r"^ExecStart=(.+)$", text, re.M)
    [state] = re.findall(r"^Environment=RECONCILER_STATE_FOLDER=%S/(.+)$", text, re.M)
    assert f"StateDirectory={state}\n" in text
    path = manifest(tmp_path, [FINANCE])
    assert "/etc/reconciler/manifests" in command
    assert command.startswith("/opt/reconciler/bin/reconciler ")
    command = command.replace("/etc/reconciler/manifests", str(path)).replace("/opt/reconciler", str(opt))
    done = bash(command, tmp_path, served.env)
    assert done.code == 2, done.out
    assert served.posts() == []


@pytest.mark.parametrize("platform", INSTALLING)
def test_every_scaffold_sets_the_project_beside_the_credentials_and_says_what_is_read_from_where(
    platform: Platform,
) -> None:
    told = {path: text for path, text in files(platform.value).items() if not path.startswith("iam/")}
    for path, text in told.items():
        if re.search(r"HUAWEICLOUD_(SDK|OIDC)_(AK|PROVIDER|CREDENTIALS)", text):
            assert re.search(r"HUAWEICLOUD_SDK_PROJECT_ID|project_id|described in drift-cronjob", text), path
            assert "Read from where:" in text or "Read from where, each" in text, path


@pytest.mark.parametrize(
    ("platform", "path"),
    [
        (Platform.GITHUB, ".github/workflows/reconciler-plan.yml"),
        (Platform.GITLAB, ".gitlab-ci.yml"),
        (Platform.JENKINS, "Jenkinsfile"),
        (Platform.JENKINS, "Jenkinsfile.apply"),
        (Platform.ATLANTIS, "repos.yaml"),
    ],
)
def test_what_a_pull_request_starts_is_given_a_journal_that_it_can_only_read(
    platform: Platform, path: str
) -> None:
    lines = [line.lstrip("#/ ") for line in files(platform.value)[path].splitlines() if line[:1] in "#/"]
    header = " ".join(lines)
    assert "a role that may only SELECT" in header or "PostgreSQL role that may only SELECT" in header
    assert "GRANT" in header


@pytest.mark.parametrize("platform", INSTALLING)
def test_every_scaffold_installs_one_exact_package_outside_the_checkout_by_the_same_lines(
    platform: Platform,
) -> None:
    installing = re.compile(r"\bpip\S* install[^\n]*")
    found = [line for text in files(platform.value).values() for line in installing.findall(text)]
    assert found
    arguments = re.escape(PACKAGE.arguments("postgres"))
    for line in found:
        assert re.fullmatch(
            rf"pip\"? install --quiet --constraint {CONSTRAINTS} {arguments}\S*( .*)?", line
        ), line
    every = "".join(files(platform.value).values())
    assert every.count("python3 -I -m venv --clear") == len(found)


def test_the_role_of_the_readme_for_pull_requests_can_plan_and_write_nothing(
    tmp_path: Path, run: Run, served: Served, postgres: PostgresServer
) -> None:
    url = postgres.fresh()
    schema = url.rpartition("%3D")[2]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    statements = text.split("<!-- role for pull requests -->\n```sql\n")[1].split("```")[0]
    # The server is shared by tests, so the schema and the role have names of their own here.
    statements = statements.replace("public", schema).replace("reconciler_plan", f"plan_{schema}")
    path = str(manifest(tmp_path, [FINANCE]))
    reader = {
        "RECONCILER_JOURNAL": url.replace(
            url[: url.index("@")], f"postgresql+psycopg://plan_{schema}:choose%20one"
        )
    }
    with postgres.connect() as connection:
        connection.execute(statements.encode())
    # Before there is a journal and after: tables that are made later can be read too.
    assert run("plan", path, env=served.env | reader).code == 0
    assert run("drift", path, env=served.env | {"RECONCILER_JOURNAL": url}).code == 2
    planned = run("plan", path, env=served.env | reader)
    assert planned.code == 0, planned.err
    assert "no journal" not in planned.err
    refused = run("apply", path, "--auto-approve", env=served.env | reader)
    assert (refused.code, served.posts()) == (10, [])


@pytest.mark.parametrize("platform", INSTALLING)
def test_the_readme_says_of_each_kind_only_what_its_files_have(platform: Platform) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [row] = re.findall(rf"^\| {platform.value} \|.*$", readme, re.M | re.I)
    told = files(platform.value)
    every = "\n".join([*told, *told.values()])
    assert [name for name in re.findall(r"`([^`]+)`", row) if name not in every] == []
