"""A policy through the whole command line: it is in every plan, binds every apply, and never goes missing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler import sandbox
from reconciler.manifest.policy_schema import policy_schema
from tests.flows.conftest import FINANCE, STUDIO, Run, manifest
from tests.flows.serving import Served
from tests.flows.skipping import TIME

TARGET = f"{sandbox.REGION}/{sandbox.PROJECT_ID}"
WRITERS = ("plan", "apply", "drift", "watch", "explain", "resolve")
"""The commands that take a policy."""


def policy(folder: Path, *lines: str, name: str = "policy.yaml") -> Path:
    path = folder / name
    path.write_text("\n".join(("version: 1", *lines, "")), encoding="utf-8")
    return path


def rules(out: str) -> list[str]:
    return [each["rule"] for each in json.loads(out)["findings"]]


def test_a_plan_carries_the_policy_and_its_ceilings_hold_over_manifest_and_flag(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path = manifest(tmp_path, [FINANCE, STUDIO], "limits: {disks: 9999, share_of_pool: 100%}")
    rule = policy(tmp_path, "ceilings: {disks: 1, share_of_run: 1%}")
    planned = run(
        *("plan", str(path), "--limit-disks", "9999", "--format", "json"),
        "--policy",
        str(rule),
        env=served.env,
    )
    assert planned.code == 3
    document = json.loads(planned.out)
    assert document["policy"] == {
        "file": str(rule),
        "digest": hashlib.sha256(rule.read_bytes()).hexdigest(),
        "approvals": 0,
    }
    assert document["limits"]["disks"] == {"value": 1, "source": f"{rule}:2:19"}
    assert rules(planned.out) == ["limit-disks", "limit-share-of-run"]
    shown = run("plan", str(path), "--policy", str(rule), env=served.env)
    assert f"Policy: {rule} (sha256 {document['policy']['digest']})." in shown.out
    refused = run("apply", str(path), "--policy", str(rule), "--auto-approve", env=served.env)
    assert refused.code == 3
    assert served.posts() == []


def test_limits_in_percent_hold_by_manifest_and_by_flag(run: Run, served: Served, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE], "limits: {share_of_pool: 10%}")
    planned = run("plan", str(path), env=served.env)
    assert planned.code == 3
    assert "limit-share-of-pool: 1 of 3 disks of finance-analysts (34 %) would be destroyed" in planned.out
    assert f"set at:   {path}:3:25" in planned.out
    assert run("apply", str(path), "--auto-approve", env=served.env).code == 3
    for wrong in ("101%", "half", "-1"):
        ran = run("plan", str(path), f"--limit-share-of-pool={wrong}", env=served.env)
        assert (ran.code, "is not whole percent" in ran.err) == (9, True)
    allowed = run("plan", str(path), "--limit-share-of-pool", "34%", "--format", "json", env=served.env)
    assert allowed.code == 0
    digest = json.loads(allowed.out)["digest"]
    asked = ("--limit-share-of-pool", "34", "--approve", digest)
    assert run("apply", str(path), *asked, env=served.env).code == 0
    assert len(served.posts()) == 1


@pytest.mark.parametrize(
    ("lines", "rule"),
    [
        (["targets: [eu-west-0/ffffffffffffffffffffffffffffffff]"], "policy-target"),
        (["protect: {pools: ['finance-*']}"], "policy-protect"),
        (["forbid: [allow_live_sessions]"], "policy-forbid"),
        (["require: {backup: 24h}"], "backup"),
    ],
    ids=["target", "protect", "forbid", "require"],
)
def test_what_a_policy_forbids_is_a_finding_of_the_plan_and_is_never_sent(
    run: Run, served: Served, tmp_path: Path, lines: list[str], rule: str
) -> None:
    path = manifest(tmp_path, [FINANCE], "defaults: {allow_live_sessions: true}")
    given = policy(tmp_path, *lines)
    planned = run("plan", str(path), "--policy", str(given), "--format", "json", env=served.env)
    assert (planned.code, rules(planned.out)) == (3, [rule])
    [found] = json.loads(planned.out)["findings"]
    assert found["source"].startswith(f"{given}:2:")
    assert str(given) in found["allow"]
    explained = run("explain", "finance-analysts", str(path), "--policy", str(given), env=served.env)
    assert explained.code == 3
    assert f"NO {rule}" in explained.out
    assert f"Policy: {given} (sha256" in explained.out
    applied = run("apply", str(path), "--policy", str(given), "--auto-approve", env=served.env)
    assert applied.code == 3
    assert served.posts() == []


def test_outside_its_windows_a_plan_is_made_and_an_apply_refused(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path, saved = manifest(tmp_path, [FINANCE]), tmp_path / "plan.bin"
    # A window of one minute on the day after tomorrow of whatever day it is.
    day = f"{TIME.now() + timedelta(days=2):%a}".lower()
    given = policy(tmp_path, f"windows: [{{days: [{day}], start: '03:00', end: '03:01', timezone: UTC}}]")
    planned = run("plan", str(path), "--policy", str(given), "--out", str(saved), env=served.env)
    assert planned.code == 0
    assert "policy-window: an apply may begin in a window of the policy" in planned.out
    for asked in ([str(path), "--auto-approve"], [str(saved)]):
        refused = run("apply", *asked, "--policy", str(given), env=served.env)
        assert refused.code == 3, refused.err
        assert "Blocked by 1 finding" in refused.out
    assert served.posts() == []


def test_a_plan_file_is_applied_only_under_the_policy_it_was_made_under(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path = manifest(tmp_path, [FINANCE])
    one = policy(tmp_path, "ceilings: {disks: 20}", name="one.yaml")
    other = policy(tmp_path, "ceilings: {disks: 21}", name="other.yaml")
    with_one, without = tmp_path / "with.plan", tmp_path / "without.plan"
    assert run("plan", str(path), "--policy", str(one), "--out", str(with_one), env=served.env).code == 0
    assert run("plan", str(path), "--out", str(without), env=served.env).code == 0
    for saved, flags in (
        (with_one, ["--policy", str(other)]),
        (with_one, []),
        (without, ["--policy", str(one)]),
    ):
        refused = run("apply", str(saved), *flags, env=served.env)
        assert refused.code == 4, refused.err
        assert "the plan was made " in refused.err
        assert "--policy" in refused.err
    digest = json.loads(run("show", str(with_one), "--format", "json").out)["digest"]
    assert run("apply", str(path), "--approve", digest, env=served.env).code == 4
    assert served.posts() == []
    assert run("apply", str(with_one), env=served.env | {"RECONCILER_POLICY": str(one)}).code == 0


def _command(name: str, path: Path) -> Sequence[str]:
    return {
        "explain": ("explain", "finance-analysts", str(path)),
        "apply": ("apply", str(path), "--auto-approve"),
        "drift": ("drift", str(path), "--correct"),
        "watch": ("watch", str(path), "--correct"),
        "resolve": ("resolve",),
    }.get(name, (name, str(path)))


@pytest.mark.parametrize("name", WRITERS)
def test_a_policy_that_cannot_be_read_refuses_everything(
    run: Run, served: Served, tmp_path: Path, name: str
) -> None:
    command = _command(name, manifest(tmp_path, [FINANCE]))
    broken = policy(tmp_path, "forbid: everything")
    flagged = run(*command, "--policy", str(broken), env=served.env)
    assert flagged.code == 9, flagged.err
    assert f"{broken}:2:9: forbid: 'everything' is not accepted" in flagged.err
    missing = run(*command, env=served.env | {"RECONCILER_POLICY": "none.yaml"})
    assert (missing.code, "none.yaml: no such file" in missing.err) == (9, True)
    empty = run(*command, env=served.env | {"RECONCILER_POLICY": ""})
    assert (empty.code, "RECONCILER_POLICY is set but empty" in empty.err) == (9, True)
    assert served.posts() == []


def test_the_environments_policy_cannot_be_replaced_by_a_flag(
    run: Run, served: Served, tmp_path: Path
) -> None:
    path = manifest(tmp_path, [FINANCE])
    strict, loose = policy(tmp_path, "protect: {pools: ['*']}"), policy(tmp_path, name="loose.yaml")
    env = served.env | {"RECONCILER_POLICY": str(strict)}
    refused = run("apply", str(path), "--auto-approve", "--policy", str(loose), env=env)
    assert (refused.code, "name two policies" in refused.err) == (9, True)
    assert run("plan", str(path), "--policy", str(strict), env=env).code == 3
    assert served.posts() == []


def test_a_drift_policy_corrects_nothing_that_the_policy_leaves_to_people(
    run: Run, served: Served, tmp_path: Path
) -> None:
    head = (
        "drift: {correct: [remove], disks_per_day: 9, windows: "
        "[{days: [mon, tue, wed, thu, fri, sat, sun], start: '00:00', end: '23:59', timezone: UTC}]}"
    )
    path = manifest(tmp_path, [FINANCE], head)
    (tmp_path / "allowed_signers").write_text("", encoding="utf-8")
    for line, rule in (
        ("forbid: [remediation]", "policy-forbid"),
        ("approvals: {required: 1, signers: allowed_signers}", "policy-approvals"),
    ):
        given = policy(tmp_path, line)
        ran = run(
            *("drift", str(path), "--correct", "--policy", str(given), "--format", "json"), env=served.env
        )
        assert ran.code == 2, ran.err
        assert rule in [each["rule"] for each in json.loads(ran.out)["not_corrected"]]
    assert served.posts() == []


def test_the_journal_keeps_the_way_of_approval_and_the_policy(
    run: Run, served: Served, tmp_path: Path
) -> None:
    given, saved = policy(tmp_path), tmp_path / "plan.bin"
    digest = hashlib.sha256(given.read_bytes()).hexdigest()
    env = served.env | {"RECONCILER_POLICY": str(given)}
    one, other = manifest(tmp_path, [FINANCE]), manifest(tmp_path, [STUDIO], name="b.yaml")
    assert run("apply", str(one), "--auto-approve", env=env).code == 0
    assert run("plan", str(other), "--out", str(saved), env=env).code == 0
    planned = json.loads(run("show", str(saved), "--format", "json").out)["digest"]
    # Both together: the file says what, the digest that this very plan was reviewed.
    assert run("apply", str(saved), "--approve", "0" * 64, env=env).code == 4
    assert run("apply", str(saved), "--approve", planned, env=env).code == 0
    kept = json.loads(run("history", "--format", "json", env=env).out)["runs"]
    ways = [(each["approved"] and each["approved"]["way"], each["policy"]) for each in kept]
    assert ways == [("plan-file", digest), (None, ""), ("auto-approve", digest)]
    shown = run("history", "show", kept[0]["id"], env=env).out
    assert "  approved  plan-file\n" in shown
    assert f"  policy    {digest}\n" in shown


def test_resolve_leaves_a_target_alone_that_the_policy_does_not_allow(
    run: Run, served: Served, tmp_path: Path
) -> None:
    given = policy(tmp_path, "targets: [eu-west-0/ffffffffffffffffffffffffffffffff]")
    place = ("--region", sandbox.REGION, "--project-id", sandbox.PROJECT_ID)
    refused = run("resolve", *place, "--policy", str(given), env=served.env)
    assert (refused.code, f"the policy does not allow the target {TARGET}" in refused.err) == (3, True)
    allowed = policy(tmp_path, f"targets: [{TARGET}]")
    assert run("resolve", *place, "--policy", str(allowed), env=served.env).code == 0


def test_the_schema_of_a_policy_is_published(run: Run) -> None:
    assert json.loads(run("schema", "--policy").out) == policy_schema()
