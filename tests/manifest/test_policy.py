"""A policy is read as strictly as a manifest: every fault with its place, and none of it passes in silence."""

from __future__ import annotations

import hashlib
import os
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.errors import BadInput, ExitCode
from reconciler.manifest.policy import read_policy
from reconciler.manifest.policy_schema import CeilingsEntry, PolicyEntry, RequireEntry, policy_schema
from reconciler.manifest.schema import LimitsEntry
from reconciler.model import Grant, Limit, Limits, Policy, Position, Window
from tests.builders import TARGET

WHOLE = """version: 1
targets: [ap-southeast-3/0123456789abcdef0123456789abcdef]
ceilings: {disks: 20, copies: 200, pools: 10, gigabytes: 20000, users: 100, share_of_pool: 50%, share_of_run: 10%}
forbid: [allow_empty, allow_live_sessions, on_tie, replace, remediation, retry]
require: {grace: 3d, backup: 24h, announce: 2d}
windows: [{days: [tue, wed], start: "20:00", end: "23:00", timezone: Asia/Bangkok}]
approvals: {required: 2, signers: allowed_signers, max_age: 24h}
protect: {pools: ["finance-*"], disks: [305d3c76-199f-4407-8d82-2a42d970595e]}
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "policy.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def faults(path: Path) -> list[str]:
    with pytest.raises(BadInput) as caught:
        read_policy(path)
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    assert caught.value.message.startswith("the policy cannot be used")
    return [str(each).replace(f"{path.parent}/", "") for each in caught.value.faults]


def test_every_key_arrives_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, WHOLE)
    found = read_policy(path)
    assert found.file == str(path)
    assert found.digest == hashlib.sha256(WHOLE.encode()).hexdigest()
    assert found.targets is not None
    assert [(each.value, each.at.line, each.at.column) for each in found.targets] == [(str(TARGET), 2, 11)]
    assert found.ceilings.disks == Limit(20, f"{path}:3:19", ceiling=True)
    assert {name: limit.value for name, limit in found.ceilings.items()} == {
        **{"disks": 20, "copies": 200, "pools": 10, "gigabytes": 20000, "users": 100},
        **{"share_of_pool": 50, "share_of_run": 10},
    }
    assert [each.value for each in found.forbid] == list(Grant)
    assert found.forbid[1].at == Position(str(path), 4, 23)
    assert [each.value for each in found.require] == ["announce: 2d", "backup: 24h", "grace: 3d"]
    assert found.require[2].at == Position(str(path), 5, 18)
    assert found.grace == timedelta(days=3)
    assert found.backup
    assert (found.backup.within, found.backup.at) == (timedelta(hours=24), Position(str(path), 5, 30))
    assert found.windows == (
        Window(("tue", "wed"), "20:00", "23:00", "Asia/Bangkok", Position(str(path), 6, 11)),
    )
    rule = found.approvals
    assert rule is not None
    assert (rule.required, rule.signers) == (2, str(tmp_path / "allowed_signers"))
    assert (rule.max_age, rule.at) == (timedelta(hours=24), Position(str(path), 7, 12))
    assert [each.value for each in found.protect_pools] == ["finance-*"]
    assert [each.value for each in found.protect_disks] == ["305d3c76-199f-4407-8d82-2a42d970595e"]


def test_what_is_left_out_demands_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, "version: 1\n")
    found = read_policy(path)
    assert found == Policy(str(path), found.digest)
    assert {limit.value for _, limit in found.ceilings.items()} == {None}


def test_an_absolute_path_of_signers_stays(tmp_path: Path) -> None:
    text = "version: 1\napprovals: {required: 1, signers: /etc/reconciler/allowed_signers}\n"
    rule = read_policy(written(tmp_path, text)).approvals
    assert rule is not None
    assert (rule.signers, rule.max_age) == ("/etc/reconciler/allowed_signers", None)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "policy.yaml: the file is empty; write at least version: 1"),
        ("7\n", "policy.yaml:1:1: not a policy; write a mapping with version: 1 and what it demands"),
        ("version: 2\n", "1:10: version: 2 is unknown; write version: 1"),
        ("forbid: []\n", "1:1: 'version' is missing; write version: 1"),
        ("version: 1\nforbidden: []\n", "2:1: unknown key 'forbidden'; did you mean 'forbid'?"),
        (
            "version: 1\nforbid: [allow_emty]\n",
            "2:10: forbid entry: 'allow_emty' is unknown; write allow_empty,",
        ),
        ("version: 1\nforbid: [on_tie, on_tie]\n", "2:18: 'on_tie' is listed twice; keep one"),
        ("version: 1\ntargets: []\n", "2:10: targets: must not be empty; write a list such as"),
        ("version: 1\ntargets: [ap-southeast-3]\n", "2:11: targets entry: 'ap-southeast-3' is not accepted;"),
        ("version: 1\nceilings: {disks: -1}\n", "2:19: disks: -1 is too small; write 0 or more"),
        ("version: 1\nceilings: {disks: 50%}\n", "2:19: disks: '50%' is not accepted; write a whole number"),
        ("version: 1\nceilings: {share_of_pool: 50}\n", "2:27: share_of_pool: 50 has no percent sign; write"),
        ("version: 1\nceilings: {share_of_run: 101%}\n", "2:26: share_of_run: '101%' is not accepted; write"),
        ("version: 1\nceilings: {share_of_run: 1.5%}\n", "2:26: share_of_run: '1.5%' is not accepted; write"),
        ("version: 1\nrequired: 2\n", "2:1: unknown key 'required'; did you mean 'require'?"),
        (
            "version: 1\nrequire: {grace: 3 days}\n",
            "2:18: grace: '3 days' is not accepted; write a number with",
        ),
        ("version: 1\nwindows: []\n", "2:10: windows: must not be empty; write a list such as"),
        (
            "version: 1\nwindows: [{days: [tue], start: '20:00', end: '20:00', timezone: UTC}]\n",
            "2:46: end: equal to start (20:00), so the window never opens; write a different time",
        ),
        (
            "version: 1\nwindows: [{days: [tue], start: '20:00', end: '21:00', timezone: Bangkok}]\n",
            "2:65: timezone: 'Bangkok' is unknown; write an IANA name",
        ),
        *(
            (
                f"version: 1\nrequire: {{grace: {grace}}}\n",
                f"2:18: grace: '{grace}' is not accepted; write a number",
            )
            for grace in ("0d", "-3d", "366d")
        ),
        ("version: 1\nrequire: {backup: 24}\n", "2:19: backup: 24 has no unit; write a number with"),
        *(
            (
                f"version: 1\nrequire: {{announce: {announce}}}\n",
                f"2:21: announce: {announce} is not accepted; write true, or how long before a removal, from 1s",
            )
            for announce in ("false", "'0h'", "'366d'")
        ),
        ("version: 1\napprovals: {required: 2}\n", "2:12: 'signers' is missing; write the path of an"),
        (
            "version: 1\napprovals: {required: 0, signers: x}\n",
            "2:23: required: 0 is too small; write 1 or more",
        ),
        ("version: 1\napprovals: {required: true, signers: x}\n", "2:23: required: true is not accepted;"),
        ("version: 1\nprotect: {pools: [7]}\n", "2:19: pools entry: 7 is not text; write it in quotes"),
        (
            "version: 1\nprotect: {disks: [a b]}\n",
            "2:19: disks entry: 'a b' is not accepted; write a disk's id",
        ),
        ("version: 1\npassword: x\n", "2:1: 'password' is not allowed in a policy; put credentials into"),
        ("version: 1\n---\nversion: 1\n", "3:1: a policy is one document; write everything into the first"),
        ("version: 1\nversion: 1\n", "2:1: duplicate key 'version'; it is already set at"),
        ("version: 1\nforbid: &a []\n", "2:9: anchors ('&name') are not allowed; write each value out"),
        (b"version: 1 # \xff\n", "1:14: not UTF-8; save the file as UTF-8"),
    ],
)
def test_every_fault_is_named_with_its_place(tmp_path: Path, text: str | bytes, fault: str) -> None:
    [found] = faults(written(tmp_path, text))
    assert fault in found


def test_a_policy_that_cannot_be_read_is_an_error_and_never_no_policy(tmp_path: Path) -> None:
    assert faults(tmp_path / "none.yaml") == ["none.yaml: no such file or directory; check the path"]
    assert "not a regular file" in faults(tmp_path)[0]
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in faults(tmp_path / "pipe")[0]


def test_limits_and_ceilings_have_the_same_names_and_every_grant_can_be_forbidden() -> None:
    names = [name for name, _ in Limits().items()]
    assert list(CeilingsEntry.model_fields) == list(LimitsEntry.model_fields) == names
    assert policy_schema()["properties"]["forbid"]["items"]["enum"] == list(Grant)
    assert set(RequireEntry.model_fields) == {"grace", "backup", "announce"}


def test_the_schema_describes_every_key_and_allows_no_other() -> None:
    schema = policy_schema()
    assert schema["required"] == ["version"]
    for name, part in {"PolicyEntry": schema, **schema["$defs"]}.items():
        assert part["additionalProperties"] is False, name
        assert part["description"], name
        for key, value in part["properties"].items():
            assert "description" in value or "$ref" in value, (name, key)
    assert set(schema["properties"]) == set(PolicyEntry.model_fields)
