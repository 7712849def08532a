"""Two sandboxes are never taken for one another, and every screen about one says so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.flows.conftest import FINANCE, Run, manifest

BANNER = re.compile(
    r"^SANDBOX \((default-[0-9a-f]{8})\): a simulated service; nothing real is touched\.$", re.M
)


def name_of(text: str) -> str:
    """Which sandbox a screen is about; it says so once."""
    [name] = BANNER.findall(text)
    return str(name)


def test_a_plan_of_one_sandbox_is_refused_by_the_other(run: Run, tmp_path: Path) -> None:
    path, plan = str(manifest(tmp_path, [FINANCE])), str(tmp_path / "plan.bin")
    other = {"RECONCILER_STATE_FOLDER": str(tmp_path / "other")}
    planned = run("plan", "--sandbox", path, "--out", plan)
    refused = run("apply", "--sandbox", plan, env=other)
    assert refused.code == 4
    assert f"sandbox:{name_of(planned.out)} → sandbox:default-" in refused.err
    digest = re.findall("Digest: ([0-9a-f]{64})", planned.out)
    assert run("apply", "--sandbox", path, "--approve", *digest, env=other).code == 4
    assert json.loads(run("sandbox", "state", env=other).out)["record"] == []
    assert run("apply", "--sandbox", plan).code == 0


def test_a_sandbox_keeps_its_name_whatever_path_leads_to_it(run: Run, tmp_path: Path) -> None:
    path = str(manifest(tmp_path, [FINANCE]))
    first = name_of(run("plan", "--sandbox", path).out)
    assert run("apply", "--sandbox", "--auto-approve", path).code == 0
    (tmp_path / "link").symlink_to(tmp_path / "state")
    for folder in ("link", "./state", "state/../state"):
        again = run("plan", "--sandbox", path, env={"RECONCILER_STATE_FOLDER": folder}, cwd=tmp_path)
        assert name_of(again.out) == first


@pytest.mark.parametrize(
    "command",
    [
        ("plan", "PATH"),
        ("explain", "finance-analysts", "PATH"),
        ("drift", "PATH"),
        ("history",),
        ("history", "show", "RUN"),
        ("import",),
        ("import", "--out", "made"),
        ("report", "--out", "report.html"),
    ],
    ids=" ".join,
)
def test_every_screen_of_a_sandbox_says_so(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    path = str(manifest(tmp_path, [FINANCE]))
    assert run("apply", "--sandbox", "--auto-approve", path).code == 0
    [done] = json.loads(run("history", "--sandbox", "--format", "json").out)["runs"]
    words = [each.replace("PATH", path).replace("RUN", done["id"]) for each in command]
    shown = run(*words, "--sandbox")
    assert shown.code == 0, shown.err
    assert name_of(shown.out + shown.err) == name_of(run("plan", path, "--sandbox").out)


def test_a_report_of_a_sandbox_says_so_on_its_page_before_anything_has_happened(
    run: Run, tmp_path: Path
) -> None:
    assert run("report", "--sandbox", "--out", "report.html").code == 0
    assert "SANDBOX (<bdi>default-" in (tmp_path / "report.html").read_text()


def test_a_journal_of_a_sandbox_is_known_without_the_flag(run: Run, tmp_path: Path) -> None:
    path = str(manifest(tmp_path, [FINANCE]))
    journal = ("--journal", f"sqlite:///{tmp_path}/journal.db")
    assert run("apply", "--sandbox", "--auto-approve", path, *journal).code == 0
    assert name_of(run("history", *journal).out)


def test_resolve_says_that_it_is_a_sandbox(run: Run) -> None:
    resolved = run("resolve", "--sandbox")
    assert (resolved.code, resolved.out.startswith("SANDBOX (default-")) == (0, True)
