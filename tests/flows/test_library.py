"""What programs import from ``reconciler``: the README's example, and every check that a command line has to pass."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import reconciler
from reconciler import (
    ExitCode,
    Place,
    Plan,
    ReconcilerError,
    apply_manifests,
    library,
    load_manifests,
    make_plan,
    render_plan,
)
from reconciler.cli.flags import Format
from tests.flows.conftest import FINANCE, ROOT, Run, bare, manifest
from tests.flows.inside import lent
from tests.flows.skipping import TIME, SkippingClock
from tests.test_readme import README, section

SANDBOX = Place(sandbox=True)
Here = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    """A program's environment and folder, in which waits are skipped."""

    def call(env: Mapping[str, str] | None = None) -> AbstractContextManager[None]:
        return lent(bare(tmp_path) | dict(env or {}), tmp_path, TIME)

    TIME.reset()
    yield call
    TIME.reset()


def own(plan: Plan) -> str | None:
    """Approves whatever it is given."""
    return plan.digest


def never(_plan: Plan) -> str | None:
    """An approver that must not be asked."""
    pytest.fail("there is nothing to approve")


def writes(run: Run) -> int:
    """How many writes the sandbox has accepted."""
    return len(json.loads(run("sandbox", "state").out)["record"])


def test_the_example_of_the_readme_does_what_it_says(
    here: Here, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (ROOT / "tests/flows/library_example.py").read_text(encoding="utf-8")
    shown = README.split("<!-- library example -->\n```python\n", 1)[1].split("```", 1)[0]
    assert code.split("\n\n", 1)[1] == shown, "mypy sees the file, so it has to be what the README shows"
    (tmp_path / "manifests").mkdir()
    manifest(tmp_path, [FINANCE], name="manifests/pools.yaml")
    with here():
        exec(compile(shown, "README.md", "exec"), {})
    printed = capsys.readouterr()
    assert "Plan: 0 to add, 0 to change, 1 to destroy." in printed.out
    assert printed.out.endswith("\n0\n")
    assert re.search(r"^finance-analysts done 1 ", printed.out, re.M)
    assert printed.err == ""
    assert run("plan", "--sandbox", "--detailed-exitcode", "manifests").code == 0


def test_the_names_that_the_package_offers_are_those_of_the_readme() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", section("From Python"), re.M)
    assert sorted(listed) == reconciler.__all__ == library.__all__
    assert set(reconciler.__all__) <= set(dir(reconciler))
    assert all(getattr(reconciler, name) is getattr(library, name) for name in listed)
    with pytest.raises(AttributeError, match="no attribute 'delete'"):
        reconciler.delete  # type: ignore[attr-defined]  # noqa: B018 - mypy must know better as well


def test_the_package_alone_imports_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import reconciler; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.split() == ["reconciler"]


def test_a_plan_is_rendered_as_the_command_shows_it(here: Here, run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    with here():
        made = make_plan(load_manifests(path), SANDBOX, desktops=True)
        forms = {str(each): render_plan(made, each.value) for each in Format}
        hidden = render_plan(made, anonymise=True)
    assert forms["text"].strip() in run("plan", "--sandbox", "--desktops", str(path)).out
    assert json.loads(forms["json"])["digest"] == made.digest
    assert "\n## Plan: 0 to add" in forms["markdown"]
    assert forms["html"].startswith("<!doctype html>")
    assert "amara" in forms["text"]
    assert "amara" not in hidden


def test_a_run_is_in_the_journal_with_its_way_of_approval(here: Here, run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    said: list[str] = []
    with here({"RECONCILER_ACTOR": "nightly program"}):
        manifests = load_manifests(path)
        report = apply_manifests(manifests, own, Place(sandbox=True, log=said.append))
        again = apply_manifests(manifests, never, SANDBOX)
    assert (report.exit_code, again.exit_code) == (ExitCode.DONE, ExitCode.DONE)
    assert any("new journal" in each.lower() for each in said), said
    shown = json.loads(run("history", "show", report.run_id, "--sandbox", "--format", "json").out)
    assert "nightly program" in json.dumps(shown)
    assert shown["approved"]["way"] == "digest", shown


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda _plan: None, ExitCode.REFUSED),
        (lambda _plan: "0" * 64, ExitCode.STALE),
        (lambda _plan: "yes", ExitCode.BAD_INPUT),
        (lambda _plan: True, ExitCode.BAD_INPUT),
    ],
    ids=["none", "another digest", "a word", "true"],
)
def test_nothing_is_sent_unless_the_approver_names_the_digest(
    here: Here, run: Run, tmp_path: Path, answer: Callable[[Plan], str | None], code: ExitCode
) -> None:
    path = manifest(tmp_path, [FINANCE])
    with here(), pytest.raises(ReconcilerError) as refused:
        apply_manifests(load_manifests(path), answer, SANDBOX)
    assert refused.value.exit_code is code
    assert writes(run) == 0


def test_a_failure_of_the_approver_is_its_own_and_nothing_is_sent(
    here: Here, run: Run, tmp_path: Path
) -> None:
    def broken(_plan: Plan) -> str | None:
        raise LookupError("the ticket is not there")

    with here(), pytest.raises(LookupError, match="ticket"):
        apply_manifests(load_manifests(manifest(tmp_path, [FINANCE])), broken, SANDBOX)
    assert writes(run) == 0


@pytest.mark.parametrize("end", [SystemExit(3), KeyboardInterrupt()])
def test_an_approver_can_end_the_program_without_a_word_of_the_event_loop(
    here: Here, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, end: BaseException
) -> None:
    def ended(_plan: Plan) -> str | None:
        raise end

    with here(), pytest.raises(type(end)) as raised:
        apply_manifests(load_manifests(manifest(tmp_path, [FINANCE])), ended, SANDBOX)
    assert raised.value is end
    gc.collect()
    assert caplog.messages == []
    assert writes(run) == 0


@pytest.mark.parametrize("head", ["limits: {disks: 0}", "limits: {copies: 3}"])
def test_limits_hold_and_nobody_is_asked(here: Here, run: Run, tmp_path: Path, head: str) -> None:
    with here(), pytest.raises(ReconcilerError, match="blocked") as refused:
        apply_manifests(load_manifests(manifest(tmp_path, [FINANCE], head)), never, SANDBOX)
    assert refused.value.exit_code is ExitCode.REFUSED
    assert writes(run) == 0


def test_the_policy_of_the_environment_holds(here: Here, run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    rules = tmp_path / "policy.yaml"
    rules.write_text("version: 1\nceilings: {disks: 0}\n", encoding="utf-8")
    with here({"RECONCILER_POLICY": str(rules)}):
        assert make_plan(load_manifests(path), SANDBOX).blocked
        with pytest.raises(ReconcilerError, match="blocked"):
            apply_manifests(load_manifests(path), never, SANDBOX)
        other = Place(sandbox=True, policy=tmp_path / "own.yaml")
        with pytest.raises(ReconcilerError, match="two policies"):
            apply_manifests(load_manifests(path), never, other)
    assert writes(run) == 0


def test_what_people_have_to_sign_no_program_can_approve(here: Here, run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    rules = tmp_path / "policy.yaml"
    rules.write_text("version: 1\napprovals: {required: 1, signers: allowed_signers}\n", encoding="utf-8")
    (tmp_path / "allowed_signers").write_text(f"alice ssh-ed25519 {KEY}\n", encoding="utf-8")
    (tmp_path / "allowed_signers").chmod(0o644)
    with here(), pytest.raises(ReconcilerError, match="0 of the 1 people") as refused:
        apply_manifests(load_manifests(path), own, Place(sandbox=True, policy=rules))
    assert refused.value.exit_code is ExitCode.REFUSED
    assert writes(run) == 0


KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIJ2Z2v0cY5mJ7mJrS1pQ3v0rQh8c0m3m2c4s5d6f7g8h"
"""The public half of some key."""


def test_manifests_that_have_changed_since_they_were_read_are_not_carried_out(
    here: Here, run: Run, tmp_path: Path
) -> None:
    path = manifest(tmp_path, [FINANCE])
    with here():
        manifests = load_manifests(path)
        path.write_text(path.read_text(encoding="utf-8") + "\n# later\n", encoding="utf-8")
        report = apply_manifests(manifests, own, SANDBOX)
    assert report.exit_code is ExitCode.STALE
    assert writes(run) == 0


def test_grace_holds(here: Here, run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE], "defaults: {grace: 7d}")
    with here():
        report = apply_manifests(load_manifests(path), never, SANDBOX)
    assert report.exit_code is ExitCode.DONE
    assert report.plan
    assert report.plan.totals.destroy == 0
    assert writes(run) == 0
    assert "finance-analysts" in run("marks", "--sandbox").out


def test_runs_of_a_group_share_their_limits_whoever_starts_them(here: Here, run: Run, tmp_path: Path) -> None:
    studio = "{name: design-studio, apply_to: all, disks: [{type: SSD, size: 200}]}"
    first = manifest(tmp_path, [FINANCE], "limits: {pools: 1}", name="a.yaml")
    second = manifest(tmp_path, [studio], "limits: {pools: 1}", name="b.yaml")
    group = {"RECONCILER_RUN_GROUP": "night"}
    assert run("apply", "--sandbox", "--auto-approve", str(first), env=group).code == 0
    with here(group), pytest.raises(ReconcilerError) as refused:
        apply_manifests(load_manifests(second), own, SANDBOX)
    assert refused.value.exit_code is ExitCode.REFUSED


class Interrupting(SkippingClock):
    """Somebody presses Ctrl-C at the first wait after something was sent."""

    def __init__(self, journal: Path) -> None:
        super().__init__()
        self.journal, self.pressed = journal, False

    async def sleep(self, seconds: float) -> None:
        if not self.pressed and self.sent():
            self.pressed = True
            signal.raise_signal(signal.SIGINT)
        await super().sleep(seconds)

    def sent(self) -> bool:
        with contextlib.closing(sqlite3.connect(self.journal)) as kept:
            return bool(
                kept.execute("SELECT 1 FROM reconciler_operations WHERE state = 'accepted'").fetchone()
            )


def test_ctrl_c_ends_with_a_report_of_what_is_in_flight(run: Run, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE])
    with lent(bare(tmp_path), tmp_path, Interrupting(tmp_path / "state/sandbox-journal.db")):
        report = apply_manifests(load_manifests(path), own, SANDBOX)
    assert (report.exit_code, len(report.in_flight)) == (ExitCode.INTERRUPTED, 1)
    assert run("apply", "--sandbox", "--auto-approve", str(path)).code == 0, "the next run proves it"


def test_ctrl_c_at_the_approval_sends_nothing(here: Here, run: Run, tmp_path: Path) -> None:
    def pressed(plan: Plan) -> str | None:
        signal.raise_signal(signal.SIGINT)
        return plan.digest

    with here():
        report = apply_manifests(load_manifests(manifest(tmp_path, [FINANCE])), pressed, SANDBOX)
    assert (report.exit_code, report.in_flight) == (ExitCode.INTERRUPTED, ())
    assert writes(run) == 0


def test_a_log_that_fails_stops_nothing_and_hides_no_report(here: Here, run: Run, tmp_path: Path) -> None:
    manifest(tmp_path, [FINANCE])

    def broken(_line: str) -> None:
        raise RuntimeError("no room for lines")

    with here():
        report = apply_manifests(load_manifests("pools.yaml"), own, Place(sandbox=True, log=broken))
    assert (report.exit_code, writes(run)) == (ExitCode.DONE, 1)


def test_pools_are_selected_as_by_flags(here: Here, tmp_path: Path) -> None:
    path = manifest(tmp_path, [FINANCE, "{name: call-centre, disks: [{type: SAS, size: 20}]}"])
    with here():
        made = make_plan(load_manifests(path, pools=["finance-*"]), SANDBOX)
        assert [each.label for each in made.pools] == ["finance-analysts"]
        with pytest.raises(ReconcilerError, match="no manifest declares"):
            load_manifests(path, exclude=["no-such-pool"])


def test_no_secret_of_the_environment_is_in_what_is_raised(here: Here, tmp_path: Path) -> None:
    secret = "a-password-nobody-may-see"
    with (
        here({"RECONCILER_JOURNAL": f"nonsense://user:{secret}@host/db"}),
        pytest.raises(ReconcilerError) as bad,
    ):
        make_plan(load_manifests(manifest(tmp_path, [FINANCE])), SANDBOX)
    assert secret not in f"{bad.value} {bad.value.message} {bad.value.hint}"


def test_inside_an_event_loop_it_says_what_to_do_instead(here: Here, tmp_path: Path) -> None:
    async def program() -> Plan:
        manifests = load_manifests(manifest(tmp_path, [FINANCE]))
        with pytest.raises(ReconcilerError, match="event loop"):
            make_plan(manifests, SANDBOX)
        return await asyncio.to_thread(make_plan, manifests, SANDBOX)

    with here():
        assert asyncio.run(program()).totals.destroy == 1
