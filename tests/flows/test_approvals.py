"""Signed approvals with real SSH keys: nothing is removed until enough different people have signed this plan."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import needs
from tests.flows.conftest import FINANCE, ROOT, Run, manifest
from tests.flows.serving import Served
from tests.flows.skipping import TIME

NAMESPACE = "reconciler-approval"


@dataclass
class Office:
    """A policy that asks for two people, their keys, and one plan that removes a disk."""

    run: Run
    served: Served
    folder: Path
    keygen: str

    @property
    def env(self) -> dict[str, str]:
        return self.served.env | {"RECONCILER_POLICY": str(self.folder / "policy.yaml")}

    def key(self, name: str) -> Path:
        path = self.folder / f"{name}.key"
        if not path.exists():
            make = [self.keygen, "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
            subprocess.run(make, check=True)
        return path

    def public(self, name: str) -> str:
        return " ".join(self.key(name).with_suffix(".key.pub").read_text().split()[:2])

    def signers(self, *lines: str) -> Path:
        path = self.folder / "allowed_signers"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        path.chmod(0o644)
        return path

    def policy(self, more: str = "") -> None:
        rule = f"version: 1\napprovals: {{required: 2, signers: allowed_signers{more}}}\n"
        (self.folder / "policy.yaml").write_text(rule, encoding="utf-8")

    @property
    def manifest(self) -> str:
        return str(self.folder / "pools.yaml")

    @property
    def digest(self) -> str:
        found = self.run("plan", self.manifest, "--format", "json", env=self.env)
        return str(json.loads(found.out)["digest"])

    def approval(self, name: str, *more: str, file: str = "", digest: str = "") -> Path:
        """An approval of the plan as it would be made now, unless another digest or ``--digest`` is given."""
        what = () if digest == "-" else ("--digest", digest or self.digest)
        made = self.run("approve", *what, *more, "--key", str(self.key(name)), env=self.env)
        assert made.code == 0, made.err
        path = self.folder / "approvals" / (file or f"{name}.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(made.out, encoding="utf-8")
        return path

    @property
    def approvals(self) -> str:
        return str(self.folder / "approvals")


@pytest.fixture
def office(run: Run, served: Served, tmp_path: Path) -> Office:
    """Alice and Bob are listed, and two people must sign."""
    made = Office(run, served, tmp_path, needs.program("openssh-client"))
    manifest(tmp_path, [FINANCE])
    made.policy()
    made.signers(f"alice@example.org {made.public('alice')}", f"bob@example.org {made.public('bob')}")
    return made


def test_two_people_sign_and_then_it_is_done_and_the_journal_names_them(office: Office) -> None:
    office.approval("alice")
    one = office.run("apply", office.manifest, "--approval", office.approvals, env=office.env)
    assert one.code == 3
    assert "alice.json, signed by alice@example.org, counts." in one.err
    assert "1 of the 2 people who must sign have approved this plan" in one.err
    assert office.served.posts() == []
    office.approval("bob")
    both = office.run("apply", office.manifest, "--approval", office.approvals, env=office.env)
    assert both.code == 0, both.err
    assert len(office.served.posts()) == 1
    [last, *_] = json.loads(office.run("history", "--format", "json", env=office.env).out)["runs"]
    assert last["approved"] == {"way": "signed", "principals": ["alice@example.org", "bob@example.org"]}
    shown = office.run("history", "show", last["id"], env=office.env).out
    assert "  approved  signed by alice@example.org, bob@example.org\n" in shown


@pytest.mark.parametrize("how", ["yes", "auto", "digest", "plan file"])
def test_no_other_way_of_approval_removes_anything_where_people_must_sign(office: Office, how: str) -> None:
    saved = office.folder / "plan.bin"
    assert office.run("plan", office.manifest, "--out", str(saved), env=office.env).code == 0
    ways = {
        "yes": [office.manifest],
        "auto": [office.manifest, "--auto-approve"],
        "digest": [office.manifest, "--approve", office.digest],
        "plan file": [str(saved), "--auto-approve"],
    }
    refused = office.run("apply", *ways[how], env=office.env, stdin="yes\n")
    assert refused.code == 3
    assert "0 of the 2 people who must sign" in refused.err
    assert office.served.posts() == []


def test_what_removes_nothing_needs_nobodys_signature(office: Office) -> None:
    grown = "{name: call-centre, manage: [expand], disks: [{type: SAS, size: 30}]}"
    manifest(office.folder, [grown])
    planned = office.run("plan", office.manifest, env=office.env)
    assert "1 to change, 0 to destroy" in planned.out, planned.out
    assert office.run("apply", office.manifest, "--auto-approve", env=office.env).code == 0


def test_bad_approvals_are_listed_with_their_reasons_and_spoil_no_good_one(office: Office) -> None:
    saved = office.folder / "plan.bin"
    office.approval("alice", "--expires", "1s", file="old.json")
    TIME.skipped += 5
    assert office.run("plan", office.manifest, "--out", str(saved), env=office.env).code == 0
    office.approval("eve")
    office.approval("alice", digest="0" * 64, file="other-plan.json")
    office.approval("alice", str(saved), digest="-")
    office.approval("alice", file="twice.json")
    bob = office.approval("bob")
    forged = json.loads(bob.read_text())
    forged["expires"] = "2999-01-01T00:00:00+00:00"
    (bob.parent / "longer.json").write_text(json.dumps(forged), encoding="utf-8")
    forged = json.loads((bob.parent / "eve.json").read_text()) | {"person": "bob@example.org"}
    (bob.parent / "claims.json").write_text(json.dumps(forged), encoding="utf-8")
    (bob.parent / "notes.txt").write_text("hello", encoding="utf-8")
    ran = office.run(
        *("apply", str(saved), "--approval", office.approvals, "--approval", "none.json"), env=office.env
    )
    said = {
        line.split()[1].removesuffix(",").removeprefix(f"{office.approvals}/"): line.partition("count")[2]
        for line in ran.err.splitlines()
        if line.startswith("Approval ")
    }
    assert said["alice.json"] == said["bob.json"] == "s."
    assert said["eve.json"] == said["claims.json"] == ": no key that the policy lists signed it."
    assert said["longer.json"].startswith(": its signature does not fit what it says")
    assert said["other-plan.json"].startswith(": it is for digest 000")
    assert said["old.json"].startswith((": it expired at ", ": it is of "))
    assert said["twice.json"] == ": alice@example.org is counted already."
    assert said["notes.txt"] == ": it is not JSON."
    assert said["none.json"].startswith(": it cannot be read: No such file")
    assert ran.code == 0, ran.err
    assert len(office.served.posts()) == 1


def test_a_signature_for_another_purpose_is_no_approval(office: Office) -> None:
    office.approval("alice")
    document = json.loads(office.approval("bob").read_text())
    says = {each: document[each] for each in ("kind", "digest")}
    says |= {each: document[each].replace("+00:00", "Z") for each in ("created", "expires")}
    message = json.dumps(says, sort_keys=True, separators=(",", ":")).encode()
    for namespace, counts in (("git", False), (NAMESPACE, True)):
        sign = [office.keygen, "-q", "-Y", "sign", "-f", str(office.key("bob")), "-n", namespace]
        signature = subprocess.run(sign, input=message, capture_output=True, check=True).stdout.decode()
        (office.folder / "approvals/bob.json").write_text(json.dumps(document | {"signature": signature}))
        ran = office.run("apply", office.manifest, "--approval", office.approvals, env=office.env)
        assert ("bob.json, signed by bob@example.org, counts." in ran.err) is counts, ran.err
        assert ran.code == (0 if counts else 3)
        assert len(office.served.posts()) == (1 if counts else 0)


def test_an_approval_holds_for_the_limits_and_the_policy_that_were_reviewed(office: Office) -> None:
    office.approval("alice")
    office.approval("bob")
    asked = ("apply", office.manifest, "--approval", office.approvals)
    looser = office.run(*asked, "--limit-disks", "99", env=office.env)
    assert (looser.code, looser.err.count("does not count: it is for digest")) == (3, 2)
    office.policy(", max_age: 24h")
    other = office.run(*asked, env=office.env)
    assert (other.code, other.err.count("does not count: it is for digest")) == (3, 2)
    assert office.served.posts() == []


def test_both_a_digest_and_signatures_must_fit(office: Office) -> None:
    office.approval("alice")
    office.approval("bob")
    asked = ("apply", office.manifest, "--approval", office.approvals, "--approve")
    assert office.run(*asked, "0" * 64, env=office.env).code == 4
    assert office.served.posts() == []
    assert office.run(*asked, office.digest, env=office.env).code == 0


@pytest.mark.parametrize(
    ("lines", "mode", "fault"),
    [
        (["* {alice}", "bob {bob}"], 0o644, "allowed_signers:1:1: the name is a pattern"),
        (["alice,bob {alice}", "bob {bob}"], 0o644, "allowed_signers:1:1: the name is a pattern, a list"),
        (["alice {alice}", "bob {alice}"], 0o644, "allowed_signers:2:1: this key already belongs to alice"),
        (
            ["alice {alice}", "alice {bob}"],
            0o644,
            "allowed_signers: it lists 1, fewer than the 2 who must sign",
        ),
        (["alice {alice}", "bob {bob}"], 0o664, "allowed_signers: others may write to it; chmod go-w"),
        (["alice {alice}", "bob {bob}"], 0o646, "allowed_signers: others may write to it; chmod go-w"),
        ([], 0o644, "allowed_signers: it lists nobody"),
        (None, 0, "allowed_signers: no such file or directory"),
    ],
    ids=["pattern", "list", "one key, two names", "one person", "group", "others", "empty", "missing"],
)
def test_a_list_of_signers_that_is_no_good_refuses_before_anybody_is_asked(
    office: Office, lines: list[str] | None, mode: int, fault: str
) -> None:
    keys = {name: office.public(name) for name in ("alice", "bob")}
    if lines is None:
        (office.folder / "allowed_signers").unlink()
    else:
        office.signers(*(line.format(**keys) for line in lines)).chmod(mode)
    nowhere = office.env | {"RECONCILER_ENDPOINT": "http://127.0.0.1:9"}
    refused = office.run("apply", office.manifest, "--auto-approve", env=nowhere)
    assert refused.code == 9, refused.err
    assert fault in refused.err
    # Only apply judges approvals: a plan is made all the same.
    assert office.run("plan", office.manifest, env=office.env).code == 0


def test_without_ssh_keygen_nothing_is_sent(office: Office) -> None:
    (office.folder / "bin").mkdir()
    bare = office.env | {"PATH": str(office.folder / "bin")}
    refused = office.run("apply", office.manifest, "--auto-approve", env=bare)
    assert (refused.code, "ssh-keygen is not installed" in refused.err) == (9, True)
    digest = ("--digest", "0" * 64, "--key", str(office.key("alice")))
    assert office.run("approve", *digest, env=bare).code == 9
    assert office.served.posts() == []


def test_approvals_without_a_policy_that_asks_for_them_are_an_error(office: Office) -> None:
    asked = ("apply", office.manifest, "--auto-approve", "--approval", "approvals")
    alone = office.run(*asked, env=office.served.env)
    assert (alone.code, "--approval needs a policy" in alone.err) == (9, True)
    (office.folder / "policy.yaml").write_text("version: 1\n", encoding="utf-8")
    silent = office.run(*asked, env=office.env)
    assert (silent.code, "asks for no approvals" in silent.err) == (9, True)
    assert office.served.posts() == []


def test_approve_prints_one_document_and_warns_of_a_key_that_will_not_count(office: Office) -> None:
    digest = office.digest
    for name, warned in (("alice", False), ("eve", True)):
        made = office.run("approve", "--digest", digest, "--key", str(office.key(name)), env=office.env)
        assert made.code == 0
        assert json.loads(made.out)["digest"] == digest
        assert ("does not list this key" in made.err) is warned
    (office.folder / "allowed_signers").unlink()
    made = office.run("approve", "--digest", digest, "--key", str(office.key("alice")), env=office.env)
    assert (made.code, "Warning: the allowed_signers file" in made.err) == (0, True)


def test_approve_of_a_plan_file_shows_the_plan_and_refuses_an_expired_one(office: Office) -> None:
    saved = office.folder / "plan.bin"
    assert office.run("plan", office.manifest, "--out", str(saved), env=office.env).code == 0
    key = ("--key", str(office.key("alice")))
    made = office.run("approve", str(saved), *key)
    assert "This destroys 1 disk for good" in made.err
    assert json.loads(made.out)["digest"] == office.digest
    short = ("--out", str(saved), "--plan-ttl", "1s")
    assert office.run("plan", office.manifest, *short, env=office.env).code == 0
    assert (
        office.run("apply", office.manifest, "--auto-approve", env=office.served.env).code == 0
    )  # takes time
    assert office.run("approve", str(saved), *key).code == 4


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("plan.bin", "--digest", "0" * 64),
        ("--digest", "abc"),
        ("--digest", "0" * 64, "--expires", "soon"),
        ("none.bin",),
    ],
)
def test_approve_refuses_what_it_cannot_sign(office: Office, arguments: tuple[str, ...]) -> None:
    refused = office.run("approve", *arguments, "--key", str(office.key("alice")))
    assert (refused.code, refused.out) == (9, "")


def test_a_key_that_cannot_sign_is_named(office: Office) -> None:
    refused = office.run("approve", "--digest", "0" * 64, "--key", "none.key")
    assert (refused.code, refused.out) == (9, "")
    assert "ssh-keygen could not sign with none.key" in refused.err


def test_the_flow_of_the_readme_works_as_it_is_written(office: Office) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text.split("<!-- two-person flow -->\n```sh\n", 1)[1].split("```", 1)[0]
    keys = iter((office.key("alice"), office.key("bob")))
    (office.folder / "manifests").mkdir()
    (office.folder / "pools.yaml").rename(office.folder / "manifests/pools.yaml")
    digest = ""
    for line in block.splitlines():
        words = shlex.split(line, comments=True)[1:]
        file = next((word[1:] for word in words if word.startswith(">")), "")
        arguments = [word for word in words if not word.startswith(">")]
        if "--key" in arguments:
            arguments[arguments.index("--key") + 1] = str(next(keys))
        ran = office.run(*(digest if word == "DIGEST" else word for word in arguments), env=office.served.env)
        assert ran.code == 0, ran.err
        if file:
            (office.folder / file).write_text(ran.out, encoding="utf-8")
            digest = json.loads(ran.out)["digest"]
    assert len(office.served.posts()) == 1


def test_it_works_in_the_sandbox(office: Office) -> None:
    env = {"RECONCILER_POLICY": str(office.folder / "policy.yaml")}
    planned = office.run("plan", office.manifest, "--sandbox", "--format", "json", env=env)
    for name in ("alice", "bob"):
        office.approval(name, digest=json.loads(planned.out)["digest"])
    asked = ("apply", office.manifest, "--sandbox", "--approval", office.approvals)
    assert office.run(*asked[:3], "--auto-approve", env=env).code == 3
    assert office.run(*asked, env=env).code == 0
