"""What GitHub Actions shows of a job that applied, or looked for drift."""

from __future__ import annotations

from pathlib import Path

from tests.flows.conftest import FINANCE, STUDIO, Run, manifest
from tests.flows.serving import Served


def test_a_job_shows_what_it_applied(run: Run, served: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE, STUDIO])
    served.pool("finance-analysts")["behaviour"] = {"delete": "fail"}
    summary = tmp_path / "summary.md"
    env = served.env | {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    applied = run("apply", str(path), "--auto-approve", "--keep-going", env=env)
    assert applied.code == 6
    page = summary.read_text(encoding="utf-8")
    assert page.startswith("## Error: Apply incomplete: 1 of 2 changes proven.")
    assert "| `finance-analysts` | failed | 0 of 1 |" in page
    assert "| `design-studio` | done | 1 of 1 |" in page
    assert "::error title=reconciler%3A failed::finance-analysts: job " in applied.err

    for flags, code in ((("--limit-disks", "0"), 3), (("--approve", "0" * 64), 4)):
        summary.write_text("")
        assert run("apply", str(path), "--auto-approve", *flags, env=env).code == code
        page = summary.read_text(encoding="utf-8")
        assert page.startswith("## Error: ")
        assert "1 to destroy" in page

    summary.write_text("")
    assert run("drift", str(path), env=env).code == 2
    page = summary.read_text(encoding="utf-8")
    assert page.startswith("## Drift in 1 of 2 pools")
    assert "| `finance-analysts` | 1 | 0 | 0 | 2400 GB |" in page
    assert run("apply", str(path), "--approve", "0" * 64, env=env).code == 4
