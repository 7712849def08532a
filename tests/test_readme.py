"""What the documents promise is what the program and the repository have: codes, flags, keys, files, links."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from click.testing import CliRunner
from markdown_it import MarkdownIt
from markdown_it.token import Token

from reconciler.cli.app import app
from reconciler.errors import ExitCode
from reconciler.manifest.policy import read_policy
from reconciler.manifest.policy_schema import policy_schema
from reconciler.manifest.schema import json_schema

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "manifests/README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "manifests/README.md",
    ROOT / "tests/benchmarks/README.md",
    *sorted((ROOT / ".github").glob("*.md")),
]
PARTS = {
    "The document": "",
    "`target`": "TargetEntry",
    "`pools[]`": "PoolEntry",
    "`backup`": "BackupEntry",
    "`disks[]`": "DiskEntry",
    "`announce`": "AnnounceEntry",
    "`defaults`": "DefaultsEntry",
    "`limits`": "LimitsEntry",
    "`drift`": "DriftEntry",
    "`windows[]`": "WindowEntry",
}
"""Headings of the manifest reference, with the part of the JSON Schema that each describes."""


def named(path: Path) -> str:
    """A document as test ids name it."""
    return str(path.relative_to(ROOT))


def section(heading: str, text: str = README) -> str:
    """The text below a heading, up to the next one of its level."""
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def tokens(path: Path) -> Iterator[Token]:
    """Every token of a document, also those inside a line."""
    for token in MarkdownIt("gfm-like").parse(path.read_text(encoding="utf-8")):
        yield token
        yield from token.children or ()


def links(path: Path) -> Iterator[str]:
    """Where a document points to: links and pictures."""
    for token in tokens(path):
        target = token.attrGet("href") or token.attrGet("src")
        if target:
            yield str(target)


def anchors(path: Path) -> set[str]:
    """The anchors that a platform gives to the headings of a document."""
    found = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it."""
    yield path, command
    for name in getattr(command, "commands", {}):
        yield from commands(command.get_command(None, name), (*path, name))


COMMANDS = dict(commands(app))
OPTIONS: dict[tuple[str, ...], set[str]] = {
    path: {flag for each in command.params for flag in each.opts if flag.startswith("--")}
    for path, command in COMMANDS.items()
}


def test_the_list_of_commands_has_every_file_of_a_command_and_fits_a_terminal_of_80_columns() -> None:
    files = {each.stem.rstrip("_") for each in (ROOT / "reconciler/cli").glob("*.py")}
    assert {path[0] for path in COMMANDS if path} <= files
    listed = subprocess.run(
        [sys.executable, "-m", "reconciler", "--help"], capture_output=True, text=True, check=True
    )
    shown = dict(re.findall(r"^  (\w+) +(\S.*)$", listed.stdout.split("Commands:\n")[1], re.M))
    assert set(shown) == {path[0] for path in COMMANDS if path}
    assert all(line.endswith(".") for line in shown.values()), "cut, or wrapped"


def test_the_list_of_commands_imports_none_of_them() -> None:
    code = (
        "import sys; from reconciler.cli.main import run; run(['--help'])\n"
        "sys.exit(sum(each in sys.modules for each in ('pydantic', 'httpx', 'sqlalchemy', 'yaml')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_the_exit_codes_of_the_readme_are_those_of_the_program() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \|", section("Exit codes"), re.M)
    listed = [int(code) for row in rows for code in row.split(",")]
    assert listed == [int(code) for code in ExitCode]


def test_every_flag_the_readme_names_is_one_of_the_program() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", README))
    every = set[str]().union(*OPTIONS.values())
    starts = {flag for flag in named if f"{flag}-…" in README}
    assert named
    assert {flag for flag in named - starts if flag not in every} == set()
    assert all(any(option.startswith(f"{flag}-") for option in every) for flag in starts)


def test_every_flag_of_the_program_is_one_that_the_readme_names() -> None:
    every = set[str]().union(*OPTIONS.values())
    assert {flag for flag in every if not re.search(rf"(?<![\w-]){flag}(?![\w-])", README)} == set()


def test_every_setting_that_the_code_reads_and_every_key_of_the_credentials_file_is_in_the_readme() -> None:
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "reconciler").rglob("*.py")
        if not {"sandbox", "scaffolds"} & set(path.parts)
    )
    names = set(re.findall(r'"((?:RECONCILER|HUAWEICLOUD|HW|OS|HC)_[A-Z_]*[A-Z])"', code))
    assert len(names) > 40
    assert {name for name in names if not re.search(rf"(?<![A-Z_]){name}(?![A-Z_])", README)} == set()
    keys = re.findall(r"found\.get\(section, name.*?for name in \((.*?)\)\)", code)[0].replace('"', "")
    assert {key for key in (*keys.split(", "), "project_id") if f"`{key}`" not in README} == set()


def test_no_flag_has_a_variable_of_its_own() -> None:
    """A variable left behind must never approve or widen: the settings of the README are read by name."""
    assert {
        (*path, each.name): each.envvar
        for path, command in COMMANDS.items()
        for each in command.params
        if getattr(each, "envvar", None)
    } == {}
    made = [command.make_context("x", [], resilient_parsing=True) for command in COMMANDS.values()]
    assert {context.auto_envvar_prefix for context in made} == {None}


def test_every_message_of_the_troubleshooting_is_one_of_the_program() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "reconciler").rglob("*.py"))
    rows = re.findall(r"^\| `([^`]+)`", section("When something goes wrong").split("### By message")[1], re.M)
    assert len(rows) > 10
    for row in rows:
        assert all(part.strip() in code for part in row.split("…")), row
        assert max(map(len, row.split("…"))) > 10, f"{row}: too short to be found by"


@pytest.mark.parametrize("path", sorted(COMMANDS), ids=" ".join)
def test_the_help_of_a_command_tells_each_flag_that_the_readme_names(path: tuple[str, ...]) -> None:
    listed = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}).output
    for flag in OPTIONS[path]:
        assert flag not in README or re.search(rf"(?<![\w-]){flag}(?![\w-])", listed), flag


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_command_line_of_a_document_is_a_command_with_flags_of_its_own(document: Path) -> None:
    lines = re.findall(r"(?:`|bin/)reconciler ([^`\n]*)", document.read_text(encoding="utf-8"))
    assert lines or document.parent.name in (".github", "benchmarks")
    for line in lines:
        words = line.replace("|", " ").split()
        path: tuple[str, ...] = ()
        while words and (*path, words[0]) in COMMANDS:
            path = (*path, words.pop(0))
        flags = {word for word in words if word.startswith("--") and not word.endswith("-…")}
        if (path, words) == ((), ["--help"]):  # that of the program as a whole
            continue
        assert path, line
        assert flags <= OPTIONS[path], line


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    for target in links(document):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        path, _, anchor = unquote(target).partition("#")
        there = (document.parent / path) if path else document
        assert there.exists(), target
        assert there.resolve().is_relative_to(ROOT), target
        assert not anchor or anchor in anchors(there), target


def test_the_contents_of_the_readme_name_every_section() -> None:
    contents = README.split("\n## ", 1)[0]
    headings = re.findall(r"^## (.+)$", README, re.M)
    assert headings
    assert [heading for heading in headings if f"[{heading}](#" not in contents] == []


def test_every_rule_of_the_guards_in_the_readme_is_one_of_the_program() -> None:
    rules = re.findall(r"`([a-z-]+)`", "\n".join(re.findall(r"^\| (`.+?) \|", section("Guards"), re.M)))
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "reconciler").rglob("*.py"))
    limits = {
        f"limit-{name.replace('_', '-')}" for name in json_schema()["$defs"]["LimitsEntry"]["properties"]
    }
    assert limits <= set(rules)
    assert [rule for rule in rules if rule not in limits and f'"{rule}"' not in code] == []


@pytest.mark.parametrize("heading", PARTS)
def test_the_manifest_reference_has_every_key_and_no_other(heading: str) -> None:
    schema = json_schema()
    part = schema["$defs"][PARTS[heading]] if PARTS[heading] else schema
    keys = re.findall(r"^\| `(\w+)` \|", section(heading, REFERENCE), re.M)
    assert sorted(keys) == sorted(part["properties"])


def test_the_manifest_reference_describes_every_part_of_a_manifest() -> None:
    assert set(PARTS.values()) - {""} == set(json_schema()["$defs"])


def test_the_readme_has_every_key_of_a_policy_and_an_example_of_what_can_be_fulfilled() -> None:
    text = section("The policy")
    assert re.findall(r"^\| `(\w+)` \|", text, re.M) == list(policy_schema()["properties"])
    shown = text.split("<!-- policy example -->\n```yaml\n", 1)[1].split("```", 1)[0]
    file = ROOT / "manifests/policy.yaml.example"
    lines = file.read_text(encoding="utf-8").splitlines()
    assert shown.splitlines() == [line for line in lines if not line.startswith("#")]
    assert read_policy(file).approvals
    assert set(yaml.safe_load(shown)) == set(policy_schema()["properties"]) - {"require"}


def test_the_hooks_before_a_commit_are_programs_of_this_environment() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [each["repo"] for each in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    programs = {hook["entry"].split()[0] for hook in hooks}
    assert programs == {"ruff", "mypy", "reconciler"}
    assert all(shutil.which(each, path=str(Path(sys.executable).parent)) for each in programs)


@pytest.mark.parametrize(
    ("schema", "names"),
    [("github-issue-forms", ["bug.yml", "feature.yml"]), ("github-issue-config", ["config.yml"])],
)
def test_the_templates_of_issues_are_what_the_platform_reads(schema: str, names: list[str]) -> None:
    folder = ROOT / ".github/ISSUE_TEMPLATE"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    files = [str(folder / name) for name in names]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_licence_text_and_the_mark_of_types_go_into_the_package() -> None:
    [licence] = PROJECT["project"]["license-files"]
    assert "Apache License" in (ROOT / licence).read_text(encoding="utf-8")
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert (ROOT / "reconciler/py.typed").exists()
    # Beside an SPDX expression, a classifier of the licence is an error at upload.
    assert not [each for each in PROJECT["project"]["classifiers"] if each.startswith("License ::")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=named)
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    # Code files are named from the package, all others from the top.
    names = {token.content for token in tokens(document) if token.type == "code_inline"}
    from_top = {
        each for each in names if re.match(r"(reconciler|tests|manifests|\.ci|\.github)/[\w./-]*$", each)
    }
    from_package = {each for each in names - from_top if re.match(r"\w+/[\w/]+\.py$", each)}
    made = {"manifests/reconciler.schema.json"}
    assert {each for each in from_top - made if not (ROOT / each).exists()} == set()
    assert {each for each in from_package if not (ROOT / "reconciler" / each).exists()} == set()


def test_the_layers_of_the_architecture_are_those_that_are_enforced() -> None:
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    [enforced] = [each["layers"] for each in contracts if each["type"] == "layers"]
    text = (ROOT / ".github/ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \|", section("The layers", text), re.M)
    assert [set(re.findall(r"`(\w+)`", row)) for row in rows] == [
        set(re.findall(r"\w+", layer)) for layer in enforced
    ]
