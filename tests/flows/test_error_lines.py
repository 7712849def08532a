"""However an apply ends: ``Error:`` begins a line where it was refused or partial, and none where it went well."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.sandbox import PROJECT_ID, REGION
from tests.flows.conftest import FINANCE, STUDIO, Run, manifest
from tests.flows.serving import Served
from tests.flows.test_open_operations import HOUR, left_open
from tests.render.test_conventions import APPLIED, FAIL

ENDINGS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("done", 0, ()),
    ("nothing to do", 0, ()),
    ("only marked", 0, ("--mark",)),
    ("wrong key", 1, ()),
    ("a limit", 3, ("--limit-disks", "0")),
    ("nobody approves", 3, ()),
    ("another digest", 4, ("--approve", "0" * 64)),
    ("held", 5, ()),
    ("a job fails", 6, ("--keep-going",)),
    ("a job is partial", 6, ()),
    ("an alarm", 6, ()),
    ("not followed", 8, ("--no-wait",)),
    ("no such pool", 9, ("--pool", "nobody")),
    ("no journal", 10, ("--journal", "sqlite:////proc/journal.db")),
)


@pytest.mark.parametrize(("ending", "code", "flags"), ENDINGS, ids=[ending for ending, *_ in ENDINGS])
def test_an_apply_that_did_not_go_well_has_a_line_that_begins_with_error(
    run: Run, served: Served, tmp_path: Path, ending: str, code: int, flags: tuple[str, ...]
) -> None:
    url = f"sqlite:///{tmp_path}/journal.db"
    env = served.env | {"RECONCILER_JOURNAL": url}
    pools = {"nothing to do": [], "a job fails": [FINANCE, STUDIO]}.get(ending, [FINANCE])
    match ending:
        case "nothing to do":
            where = ("--region", REGION, "--project-id", PROJECT_ID)
            assert run("import", "--out", "live", *where, env=env).code == 0
        case "wrong key":
            env |= {"HUAWEICLOUD_SDK_SK": "0" * 40}
        case "held" | "an alarm":
            left_open(served, url, HOUR if ending == "held" else 0.0)
        case "a job fails":
            served.pool("finance-analysts")["behaviour"] = {"delete": "fail"}
        case "a job is partial":
            served.pool("finance-analysts")["behaviour"] = {"delete": "partial"}
    path = manifest(tmp_path, pools) if pools else tmp_path / "live"
    approved = () if ending in ("nobody approves", "only marked", "another digest") else ("--auto-approve",)
    ran = run("apply", str(path), *approved, *flags, env=env)
    assert ran.code == code, ran.out + ran.err
    assert bool(FAIL.search(ran.out + ran.err)) is bool(code), ran.out + ran.err
    assert bool(APPLIED.search(ran.out + ran.err)) is not bool(code), ran.out + ran.err
    if served.posts() and code:  # whoever reads the result alone reads it there as well
        assert FAIL.search(ran.out), ran.out
