"""Adopting the tool is one command: manifests for live pools, whose plan is empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler import sandbox
from reconciler.sandbox import seed
from reconciler.sandbox.world import Pool
from tests.flows.conftest import Run
from tests.flows.inside import Ran
from tests.flows.serving import Served, serving

PROJECT = {"HW_REGION_NAME": sandbox.REGION, "HW_PROJECT_ID": sandbox.PROJECT_ID}
HOSTILE = (
    "../../outside",
    "/etc/passwd",
    "..",
    ".hidden",
    "-rf",
    "true",
    "12",
    "a b: {c, [d]} # e",
    "quote\" and ' and \\",
    "line\nbreak: yes",
    "\x1b[31mred\u202e",
    "財務",
    "",
    "x" * 300,
    "CON",
    "con",
)


def imported(run: Run, served: Served, *flags: str) -> Ran:
    return run("import", *flags, env=served.env | PROJECT)


def plan_is_empty(run: Run, served: Served, path: Path) -> None:
    told = run("plan", str(path), "--detailed-exitcode", env=served.env)
    assert told.code == 0, told.out + told.err
    assert "No changes." in told.out


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_plan_of_what_was_imported_is_empty(run: Run, served: Served, tmp_path: Path) -> None:
    one = imported(run, served)
    assert one.code == 0
    path = tmp_path / "all.yaml"
    path.write_text(one.out)
    plan_is_empty(run, served, path)

    many = imported(run, served, "--out", "pools")
    assert many.code == 0
    names = {pool["name"] for pool in served.world()["projects"][sandbox.PROJECT_ID]["pools"].values()}
    assert files(tmp_path / "pools") == {f"{name}.yaml" for name in names}
    assert f"Wrote {len(names)} manifests to pools" in many.err
    plan_is_empty(run, served, tmp_path / "pools")
    assert served.world()["record"] == []


def test_single_pools_are_chosen_by_name_or_id(run: Run, served: Served, tmp_path: Path) -> None:
    by_id = served.pool("call-centre")["id"]
    assert imported(run, served, "--pool", "finance-analysts", "--pool", by_id, "--out", "two").code == 0
    assert files(tmp_path / "two") == {"finance-analysts.yaml", "call-centre.yaml"}
    unknown = imported(run, served, "--pool", "finance-analysts", "--pool", "nobody", "--out", "none")
    assert (unknown.code, unknown.out) == (9, "")
    assert "there is no pool nobody" in unknown.err
    assert not (tmp_path / "none").exists()


def test_a_file_that_exists_is_kept_unless_forced(run: Run, served: Served, tmp_path: Path) -> None:
    own = tmp_path / "pools" / "call-centre.yaml"
    own.parent.mkdir()
    own.write_text("# mine\n")
    refused = imported(run, served, "--out", "pools")
    assert refused.code == 9
    assert "1 file would be overwritten: pools/call-centre.yaml" in refused.err
    assert "--force" in refused.err
    assert files(tmp_path / "pools") == {"call-centre.yaml"}
    assert own.read_text() == "# mine\n"
    assert imported(run, served, "--out", "pools", "--force").code == 0
    assert "name: call-centre" in own.read_text()


def test_namesakes_are_told_apart_by_their_ids(run: Run, tmp_path: Path) -> None:
    twins = [
        seed.pool("twin", [("SAS", 50)], 1, 1, pool_id="11111111-0000-4000-8000-000000000001"),
        seed.pool("twin", [("SSD", 60)], 1, 1, pool_id="11111111-0000-4000-8000-000000000002"),
    ]
    with serving(seed.world("twins", twins)) as served:
        assert imported(run, served, "--out", "pools").code == 0
        assert files(tmp_path / "pools") == {f"twin-{twin['id']}.yaml" for twin in twins}
        plan_is_empty(run, served, tmp_path / "pools")
        assert imported(run, served, "--pool", "twin", "--out", "again").code == 0
        assert len(files(tmp_path / "again")) == 2


@pytest.mark.parametrize("absent", [False, True], ids=["empty-list", "left-out"])
def test_a_pool_without_disks_is_declared_as_one(run: Run, tmp_path: Path, absent: bool) -> None:
    bare: Pool = seed.pool("bare", [], 2, 1)
    if absent:
        bare["behaviour"] = {"empty": "absent"}
    with serving(seed.world("bare", [bare])) as served:
        assert imported(run, served, "--out", "pools").code == 0
        text = (tmp_path / "pools" / "bare.yaml").read_text()
        assert "disks: []" in text
        assert "allow_empty: true" in text
        plan_is_empty(run, served, tmp_path / "pools")


def test_no_name_leads_out_of_the_folder_or_breaks_the_yaml(run: Run, tmp_path: Path) -> None:
    made = [
        seed.pool(name, [("SAS", 50), ("SAS", 50)], 1, 1, pool_id=f"id-{number}")
        for number, name in enumerate(HOSTILE)
    ]
    inside = tmp_path / "deep" / "pools"
    inside.parent.mkdir()
    with serving(seed.world("hostile", made)) as served:
        done = run("import", "--out", "deep/pools", env=served.env | PROJECT)
        assert done.code == 0, done.err
        assert len(files(inside)) == len(HOSTILE)
        assert {name for name in files(tmp_path) if name.endswith(".yaml")} == {
            f"deep/pools/{name}" for name in files(inside)
        }
        assert all(not Path(name).name.startswith(("-", ".")) for name in files(inside))
        plan_is_empty(run, served, inside)


def test_without_a_project_it_says_which_settings_name_one(run: Run, served: Served) -> None:
    told = run("import", env=served.env)
    assert told.code == 9
    assert "HW_PROJECT_ID" in told.err


def test_a_profile_is_the_identity_that_reads_and_stands_in_the_manifest(
    run: Run, served: Served, tmp_path: Path
) -> None:
    folder = tmp_path / ".huaweicloud"
    folder.mkdir()
    (folder / "credentials").write_text(f"[ops]\nak = {sandbox.ACCESS_KEY}\nsk = {sandbox.SECRET_KEY}\n")
    env = {"RECONCILER_ENDPOINT": served.url, "RECONCILER_IAM_ENDPOINT": served.url}
    where = ("--region", sandbox.REGION, "--project-id", sandbox.PROJECT_ID)
    out = tmp_path / "manifests"
    assert run("import", *where, "--out", str(out), env=env).code == 1  # no credentials without it
    ran = run("import", *where, "--profile", "ops", "--out", str(out), env=env)
    assert ran.code == 0, ran.err
    for file in out.iterdir():
        assert "profile: ops}" in file.read_text()
    planned = run("plan", str(out), env=env)
    assert (planned.code, "No changes." in planned.out) == (0, True)
    assert "credentials [ops]" in planned.out
