"""What a reviewer sees besides the disks: what is allowed, and what a pull request widens, also when nothing goes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.flows.conftest import Run, manifest
from tests.flows.serving import Served

CALM = "{name: call-centre, disks: [{type: SAS, size: 20}]}"
WIDER = CALM.removesuffix("}") + ", allow_live_sessions: true}"
LIMITS = "limits: {disks: 9999}"
DRIFT = (
    "drift:\n  correct: [remove]\n  disks_per_day: 50\n"
    '  windows: [{days: [mon, tue], start: "00:00", end: "23:59", timezone: UTC}]'
)
COMMENT = Path(__file__).parent / "golden/only_widens.md"


def folders(tmp_path: Path) -> tuple[str, str]:
    """The manifests of the target branch, and those of a pull request that only widens what is allowed."""
    for name in ("base", "head"):
        (tmp_path / name).mkdir()
    manifest(tmp_path / "base", [CALM])
    manifest(tmp_path / "head", [WIDER], f"{LIMITS}\n{DRIFT}")
    return "base", "head"


def test_a_pull_request_that_only_widens_permissions_shows_each_of_them(
    run: Run, served: Served, tmp_path: Path
) -> None:
    base, head = folders(tmp_path)
    ran = run("plan", head, "--base", base, "--out-markdown", "comment.md", env=served.env)
    assert ran.code == 0, ran.err
    comment = (tmp_path / "comment.md").read_text()
    comment = re.sub(
        r"created .*?</sub>", "created …</sub>", re.sub(r"reconciler \d[\d.]*", "reconciler …", comment)
    )
    comment = comment.replace(served.url.removeprefix("http://"), "HOST")
    assert comment == COMMENT.read_text()
    assert (
        "Changed by this pull request:\n  ! limits.disks raised from 10 to 9999 (widens), at head/" in ran.out
    )


def test_the_json_lists_what_is_allowed_and_what_changes(run: Run, served: Served, tmp_path: Path) -> None:
    base, head = folders(tmp_path)
    found = json.loads(run("plan", head, "--base", base, "--format", "json", env=served.env).out)
    assert [(each["what"], each["pool"]) for each in found["allowed"]] == [
        ("limits.disks: 9999", None),
        ("drift.correct: [remove]", None),
        ("allow_live_sessions: true", "call-centre"),
    ]
    assert [each["direction"] for each in found["changed_by_base"]] == ["widens"] * 3
    assert json.loads(run("plan", base, "--format", "json", env=served.env).out)["changed_by_base"] is None


def test_without_a_difference_that_is_said(run: Run, served: Served, tmp_path: Path) -> None:
    base, _ = folders(tmp_path)
    out = run("plan", base, "--base", base, env=served.env).out
    assert (
        "Changed by this pull request:\n  No limit, permission, protection, policy or declared disk.\n" in out
    )


@pytest.mark.parametrize(("text", "place"), [(None, "nowhere"), ("version: 1\nnonsense: 2\n", "broken")])
def test_a_base_that_does_not_load_is_refused(
    run: Run, served: Served, tmp_path: Path, text: str | None, place: str
) -> None:
    _, head = folders(tmp_path)
    if text is not None:
        (tmp_path / place).mkdir()
        (tmp_path / place / "pools.yaml").write_text(text)
    ran = run("plan", head, "--base", place, env=served.env)
    assert (ran.code, ran.out) == (9, "")
    assert "the manifests of --base cannot be read, so what this change widens is not known" in ran.err
