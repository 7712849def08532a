"""Only what others reviewed is approved: attacks on a merge, against a stand-in of GitHub.

The real ``gh`` asks it in those that are of the command, and in one with pages of each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.cli.github import GitHub as GitHubReader
from reconciler.cli.github import understood
from reconciler.cli.reviewed import of_merge
from reconciler.errors import ReconcilerError
from reconciler.planning.reviewed import PLAN_FILES, Demand
from tests import needs
from tests.flows.conftest import Run
from tests.flows.inside import Ran
from tests.scaffolds.github import HEAD, MERGE, REPOSITORY, GitHub, asked_by_gh, asking, hosting

FIRST, OTHER = "d" * 64, "e" * 64
"""The digest that was reviewed, and one that nobody saw."""
NEWER = "c" * 40
Reviewed = Callable[..., Ran]


@pytest.fixture
def github(request: pytest.FixtureRequest) -> Iterator[GitHub]:
    """A repository in which ann has opened pull request 5."""
    if "reviewed" not in request.fixturenames:
        found = GitHub("")
        found.opened()
        yield found
        return
    needs.program("gh")
    with hosting() as found:
        found.opened()
        yield found


@pytest.fixture
def quick(github: GitHub) -> Reviewed:
    """Asks for the approved digest of a commit of main, without ``gh`` and the command line."""

    def ask(sha: str = MERGE) -> Ran:
        try:
            with understood():
                found = of_merge(GitHubReader(REPOSITORY, asking(github)), Demand(REPOSITORY, "main", sha))
        except ReconcilerError as error:
            return Ran(int(error.exit_code), "", f"{error.message} {error.hint}")
        return Ran(0, f"digest={found.digest}\npull_request={found.number}\n", "")

    return ask


@pytest.fixture
def reviewed(tmp_path: Path, run: Run, github: GitHub) -> Reviewed:
    """The same with the command and the real ``gh``."""
    env = asked_by_gh(tmp_path, github) | {"GH_TOKEN": "token"}

    def ask(*arguments: str, sha: str = MERGE, **more: str) -> Ran:
        job = {"GITHUB_REPOSITORY": REPOSITORY, "GITHUB_SHA": sha}
        return run("reviewed", *arguments, env=env | job | more)

    return ask


def refused(ran: Ran, *words: str) -> None:
    """It refused for this reason, named no digest, and said what to do."""
    assert (ran.code, ran.out) == (3, ""), ran.out + ran.err
    assert all(each in " ".join(ran.err.split()) for each in words), ran.err


def test_a_merge_whose_plan_somebody_else_reviewed_names_its_digest_and_who_approved_it(
    github: GitHub, reviewed: Reviewed
) -> None:
    github.reviewed()  # before there is a plan
    github.planned(FIRST)
    github.reviewed(by="ann")
    github.reviewed(by="bob", head=NEWER)
    github.merged()
    refused(reviewed(), "0 of 1 approving reviews count")
    github.reviewed()
    github.reviewed(state="COMMENTED")
    done = reviewed()
    assert (done.code, done.out) == (0, f"digest={FIRST}\npull_request=5\n"), done.err
    assert f"bob approved the plan {FIRST} (pull request #5)." in " ".join(done.err.split())


def test_running_the_old_plan_again_after_the_review_replaces_nothing(
    github: GitHub, reviewed: Reviewed
) -> None:
    run = github.planned(FIRST)
    github.reviewed()
    github.record(run, f"plan-0-{OTHER}-2")
    github.merged()
    github.record(run, f"plan-0-{OTHER}-3")
    assert f"digest={FIRST}\n" in reviewed().out
    # Not even when somebody with the right to do so deletes the first record.
    del github.artifacts[run][0]
    refused(reviewed(), "0 of 1 approving reviews count")


@pytest.mark.parametrize("later", [f"plan-0-{OTHER}-2", f"plan-3-{FIRST}-2"], ids=["another", "blocked"])
def test_a_review_of_what_a_second_run_showed_approves_nothing(
    later: str, github: GitHub, quick: Reviewed
) -> None:
    run = github.planned(FIRST)
    github.record(run, later)
    github.reviewed()
    github.merged()
    refused(quick(), "after the one plan that was recorded for it")


def test_a_plan_that_failed_at_first_can_be_made_again_before_the_review(
    github: GitHub, quick: Reviewed
) -> None:
    run = github.planned(OTHER, code=5)
    github.record(run, f"plan-0-{FIRST}-2")
    github.reviewed()
    github.merged()
    assert f"digest={FIRST}\n" in quick().out


@pytest.mark.parametrize(
    "forged",
    [
        {"path": ".github/workflows/forged.yml"},
        {"event": "push"},
        {"event": "workflow_dispatch"},
        {"head_branch": "forger"},
        {"head_repository": {"full_name": "forger/pools"}},
        {"head_sha": NEWER},
    ],
    ids=lambda each: next(iter(each.items())),
)
def test_what_another_workflow_branch_or_repository_recorded_is_no_plan(
    forged: dict[str, object], github: GitHub, quick: Reviewed
) -> None:
    github.record(github.run(**{"head": HEAD, **forged}), f"plan-0-{OTHER}-1")  # type: ignore[arg-type]
    github.reviewed()
    github.merged()
    refused(quick(), "recorded no plan of its last commit that can be applied")


def test_a_forged_plan_is_not_taken_by_the_command_either(github: GitHub, reviewed: Reviewed) -> None:
    github.record(github.run(path=".github/workflows/forged.yml"), f"plan-0-{OTHER}-1")
    github.record(github.run(head_branch="forger"), f"plan-0-{OTHER}-1")
    github.reviewed()
    github.merged()
    refused(reviewed(), "recorded no plan of its last commit")


@pytest.mark.parametrize("name", [f"plan-3-{FIRST}-1", "plan-9-none-1", f"x-plan-0-{FIRST}-1", "plan"])
def test_a_blocked_plan_and_other_artifacts_are_no_plan(name: str, github: GitHub, quick: Reviewed) -> None:
    github.record(github.run(), name)
    github.reviewed()
    github.merged()
    refused(quick(), "recorded no plan")


def test_a_commit_that_no_pull_request_became_approves_nothing(github: GitHub, quick: Reviewed) -> None:
    github.planned(FIRST)
    github.reviewed()
    refused(quick(sha=HEAD), "is not the merge of one pull request into main")
    # The trial merge of an open pull request, pushed by somebody.
    github.pulls[5]["merge_commit_sha"] = MERGE
    refused(quick(), "is not the merge of one pull request into main")


@pytest.mark.parametrize("is_merged", [False, True])
def test_a_pull_request_for_another_branch_approves_nothing(
    is_merged: bool, github: GitHub, quick: Reviewed
) -> None:
    github.pulls[5]["base"]["ref"] = "elsewhere"
    github.pulls[5]["merge_commit_sha"] = MERGE
    github.planned(FIRST)
    github.reviewed()
    if is_merged:
        github.merged()
    refused(quick(), "is not the merge of one pull request into main")


@pytest.mark.parametrize("event", ["base_ref_changed", "automatic_base_change_succeeded"])
def test_a_plan_made_for_another_branch_and_its_workflow_is_not_taken(
    event: str, github: GitHub, quick: Reviewed
) -> None:
    github.pulls[5]["base"]["ref"] = "forgers-own"
    github.planned(FIRST)
    github.pointed("main", event=event)
    github.reviewed()
    github.merged()
    refused(quick(), "it was pointed at another branch after its plan")
    # A new commit is planned for main.
    github.pulls[5] |= {"merged_at": None, "closed_at": None}
    github.pushed(NEWER)
    github.planned(FIRST, head=NEWER)
    github.reviewed(head=NEWER)
    github.merged()
    assert quick().code == 0


def test_the_plan_of_a_second_pull_request_of_the_same_commit_is_not_taken(
    github: GitHub, quick: Reviewed
) -> None:
    github.opened(6, base="forgers-own")
    github.planned(FIRST)
    github.pulls[6]["closed_at"] = github.now()
    github.reviewed()
    github.merged()
    refused(quick(), "pull request #6, from the same branch, was open when the plan was made")


@pytest.mark.parametrize(
    "case", ["none", "own", "pusher", "older commit", "before the plan", "withdrawn", "bot", "reader", "gone"]
)
def test_without_a_review_of_that_commit_after_its_plan_by_another_person_nothing_is_approved(
    case: str, github: GitHub, quick: Reviewed
) -> None:
    match case:
        case "own":
            github.planned(FIRST)
            github.reviewed(by="Ann")
        case "pusher":
            github.pushed(NEWER, by="bob")
            github.planned(FIRST, head=NEWER)
            github.reviewed(head=NEWER)
        case "older commit":
            github.planned(FIRST)
            github.reviewed()
            github.pushed(NEWER)
            github.planned(FIRST, head=NEWER)
            github.reviewed(by="cleo", head=HEAD)
        case "before the plan":
            github.reviewed()
            github.planned(FIRST)
        case "withdrawn":
            github.planned(FIRST)
            github.reviewed()
            github.reviewed(state="CHANGES_REQUESTED")
        case "bot":
            github.planned(FIRST)
            github.reviewed(by="approve[bot]", kind="Bot")
        case "reader":
            github.planned(FIRST)
            github.rights["bob"] = "read"
            github.reviewed()
        case "gone":
            github.planned(FIRST)
            github.reviewed(state="DISMISSED")
        case _:
            github.planned(FIRST)
    github.merged()
    refused(quick(), "0 of 1 approving reviews count")


def test_after_a_force_push_the_approval_of_the_other_commit_approves_nothing(
    github: GitHub, quick: Reviewed
) -> None:
    github.planned(FIRST)
    github.reviewed()
    github.pushed(NEWER)
    github.merged()
    refused(quick(), "recorded no plan of its last commit")


def test_who_pushed_the_very_commit_back_is_no_reviewer_of_it(github: GitHub, quick: Reviewed) -> None:
    github.planned(FIRST)
    github.pushed(NEWER)
    github.pushed(HEAD, by="bob")
    github.reviewed()
    github.merged()
    refused(quick(), "other than its author (ann) and who pushed that commit (ann, bob)")


def test_who_pushed_to_a_branch_that_is_gone_is_found_among_all_pushes_or_nothing_is_approved(
    github: GitHub, quick: Reviewed
) -> None:
    github.forgotten = frozenset({"refs/heads/change"})
    github.planned(FIRST)
    github.pushed(HEAD, by="bob")
    github.reviewed()
    github.merged()
    refused(quick(), "who pushed that commit (ann, bob)")
    github.pushes.clear()
    refused(quick(), "who pushed its last commit is not known")


@pytest.mark.parametrize("path", PLAN_FILES)
def test_a_plan_by_a_program_of_the_pull_request_is_not_taken(
    path: str, github: GitHub, quick: Reviewed
) -> None:
    github.planned(FIRST)
    github.reviewed()
    github.merged()
    # Since the merge the default branch has the same content.
    github.files[5].append({"filename": path, "status": "modified"})
    refused(quick(), f"it changes {path} itself")
    github.files[5][1] = {"filename": "gone", "previous_filename": path, "status": "renamed"}
    refused(quick(), f"it changes {path} itself")
    del github.files[5][1]
    github.blobs[HEAD, path] = "1" * 40
    refused(quick(), f"its {path} is not that of the default branch")
    del github.blobs[HEAD, path]
    github.pulls[5]["changed_files"] = 3001
    refused(quick(), "more files than GitHub lists")


def test_two_pull_requests_that_are_merged_quickly_have_each_its_own_digest(
    github: GitHub, quick: Reviewed
) -> None:
    github.opened(6, NEWER, branch="another", by="cleo")
    github.planned(FIRST)
    github.planned(OTHER, head=NEWER, number=6)
    github.reviewed()
    github.reviewed(head=NEWER, number=6)
    github.merged()
    github.merged("9" * 40, 6)
    assert quick().out == f"digest={FIRST}\npull_request=5\n"
    assert quick(sha="9" * 40).out == f"digest={OTHER}\npull_request=6\n"


@pytest.mark.parametrize("merge", [MERGE, HEAD], ids=["merge, squash, rebase or queue", "fast-forward"])
def test_every_way_to_merge_is_known_by_the_commit_that_came_of_it(
    merge: str, github: GitHub, quick: Reviewed
) -> None:
    # GitHub names the merge, the squashed commit, the last of the rebased ones, or what the queue made.
    github.planned(FIRST)
    github.reviewed()
    github.merged(merge)
    assert f"digest={FIRST}\n" in quick(sha=merge).out


def test_a_pull_request_of_a_fork_is_not_planned_and_approves_nothing(
    github: GitHub, quick: Reviewed
) -> None:
    for repo in ({"full_name": "fork/pools"}, None):
        github.pulls[5]["head"]["repo"] = repo
        github.pulls[5] |= {"merged_at": None, "closed_at": None}
        github.planned(FIRST)
        github.reviewed()
        github.merged()
        refused(quick(), "it comes from another repository")


def test_the_policy_says_how_many_must_have_reviewed(
    tmp_path: Path, github: GitHub, reviewed: Reviewed
) -> None:
    (tmp_path / "policy.yaml").write_text("version: 1\napprovals: {required: 2, signers: allowed_signers}\n")
    github.planned(FIRST)
    github.reviewed()
    github.merged()
    policy = {"RECONCILER_POLICY": str(tmp_path / "policy.yaml")}
    github.reviewed(by="bob")
    refused(reviewed(**policy), "1 of 2 approving reviews count")
    github.reviewed(by="cleo")
    assert reviewed(**policy).code == 0


def test_a_digest_by_hand_needs_a_second_person_at_the_gate_of_the_environment(
    github: GitHub, reviewed: Reviewed
) -> None:
    run = github.run(event="workflow_dispatch")
    job = {"GITHUB_RUN_ID": str(run), "GITHUB_REF": "refs/heads/main"}
    refused(reviewed(FIRST, **job), "nobody but ann approved this run")
    github.approved_run(run, "ANN")
    github.approved_run(run, "bob", "staging")
    refused(reviewed(FIRST, **job), "nobody but ann approved this run")
    github.approved_run(run, "bob")
    refused(reviewed(FIRST, **job | {"GITHUB_REF": "refs/heads/forged"}), "not of main")
    assert reviewed(FIRST, **job).out == f"digest={FIRST}\npull_request=\n"
    assert reviewed("d" * 63, **job).code == 9
    # Who lets it run again starts it, too.
    github.runs[-1]["triggering_actor"] = {"login": "bob"}
    refused(reviewed(FIRST, **job), "nobody but ann, bob approved this run")


@pytest.mark.parametrize("missing", ["actions", "contents", "pull-requests"])
def test_what_github_does_not_show_approves_nothing(missing: str, github: GitHub, quick: Reviewed) -> None:
    github.planned(FIRST)
    github.reviewed()
    github.merged()
    github.permissions = {name: level for name, level in github.permissions.items() if name != missing}
    done = quick()
    assert (done.code, done.out) == (1, "")
    assert "Resource not accessible by integration" in " ".join(done.err.split())


def test_an_answer_in_another_form_and_a_job_of_another_kind_approve_nothing(
    github: GitHub, reviewed: Reviewed
) -> None:
    github.planned(FIRST)
    github.merged()
    del github.pulls[5]["created_at"]
    done = reviewed()
    assert (done.code, done.out) == (1, "")
    assert "in a form that is not known here" in " ".join(done.err.split())
    assert reviewed(GITHUB_SHA="").code == 9
    assert reviewed(GITHUB_REPOSITORY="x y").code == 9
