"""What is installed elsewhere is what was installed here, or what a person names exactly; anything else is refused."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from typing import Any

import pytest

from reconciler import DISTRIBUTION, __version__, installation
from reconciler.errors import BadInput
from tests.flows.conftest import ROOT, Run, run

__all__ = ["run"]

COMMIT, HASH = "c0ffee" * 6 + "c0ff", "ab" * 32
WHEEL = f"https://files.example/a/desktop_pool_reconciler-1.2.3-py3-none-any.whl#sha256={HASH}"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def recorded(folder: Path, told: object, requires: tuple[str, ...] = ()) -> Distribution:
    """An installed distribution of which the installer recorded this."""
    info = folder / "desktop_pool_reconciler-1.2.3.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.4", f"Name: {DISTRIBUTION}", "Version: 1.2.3"]
    lines += [f"Requires-Dist: {each}" for each in requires]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    if told is not None:
        (info / "direct_url.json").write_text(told if isinstance(told, str) else json.dumps(told))
    return PathDistribution(info)


GIT = {"url": "https://code.example/team/reconciler.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}}
ARCHIVE = {"url": WHEEL.partition("#")[0], "archive_info": {"hashes": {"sha256": HASH}}}
OLD_ARCHIVE = {"url": WHEEL.partition("#")[0], "archive_info": {"hash": f"sha256={HASH}"}}


@pytest.mark.parametrize(
    ("told", "arguments"),
    [
        (GIT, f'"{DISTRIBUTION}[postgres] @ git+https://code.example/team/reconciler.git@{COMMIT}"'),
        (ARCHIVE, f'"{DISTRIBUTION}[postgres] @ {WHEEL}"'),
        (OLD_ARCHIVE, f'"{DISTRIBUTION}[postgres] @ {WHEEL}"'),
    ],
)
def test_what_an_installer_recorded_is_written_with_its_commit_or_hash(
    told: Mapping[str, Any], arguments: str, tmp_path: Path
) -> None:
    assert installation.recorded_package(recorded(tmp_path, told)).arguments("postgres") == arguments


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (
            {"url": "file:///home/me/reconciler", "dir_info": {}},
            "from a folder, of which installers record no commit",
        ),
        ({"url": "file:///home/me/reconciler", "dir_info": {"editable": True}}, "from a folder"),
        (None, "from an index or --find-links, of which installers record nothing"),
        ("{", "from an index or --find-links"),
        (ARCHIVE | {"url": "file:///tmp/a.whl"}, "a file: address, which is of no use on another machine"),
        (
            GIT | {"url": "file:///srv/git/reconciler"},
            "a file: address, which is of no use on another machine",
        ),
        (GIT | {"url": "ssh://git@code.example/reconciler"}, "must begin with https://"),
        (GIT | {"url": "https://me:hidden@code.example/r.git"}, "without user, password and query"),
        (GIT | {"vcs_info": {"vcs": "hg", "commit_id": COMMIT}}, "not git's"),
        (GIT | {"vcs_info": {"vcs": "git", "commit_id": "main"}}, "names no commit"),
        (ARCHIVE | {"archive_info": {}}, "no sha256 was recorded"),
        (ARCHIVE | {"archive_info": {"hashes": {"sha512": "1"}}}, "no sha256 was recorded"),
        (ARCHIVE | {"url": "https://files.example/a.whl?token=hidden"}, "without user, password and query"),
    ],
)
def test_what_was_recorded_too_vaguely_is_refused_with_the_reason(
    told: object, why: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput) as refused:
        installation.recorded_package(recorded(tmp_path, told))
    assert why in refused.value.message
    assert "--package" in refused.value.hint
    assert "hidden" not in refused.value.message + refused.value.hint


def test_a_program_that_is_not_installed_is_refused_with_the_reason() -> None:
    with pytest.raises(BadInput, match="not installed"):
        installation.recorded_package(None)


@pytest.mark.parametrize(
    ("requirement", "index", "arguments"),
    [
        (f"{DISTRIBUTION} @ {WHEEL}", "", f'"{DISTRIBUTION}[postgres] @ {WHEEL}"'),
        (f"Desktop_Pool.Reconciler@{WHEEL}", "", f'"{DISTRIBUTION}[postgres] @ {WHEEL}"'),
        (
            f"{DISTRIBUTION}[notify] @ git+https://code.example/r.git@{COMMIT}",
            "",
            f'"{DISTRIBUTION}[notify,postgres] @ git+https://code.example/r.git@{COMMIT}"',
        ),
        (
            f"{DISTRIBUTION}==1.2.3rc1",
            "https://packages.example/simple",
            f'--index-url "https://packages.example/simple" "{DISTRIBUTION}[postgres]==1.2.3rc1"',
        ),
    ],
)
def test_a_requirement_that_names_one_exact_package_is_written(
    requirement: str, index: str, arguments: str
) -> None:
    assert installation.named_package(requirement, index).arguments("postgres") == arguments


@pytest.mark.parametrize(
    ("requirement", "index", "why"),
    [
        (f"{DISTRIBUTION}==1.2.3", "", "without --index-url"),
        (DISTRIBUTION, "https://packages.example", "not a requirement that names one exact version"),
        (f"{DISTRIBUTION}>=1", "https://packages.example", "not a requirement that names one exact version"),
        (f"{DISTRIBUTION}==1.*", "https://packages.example", "not one exact version"),
        (f"{DISTRIBUTION}==1;true", "https://packages.example", "not one exact version"),
        ("reconciler==0.1.0", "https://packages.example", "'reconciler', which is another distribution"),
        (f"reconciler @ {WHEEL}", "", "'reconciler', which is another distribution"),
        (f"{DISTRIBUTION} @ {WHEEL.partition('#')[0]}", "", "no hash"),
        (f"{DISTRIBUTION} @ {WHEEL[:-1]}", "", "no hash"),
        (f"{DISTRIBUTION} @ {WHEEL}", "https://packages.example", "--index-url goes with a version"),
        (f"{DISTRIBUTION} @ git+https://code.example/r.git@main", "", "names no commit"),
        (f"{DISTRIBUTION} @ git+https://code.example/r.git", "", "names no commit"),
        (f"{DISTRIBUTION} @ git+ssh://git@code.example/r.git@{COMMIT}", "", "must begin with https://"),
        (f"{DISTRIBUTION} @ file:///tmp/a.whl#sha256={HASH}", "", "of no use on another machine"),
        (f"{DISTRIBUTION} @ http://files.example/a.whl#sha256={HASH}", "", "must begin with https://"),
        (
            f"{DISTRIBUTION} @ https://me:hidden@files.example/a.whl#sha256={HASH}",
            "",
            "without user, password",
        ),
        (
            f"{DISTRIBUTION} @ https://files.example/$(id).whl#sha256={HASH}",
            "",
            "a character that the files cannot",
        ),
        (
            f'{DISTRIBUTION} @ https://files.example/".whl#sha256={HASH}',
            "",
            "a character that the files cannot",
        ),
        (
            f"{DISTRIBUTION}==1",
            "https://me:hidden@packages.example",
            "--index-url must be an address without user",
        ),
        (f"{DISTRIBUTION}==1", "packages.example", "--index-url must begin with https://"),
        ("./dist/a.whl", "", "not a requirement that names one exact version"),
        ("", "", "not a requirement"),
    ],
)
def test_a_requirement_that_others_could_not_install_exactly_is_refused_with_the_reason(
    requirement: str, index: str, why: str
) -> None:
    with pytest.raises(BadInput) as refused:
        installation.named_package(requirement, index)
    assert why in refused.value.message
    assert "hidden" not in refused.value.message + refused.value.hint


def test_init_refuses_this_checkout_and_says_how_to_name_a_package(tmp_path: Path, run: Run) -> None:
    refused = run("init", "github")
    assert refused.code == 9
    assert "from a folder, of which installers record no commit" in refused.err
    assert f'--package "{DISTRIBUTION} @ https://' in refused.err
    assert run("init", "github", "--index-url", "https://packages.example").code == 9
    assert [path for path in tmp_path.iterdir() if path.name != "state"] == []


def test_the_constraints_hold_the_exact_version_of_everything_that_an_index_can_be_asked_for(
    tmp_path: Path,
) -> None:
    for folder in ("ours", "first", "second", "from-git"):
        (tmp_path / folder).mkdir()

    def other(folder: str, name: str, version: str, told: object = None) -> Distribution:
        info = tmp_path / folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")
        if told:
            (info / "direct_url.json").write_text(json.dumps(told))
        return PathDistribution(info)

    found = installation.versions(
        [
            recorded(tmp_path / "ours", None),
            other("first", "Typing_Extensions", "4.1"),
            other("second", "typing-extensions", "3.0"),
            other("first", "httpx", "0.28.1"),
            other("from-git", "patched", "9", GIT),
        ]
    )
    assert found == {"httpx": "0.28.1", "typing-extensions": "4.1"}
    assert installation.constraints(found).splitlines()[1:] == ["httpx==0.28.1", "typing-extensions==4.1"]


def test_dependencies_are_told_apart_from_those_of_extras(tmp_path: Path) -> None:
    requires = ("httpx<0.29,>=0.28", 'psycopg[binary]>=3 ; extra == "postgres"', "apprise; extra == 'notify'")
    here = recorded(tmp_path, GIT, requires)
    assert installation.dependencies(here) == ["httpx"]
    assert installation.dependencies(here, "postgres") == ["psycopg"]
    assert installation.commit(here) == COMMIT
    assert installation.origin(here) == "a repository at code.example"


def test_version_says_what_one_has(run: Run, tmp_path: Path) -> None:
    told = run(
        "version", "--verbose", env={"RECONCILER_JOURNAL": "postgresql+psycopg://me:hidden@db/journal"}
    )
    assert told.code == 0
    assert told.out.startswith(f"reconciler {__version__}\ndistribution: {DISTRIBUTION}\n")
    for line in (
        "installed from: a folder",
        "commit: not recorded",
        f"Python: CPython {sys.version.split()[0]}",
        "journal: PostgreSQL",
        f"  httpx {installation.versions()['httpx']}",
        f"  psycopg {installation.versions()['psycopg']}",
    ):
        assert f"\n{line}\n" in told.out
    assert "hidden" not in told.out + told.err
    assert "\njournal: SQLite, in the state folder\n" in run("version", "--verbose").out
    assert "\njournal: SQLite\n" in run("version", "--verbose", "--journal", f"sqlite:///{tmp_path}/j.db").out
    assert (
        "\njournal: unknown (the journal's URL names no file"
        in run("version", "--verbose", "--journal", "sqlite://").out
    )


READ = {"", ".md", ".py", ".yml", ".yaml", ".service", ".apply", ".drift"}
"""Ends of names of the files that are texts."""


def test_the_distribution_has_one_name_and_every_text_that_names_one_means_it() -> None:
    assert PROJECT["name"] == DISTRIBUTION != "reconciler"
    ours = re.compile(rf"{DISTRIBUTION}(\[[a-z,]+\])?")
    texts = [
        *ROOT.glob("*.md"),
        *ROOT.glob(".github/**/*"),
        *ROOT.glob(".ci/*"),
        *ROOT.glob("manifests/*.md"),
    ]
    texts += [path for path in ROOT.glob("reconciler/**/*") if "__pycache__" not in path.parts]
    for path in texts:
        if not path.is_file() or path.suffix not in READ:
            continue
        text = path.read_text(encoding="utf-8")
        for extras in re.findall(r"(?:reconciler|\{DISTRIBUTION\}|\s['\"]?\.)\[([a-z][a-z,]*)\]", text):
            assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"]), path
        # Whatever carries a version, an extra or an address as a requirement does is ours by its full name.
        for name in re.findall(
            r"(?<![\w/-])([\w-]*reconciler)(?:\[[a-z,]+\]|==|>=| @ (?:git\+)?https)", text
        ):
            assert ours.fullmatch(name), f"{path} names {name}"
        for line in re.findall(r"\b(?:pip|pipx|uv tool|uv pip) install\b([^`\n]*)", text):
            assert not re.search(r"(?<![\w./-])reconciler(?![\w./-])", line), f"{path}: {line}"
