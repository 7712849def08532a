"""The screens of grace, announcements and backups in the README are what the program prints, to the hour."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from reconciler import sandbox
from tests.flows.conftest import Run
from tests.flows.serving import Served
from tests.flows.skipping import TIME
from tests.test_readme import section

SHOWN = datetime.fromisoformat("2026-11-26")
"""The day of the README's screens; the tests have the day after this one."""
HEAD = f"version: 1\ntarget: {{region: {sandbox.REGION}, project_id: {sandbox.PROJECT_ID}}}\npools:\n"
WANTED = "    disks: [{type: SSD, size: 100}, {type: SAS, size: 50}]\n"
JOB = "eeee6f3f-5108-4602-9fa4-361693d7e6f0"
"""Of the README's screen; a job has a new id each time."""


def screens(heading: str) -> list[str]:
    """The screens of a section: its blocks that are in no language."""
    return re.findall(r"^```\n(.*?)^```$", section(heading), re.M | re.S)


def as_shown(text: str, day: datetime) -> list[str]:
    """What was printed, as if it had been on the README's day, to the hour, and with its job."""

    def moved(found: re.Match[str]) -> str:
        return f"{datetime.fromisoformat(found[0]) - day + SHOWN:%Y-%m-%d}"

    text = re.sub(r"\d{4}-\d\d-\d\d", moved, text)
    text = re.sub(r"(?<=\d\d:)\d\d(?= UTC)", "00", text)
    return re.sub(r"(?<=as job )[\w-]+", JOB, text).splitlines()


def left_out(screen: str, printed: list[str]) -> list[str]:
    """The lines of a screen that were not printed, or not in this order; some may be left out."""
    after: Iterator[str] = iter(printed)
    return [line for line in screen.splitlines() if line not in after]


def test_the_screens_of_grace_and_backups_are_what_is_printed(
    run: Run, served: Served, tmp_path: Path
) -> None:
    env = served.env | {"RECONCILER_JOURNAL": f"sqlite:///{tmp_path}/journal.db", "RECONCILER_ACTOR": "amara"}
    day = datetime.combine(TIME.now().date() + timedelta(days=1), datetime.min.time())
    TIME.skipped += (day + timedelta(hours=9, minutes=10) - TIME.now().replace(tzinfo=None)).total_seconds()

    def printed(command: str, entry: str = "", *more: str) -> list[str]:
        if entry:
            (tmp_path / "finance.yaml").write_text(HEAD + entry + WANTED, encoding="utf-8")
        done = run(*command.split(), *more, env=env)
        assert done.code in (0, 3), done.err
        return as_shown(done.out, day)

    marked, listed, announced = screens("Grace")
    [backed_up] = screens("Backups")
    plain = "  - name: finance-analysts\n    grace: 7d\n    apply_to: all\n"
    printed("apply --mark finance.yaml", plain)
    assert left_out(marked, printed("plan finance.yaml")) == []
    [example] = re.findall(r"^```yaml\n(  - name.*?)^```$", section("Grace"), re.M | re.S)
    printed("apply --mark finance.yaml", example + "    apply_to: all\n")
    assert left_out(announced, printed("plan finance.yaml")) == []
    assert left_out(listed, printed("marks")) == []
    demanding = "  - name: finance-analysts\n    backup: {within: 24h}\n    apply_to: all\n"
    assert left_out(backed_up, printed("plan finance.yaml", demanding)) == []
