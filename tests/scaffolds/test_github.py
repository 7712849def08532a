"""The GitHub workflows keep their promises, run step by step with the real ``gh``, over TCP to a sandbox."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from huaweicloudsdkcore.auth.provider import OidcStsCredentialProvider  # type: ignore[import-untyped]
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconciler import sandbox
from reconciler.journal.store import open_journal
from tests import needs
from tests.flows.conftest import FINANCE, STUDIO, Run, manifest
from tests.flows.serving import Served, listening
from tests.flows.skipping import TIME
from tests.scaffolds.github import BOT, HEAD, MERGE, REPOSITORY, GitHub, Runner, hosting
from tests.scaffolds.installing import Installer, files
from tests.scaffolds.shell import bash, ending, git, with_python

PLAN, APPLY, DRIFT, DUE = "reconciler-plan", "reconciler-apply", "reconciler-drift", "reconciler-due"
MARK = "<!-- reconciler-plan -->"


@pytest.fixture
def github() -> Iterator[GitHub]:
    """A repository with a comment each of a bystander and of a forger who uses the marker first."""
    needs.program("gh")
    with hosting() as found:
        found.opened()
        found.comment("bystander", "Looks good")
        found.comment("forger", f"{MARK}\nNothing is destroyed.")
        yield found


@pytest.fixture
def runner(tmp_path: Path, github: GitHub, served: Served, installer: Installer) -> Runner:
    """A repository's checkout with one pool declared, and the three environments with their secrets."""
    keys = {"RECONCILER_AK": sandbox.ACCESS_KEY, "RECONCILER_SK": sandbox.SECRET_KEY}
    journal = {"RECONCILER_JOURNAL": f"sqlite:///{tmp_path}/shared.db"}
    environments = {
        "reconciler-plan": keys | journal,
        "reconciler-drift": keys | journal,
        "production": keys | journal,
    }
    made = Runner(tmp_path, github, environments, installer)
    made.env["RECONCILER_ENDPOINT"] = made.env["RECONCILER_IAM_ENDPOINT"] = served.url
    manifest(made.checkout / "manifests", [FINANCE])
    return made


def test_from_pull_request_to_merge_to_schedule(runner: Runner, github: GitHub, served: Served) -> None:
    planned = runner.pull_request(PLAN, HEAD)
    assert planned.code == 0, planned.log
    assert "1 to destroy" in planned.summary
    assert [each["user"]["login"] for each in github.comments] == ["bystander", "forger", BOT]
    assert github.comments[2]["body"].startswith(MARK)
    assert github.comments[2]["body"].count(planned.outputs["digest"]) == 1
    [[artifact]] = github.artifacts.values()
    assert artifact["name"] == f"plan-0-{planned.outputs['digest']}-1"
    assert runner.schedule(DRIFT).code == 2
    assert served.posts() == []

    github.reviewed()
    github.merged()
    applied = runner.push(APPLY, MERGE)
    assert applied.code == 0, applied.log
    assert len(served.posts()) == 1
    assert runner.schedule(DRIFT).code == 0
    # Who did what, from the environment of the job.
    kept = open_journal(runner.secrets["production"]["RECONCILER_JOURNAL"], lambda: datetime.now(UTC))
    [run] = [each for each in kept.runs(9) if each.command == "apply"]
    kept.close()
    assert run.origin.commit == MERGE
    assert run.origin.pull_request == "5"
    assert run.origin.run_url == f"https://github.invalid/{REPOSITORY}/actions/runs/1"


def test_from_merge_to_mark_to_due_to_removal_with_one_issue_and_a_person_s_approval(
    runner: Runner, github: GitHub, served: Served
) -> None:
    def day(number: float) -> None:
        TIME.skipped = number * 86400

    github.issue("forger", title="x", labels=["reconciler-due"], body="<!-- reconciler-due none -->")
    manifest(runner.checkout / "manifests", [FINANCE.replace("{name", "{grace: 7d, name")])
    runner.pull_request(PLAN, HEAD)
    github.reviewed()
    github.merged()
    merged = runner.push(APPLY, MERGE)
    assert (merged.code, served.posts()) == (0, []), merged.log
    assert "marked 1 disk" in merged.log
    disk = re.findall(r"to object: reconciler marks extend (finance-analysts/\S+)", merged.log)[0]
    day(5)
    assert (runner.schedule(DUE).code, github.issues[1:], github.dispatched) == (0, [], [])
    until = f"{TIME.now() + timedelta(days=4):%Y-%m-%d}"
    assert runner.by_hand(DUE, disk=disk, until=until).code == 0
    day(7.5)
    assert (runner.schedule(DUE).code, github.issues[1:]) == (0, []), "somebody lets it wait"

    for number in (9.5, 10):  # the next day it is the same issue, and the same apply that waits
        day(number)
        listed = runner.schedule(DUE)
        assert (listed.code, served.posts()) == (0, []), listed.log
        [issue], [start] = github.issues[1:], github.dispatched
    digest = start["inputs"]["digest"]
    assert start == {"workflow": f"{APPLY}.yml", "ref": "main", "inputs": {"digest": digest}}
    assert (issue["user"]["login"], issue["state"], issue["labels"]) == (BOT, "open", ["reconciler-due"])
    assert issue["body"].startswith(f"<!-- reconciler-due {digest} -->\n")
    for words in (disk.partition("/")[2], "the workflow `reconciler due`", "marks clear", "1 to destroy"):
        assert words in issue["body"]
    # The marking alone, and who started it, remove nothing.
    assert (runner.by_hand(APPLY, digest=digest).code, served.posts()) == (3, [])
    assert (runner.by_hand(APPLY, approver="bob", digest="0" * 64).code, served.posts()) == (4, [])
    removed = runner.by_hand(APPLY, approver="bob", digest=digest)
    assert (removed.code, len(served.posts())) == (0, 1), removed.log
    assert runner.schedule(DUE).code == 0
    assert [each["state"] for each in github.issues] == ["open", "closed"]
    assert len(github.dispatched) == 1
    assert runner.schedule(DRIFT).code == 0


def test_an_issue_says_that_its_removal_was_cancelled_and_the_next_day_starts_it_again(
    runner: Runner, github: GitHub, served: Served
) -> None:
    manifest(runner.checkout / "manifests", [FINANCE])
    github.issue("forger", title="x", labels=["reconciler-due"], body="<!-- reconciler-due none -->")
    assert runner.schedule(DUE).code == 0
    [start] = github.dispatched
    digest, text = start["inputs"]["digest"], github.issues[1]["body"]
    assert runner.cancelled(APPLY, digest="0" * 64).code == 0
    assert github.issues[1]["body"] == text, "that was another one's"
    told = runner.cancelled(APPLY, digest=digest)
    assert told.code == 0, told.log
    first, second, *rest = github.issues[1]["body"].splitlines()
    assert first == "<!-- reconciler-due none -->"
    assert second.startswith(f"**Not removed:** the run of `reconciler apply` with the digest `{digest}`")
    assert "the next daily run of `reconciler due` starts it again" in second
    assert "\n".join(rest[1:]).rstrip() == text.partition("\n")[2].rstrip()
    assert runner.schedule(DUE).code == 0
    assert github.dispatched == [start, start]
    assert github.issues[1]["body"].rstrip() == text.rstrip()
    assert github.issues[0]["body"] == "<!-- reconciler-due none -->", "of somebody else"
    assert served.posts() == []


def test_what_is_due_and_blocked_or_has_to_be_signed_is_listed_and_starts_nothing(
    tmp_path: Path, runner: Runner, github: GitHub, served: Served
) -> None:
    manifest(runner.checkout / "manifests", [FINANCE], "limits: {disks: 0}")
    assert runner.schedule(DUE).code == 3
    assert "They cannot be removed now" in github.issues[0]["body"]
    manifest(runner.checkout / "manifests", [FINANCE])
    runner.variables["RECONCILER_POLICY"] = "version: 1\napprovals: {required: 2, signers: allowed_signers}"
    people = [ssh_key(tmp_path, name)[1] for name in ("alice", "bob")]
    runner.variables["RECONCILER_SIGNERS"] = "\n".join(people)
    assert runner.schedule(DUE).code == 0
    [issue] = github.issues
    assert "reconciler approve --digest" in issue["body"]
    assert "this many people: 2" in issue["body"]
    assert (github.dispatched, served.posts()) == ([], [])


def test_a_plan_says_what_the_pull_request_widens(runner: Runner, github: GitHub) -> None:
    git(runner.checkout, "init", "--quiet")
    git(runner.checkout, "add", ".")
    git(runner.checkout, "commit", "--quiet", "--message", "target branch")
    git(runner.checkout, "switch", "--quiet", "--create", "topic")
    manifest(runner.checkout / "manifests", [FINANCE], "limits: {disks: 9999}")
    git(runner.checkout, "commit", "--quiet", "--all", "--message", "more")
    git(runner.checkout, "switch", "--quiet", "--detach", "main")
    git(runner.checkout, "merge", "--quiet", "--no-ff", "--message", "merge", "topic")
    planned = runner.pull_request(PLAN, HEAD)
    assert planned.code == 0, planned.log
    widened = "- **widens**: `limits.disks` raised from 10 to 9999, at `manifests/pools.yaml:3:17`"
    assert widened in github.comments[2]["body"]


def test_running_the_old_plan_and_then_apply_again_deletes_nothing_that_nobody_reviewed(
    runner: Runner, github: GitHub, served: Served
) -> None:
    runner.pull_request(PLAN, HEAD)
    github.reviewed()
    github.merged()
    served.give("finance-analysts", {"id": "from-the-console", "type": "SAS", "size": 20})
    [run] = github.artifacts
    again = runner.pull_request(PLAN, HEAD, again=run)
    assert (again.code, len(github.artifacts[run])) == (0, 2)
    assert runner.push(APPLY, MERGE).code == 4
    assert served.posts() == []


def test_of_two_quick_merges_the_second_applies_nothing_that_only_both_together_say(
    runner: Runner, github: GitHub, served: Served
) -> None:
    """Each was planned alone. The first apply was cancelled in the queue, so the second would do the work of both."""
    manifests = runner.checkout / "manifests"
    manifest(manifests, [FINANCE])
    runner.pull_request(PLAN, HEAD)
    github.reviewed()
    github.opened(6, "c" * 40, branch="another")
    manifest(manifests, [STUDIO])
    github.planned(runner.by_hand(PLAN).outputs["digest"], head="c" * 40, number=6)
    github.reviewed(head="c" * 40, number=6)
    github.merged()
    github.merged("9" * 40, 6)
    manifest(manifests, [FINANCE, STUDIO])
    assert runner.push(APPLY, "9" * 40).code == 4
    assert served.posts() == []

    comments = len(github.comments)
    told = runner.cancelled(APPLY, MERGE)
    assert told.code == 0, told.log
    assert [each["user"]["login"] for each in github.comments[comments:]] == [BOT]
    assert "**Not applied:**" in github.comments[-1]["body"]
    assert MERGE in github.comments[-1]["body"]


def test_a_second_push_updates_the_same_comment_and_no_other(runner: Runner, github: GitHub) -> None:
    runner.pull_request(PLAN, HEAD)
    github.comments[2]["body"] = f"{MARK}\nof the first push"
    planned = runner.pull_request(PLAN, "c" * 40)
    assert len(github.comments) == 3
    assert planned.outputs["digest"] in github.comments[2]["body"]
    assert github.comments[1]["body"] == f"{MARK}\nNothing is destroyed."


def test_what_changed_since_the_review_is_not_applied_until_a_second_person_has_read_it(
    runner: Runner, github: GitHub, served: Served
) -> None:
    runner.pull_request(PLAN, HEAD)
    github.reviewed()
    github.merged()
    pool = served.pool("finance-analysts")
    served.give("finance-analysts", {"id": "from-the-console", "type": "SAS", "size": 20})
    pool["revision"] += 1
    assert runner.push(APPLY, MERGE).code == 4
    assert served.posts() == []

    comments = len(github.comments)
    planned = runner.by_hand(PLAN)
    digest = planned.outputs["digest"]
    assert digest in planned.summary
    assert len(github.comments) == comments
    alone = runner.by_hand(APPLY, digest=digest)
    assert (alone.code, served.posts()) == (3, [])
    assert runner.by_hand(APPLY, approver="bob", digest=digest).code == 0
    assert len(served.posts()) == 1


def test_a_digest_by_hand_is_applied_with_what_people_signed_under_the_policy_of_the_repository(
    tmp_path: Path, runner: Runner, served: Served, run: Run
) -> None:
    needs.program("jq")
    people = {name: ssh_key(tmp_path, name) for name in ("alice", "bob")}
    runner.variables["RECONCILER_POLICY"] = (
        "version: 1\napprovals: {required: 2, signers: allowed_signers, max_age: 24h}"
    )
    runner.variables["RECONCILER_SIGNERS"] = "\n".join(public for _, public in people.values())
    digest = runner.by_hand(PLAN).outputs["digest"]
    signed = [run("approve", "--digest", digest, "--key", str(key)).out for key, _ in people.values()]
    alone = runner.by_hand(APPLY, approver="bob", digest=digest, approvals=signed[0])
    assert (alone.code, served.posts()) == (3, []), alone.log
    (runner.checkout / "approvals").mkdir()
    (runner.checkout / "approvals" / "bob.json").write_text(signed[1])
    # Inputs of GitHub's page have one line.
    both = runner.by_hand(APPLY, digest=digest, approvals=" ".join(f"{signed[0]}{{}}".split("\n")))
    assert both.code == 0, both.log
    assert both.log.count(" counts.") == 2
    assert "does not count: it is not an approval" in " ".join(both.log.split())
    assert len(served.posts()) == 1


def test_what_people_signed_needs_a_policy_that_says_who_may(runner: Runner, served: Served) -> None:
    needs.program("jq")
    digest = runner.by_hand(PLAN).outputs["digest"]
    done = runner.by_hand(APPLY, digest=digest, approvals="{}")
    assert (done.code, served.posts()) == (9, [])
    assert "--approval needs a policy" in done.log


def test_a_blocked_plan_is_commented_fails_the_check_and_approves_nothing(
    runner: Runner, github: GitHub, served: Served
) -> None:
    manifest(runner.checkout / "manifests", [FINANCE], "limits: {disks: 0}")
    assert runner.pull_request(PLAN, HEAD).code == 3
    assert "limit-disks" in github.comments[2]["body"]
    [[artifact]] = github.artifacts.values()
    assert artifact["name"].startswith("plan-3-")
    github.reviewed()
    github.merged()
    done = runner.push(APPLY, MERGE)
    assert (done.code, done.outputs) == (3, {})
    assert "recorded no plan of its last commit that can be applied" in " ".join(done.log.split())
    assert served.posts() == []


def test_a_broken_manifest_replaces_the_comment_and_a_planted_plan_is_not_taken(
    runner: Runner, github: GitHub
) -> None:
    runner.pull_request(PLAN, HEAD)
    (runner.checkout / "manifests" / "pools.yaml").write_text("version: 1\nversion: 1\n")
    for name in ("plan.json", "plan.md"):
        (runner.checkout / name).write_text('{"digest": "%s"}' % ("d" * 64))
    planned = runner.pull_request(PLAN, "c" * 40)
    assert planned.code == 9
    assert "**No plan:** exit code 9" in github.comments[2]["body"]
    assert len(github.artifacts) == 1, "of the first commit"


def test_without_a_journal_that_lasts_nothing_is_applied(
    tmp_path: Path, runner: Runner, github: GitHub, served: Served
) -> None:
    runner.pull_request(PLAN, HEAD)
    github.reviewed()
    github.merged()
    runner.secrets["production"].pop("RECONCILER_JOURNAL")
    done = runner.push(APPLY, MERGE)
    assert (done.code, served.posts()) == (1, [])
    assert "RECONCILER_JOURNAL is not set" in done.log


@pytest.mark.parametrize(
    "command",
    [
        ["zizmor", "--offline", "--no-progress", "--strict-collection", "--persona", "auditor"],
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows"],
        ["check-jsonschema", "--builtin-schema", "custom.github-workflows-require-timeout"],
    ],
    ids=["zizmor", "schema", "timeouts"],
)
def test_an_audit_finds_nothing_in_the_workflows(command: list[str], tmp_path: Path) -> None:
    paths = []
    for path, text in files("github").items():
        if path.endswith(".yml"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
            paths.append(str(tmp_path / path))
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run([program, *command[1:], *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_action_is_pinned_to_one_commit_and_only_the_apply_gets_what_can_change_pools() -> None:
    every = {path: text for path, text in files("github").items() if path.endswith(".yml")}
    assert len(every) == 4
    pins = {pin for text in every.values() for pin in re.findall(r"- uses: (.+)", text)}
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", pin) for pin in pins)
    assert len(pins) == len({pin.split("@")[0] for pin in pins}) == 3
    for path, text in every.items():
        told = yaml.safe_load(text)
        job, *others = told["jobs"].values()
        assert told["permissions"] == {}
        # What tells of a cancelled apply can comment, and has no identity.
        assert [(each["permissions"], each.get("environment")) for each in others] == (
            [({"issues": "write", "pull-requests": "write"}, None)] if APPLY in path else []
        )
        assert (job["environment"] == "production") == (APPLY in path)
        written = {name for name, level in job["permissions"].items() if level == "write"}
        more = {PLAN: {"pull-requests"}, DUE: {"issues", "actions"}}.get(Path(path).stem, set())
        assert written == {"id-token"} | more
        assert job["permissions"]["contents"] == "read"
        # What may start from a pull request gets an environment of its own.
        assert (job["environment"] == "reconciler-plan") == (PLAN in path)


def test_the_token_of_the_job_is_asked_for_this_audience_and_kept_from_other_users(tmp_path: Path) -> None:
    needs.program("curl")
    asked = []

    async def token(request: Request) -> Response:
        asked.append((request.query_params["audience"], request.headers["Authorization"]))
        return JSONResponse({"value": "the.id.token", "count": 1})

    for path, text in workflows().items():
        [step] = [each for each in steps(text) if each.get("name") == "Identity"]
        (tmp_path / "id-token").unlink(missing_ok=True)
        with listening(Starlette(routes=[Route("/token", token)])) as url:
            env = {
                "RUNNER_TEMP": str(tmp_path),
                "ACTIONS_ID_TOKEN_REQUEST_URL": f"{url}/token?api-version=2.0",
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-job",
            }
            done = bash(step["run"], tmp_path, env, with_python(tmp_path / "bin"))
        assert (done.code, done.out) == (0, ""), path
        assert asked.pop() == ("reconciler", "bearer of-the-job")
        assert (tmp_path / "id-token").read_text().strip() == "the.id.token"
        assert (tmp_path / "id-token").stat().st_mode & 0o777 == 0o600
        refused = bash(step["run"], tmp_path, env, with_python(tmp_path / "bin"))
        assert refused.code != 0, "nobody listens any more"


def test_a_merge_queue_can_wait_for_a_plan_which_comments_nothing() -> None:
    text = workflows()[f".github/workflows/{PLAN}.yml"]
    assert "merge_group" in yaml.safe_load(text)[True]  # YAML 1.1 reads "on" as true
    [comment] = [each for each in steps(text) if each.get("name") == "Comment"]
    assert comment["if"] == "github.event_name == 'pull_request'"


def test_keys_are_temporary_and_outlast_the_job_and_names_are_those_of_the_official_sdk() -> None:
    known = {value for name, value in vars(OidcStsCredentialProvider).items() if name.endswith("_ENV")}
    for path, text in workflows().items():
        job = next(iter(yaml.safe_load(text)["jobs"].values()))
        [env] = [each["env"] for each in job["steps"] if "HUAWEICLOUD_OIDC_TOKEN_FILE" in each.get("env", {})]
        assert {name for name in env if name.startswith("HUAWEICLOUD_")} <= known
        assert int(env["HUAWEICLOUD_OIDC_DURATION_SECONDS"]) > 60 * job["timeout-minutes"], path
        assert env["HUAWEICLOUD_SDK_PROJECT_ID"] == "${{ vars.RECONCILER_PROJECT_ID }}"
        stored = re.sub(r"^#.*$", "", text, flags=re.M)
        assert not re.search(r"secrets\.(?!RECONCILER_(JOURNAL|WEBHOOK)\b)", stored), "a key is stored"
        # What the header says about stored keys is what with_stored_keys does, which all flows here use.
        assert '"HUAWEICLOUD_SDK_AK: ${{ secrets.RECONCILER_AK }}"' in text
        assert '"HUAWEICLOUD_SDK_SK: ${{ secrets.RECONCILER_SK }}"' in text
    for path, text in workflows().items():
        names = [each.get("name", each.get("uses", "")) for each in steps(text)]
        assert names.index("Install") < names.index("Identity"), path
        assert all(
            "env" not in each
            for each in steps(text)[: names.index("Identity")]
            if each.get("id") not in ("policy", "approved")
        )


@pytest.mark.parametrize(
    ("workflow", "code", "words"),
    [
        (PLAN, 5, "Another run holds every blocked pool"),
        (PLAN, 7, "run 'reconciler resolve'"),
        (APPLY, 4, "The pools have changed since the review"),
        (APPLY, 5, "Another run holds every blocked pool"),
        (APPLY, 7, "run 'reconciler resolve'"),
        (DRIFT, 5, "Another run is changing a pool"),
        (DRIFT, 7, "run 'reconciler resolve'"),
    ],
)
def test_each_exit_code_that_needs_somebody_says_what_to_do_and_stays(
    workflow: str, code: int, words: str, tmp_path: Path
) -> None:
    [step] = [
        each
        for each in steps(workflows()[f".github/workflows/{workflow}.yml"])
        if "HUAWEICLOUD_OIDC_TOKEN_FILE" in each.get("env", {})
    ]
    env = {"RUNNER_TEMP": str(tmp_path), "GITHUB_OUTPUT": str(tmp_path / "output"), "RECONCILER_JOURNAL": "x"}
    env |= dict.fromkeys(("RECONCILER_POLICY", "REVIEWED", "DIGEST", "APPROVALS"), "")
    done = bash(step["run"], tmp_path, env, ending(tmp_path / "bin", code), with_python(tmp_path / "bin"))
    assert re.search(rf"^::(error|warning|notice)::.*{re.escape(words)}", done.out, re.M), done.out
    if workflow == PLAN:
        assert f"exit_code={code}\n" in (tmp_path / "output").read_text()
    else:
        assert done.code == code


def ssh_key(folder: Path, name: str) -> tuple[Path, str]:
    """A person's new key, and the line that allows it."""
    path = folder / f"{name}.key"
    make = [needs.program("openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(make, check=True)
    return path, f"{name}@example.org {path.with_suffix('.key.pub').read_text().strip()}"


def workflows() -> dict[str, str]:
    """The workflows by their paths."""
    return {path: text for path, text in files("github").items() if path.endswith(".yml")}


def steps(text: str) -> list[dict[str, Any]]:
    """The steps of the first job of a workflow, which is the one with an identity."""
    job = next(iter(yaml.safe_load(text)["jobs"].values()))
    found: list[dict[str, Any]] = job["steps"]
    return found
