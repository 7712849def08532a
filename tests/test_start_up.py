"""What a command imports before it does anything: start-up time without a clock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.conftest import FINANCE, bare, manifest

PLANS = {"reconciler.planning.plan", "reconciler.render.words"}
COSTLY = {
    *("asyncio", "pydantic", "yaml", "httpx", "sqlalchemy", "starlette", "uvicorn", "importlib.metadata"),
    *("rich", "jinja2", "deepdiff", "prometheus_client", "apprise", "jsonschema"),
    *("typer", "difflib", "html.entities"),
    *PLANS,
    *("reconciler.engine.apply", "reconciler.apply.context", "reconciler.planning.plan_file"),
    "reconciler.journal.records",
}
"""What takes milliseconds to import, ours included where only some commands need it."""


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        (["version"], set[str]()),
        (["--help"], set[str]()),
        (["validate", "pools.yaml"], {"pydantic", "yaml"}),
        (
            ["plan", "--sandbox", "pools.yaml"],
            {"asyncio", "pydantic", "yaml", "httpx", "starlette", *PLANS, "html.entities"},
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_imports_only_what_it_needs(line: list[str], needed: set[str], tmp_path: Path) -> None:
    manifest(tmp_path, [FINANCE])
    code = (
        f"import sys; from reconciler.cli.main import run, without_plugins; without_plugins(); code = run({line})\n"
        f"sys.stderr.flush(); sys.stdout.flush()\n"
        f"open('imported', 'w').write(' '.join(sys.modules)); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=bare(tmp_path), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set((tmp_path / "imported").read_text().split()) & COSTLY == needed


def test_a_later_pydantic_may_ask_more_of_what_looks_for_plugins() -> None:
    code = (
        "from reconciler.cli.main import without_plugins; without_plugins()\n"
        "from pydantic.plugin._loader import get_plugins; assert not get_plugins()\n"
        "from pydantic.plugin._loader import PYDANTIC_ENTRY_POINT_GROUP, get_plugins; assert not get_plugins()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_installed_package_comes_between_a_manifest_and_its_check(tmp_path: Path) -> None:
    manifest(tmp_path, [FINANCE])
    (tmp_path / "meddler.py").write_text("open('loaded', 'w').close()\nplugin = None\n")
    installed = tmp_path / "meddler-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: meddler\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[pydantic]\nmeddler = meddler:plugin\n")
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", "validate", "pools.yaml"],
        cwd=tmp_path,
        env=bare(tmp_path) | {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "loaded").exists()


@pytest.mark.parametrize(("asked", "code"), [("", 130), ("bash_complete", 1)])
def test_ctrl_c_in_the_middle_of_an_import_shows_no_traceback(tmp_path: Path, asked: str, code: int) -> None:
    """As a shell sends it that is typed on while it completes."""
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    line = {"_RECONCILER_COMPLETE": asked, "COMP_WORDS": "reconciler "}
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", *([] if asked else ["--help"])],
        cwd=tmp_path,
        env=bare(tmp_path) | {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"} | line,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")
