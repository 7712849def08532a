"""Writes a plan to its outputs: the console, files for a review, GitHub's job summary and annotations.

The formats are left to ``render``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from reconciler.cli.console import Console
from reconciler.cli.flags import Format, OutputOptions
from reconciler.errors import BadInput, ReconcilerError
from reconciler.files import append_to, write_file
from reconciler.planning.plan import Plan
from reconciler.render.text import plan_lines
from reconciler.render.words import APPLY

Page = tuple[str, list[str]]
"""What GitHub shows for a job: the summary as Markdown, and annotations as workflow commands."""


def show_plan(plan: Plan, shown: Format, console: Console, apply: str = APPLY) -> None:
    """Print a plan on stdout in the given format; ``apply`` is how the command begins that applies it."""
    match shown:
        case Format.TEXT:
            console.lines(plan_lines(plan))
        case Format.JSON:
            console.json_text(_json(plan))
        case Format.MARKDOWN:
            console.text(_markdown(plan, apply))
        case Format.HTML:
            console.text(_html(plan, apply))


def write_outputs(plan: Plan, outputs: OutputOptions, apply: str = APPLY) -> None:
    """Write every requested file; raises ``BadInput`` for a file that cannot be written."""
    forms: tuple[tuple[Path | None, Callable[[Plan], str]], ...] = (
        (outputs.out_markdown, partial(_markdown, apply=apply)),
        (outputs.out_html, partial(_html, apply=apply)),
        (outputs.out_json, _json),
        (outputs.out_gitlab, _gitlab),
    )
    for path, form in forms:
        if path is not None:
            write_text(path, form(plan))


def unnamed_losses(plan: Plan, apply: str) -> int:
    """How many pools that lose disks do not even have a line in the comment."""
    from reconciler.render.markdown import hidden_losses  # noqa: PLC0415 - one of four forms

    return hidden_losses(plan, apply=apply)


def different(saved: Path | None, outputs: OutputOptions) -> None:
    """Raise ``BadInput`` when two outputs name the same file, since the second would overwrite the first."""
    paths = [
        each
        for each in (saved, outputs.out_markdown, outputs.out_html, outputs.out_json, outputs.out_gitlab)
        if each
    ]
    twice = next((each for index, each in enumerate(paths) if each in paths[:index]), None)
    if twice:
        raise BadInput(f"{twice} is given for two outputs", "give each output its own file")


def write_text(path: Path, text: str) -> None:
    """Write one output file, for its owner alone unless it exists; raises ``BadInput`` when it cannot be written."""
    try:
        write_file(path, text if text.endswith("\n") else f"{text}\n")
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}", "name a writable file") from None


def tell_github(plan: Plan, console: Console, apply: str = APPLY, failed: str = "") -> None:
    """Show a plan on the page of the job, when running under GitHub Actions; ``failed`` is why it was not applied."""

    def page() -> Page:
        from reconciler.render import github  # noqa: PLC0415 - only under GitHub Actions

        return github.job_summary(plan, apply, failed), list(github.plan_annotations(plan))

    to_github(page, console)


def to_github(page: Callable[[], Page], console: Console) -> None:
    """Add the job summary and annotations when running under GitHub Actions; a failure is only a message."""
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    in_actions = os.environ.get("GITHUB_ACTIONS") == "true"
    if not (place or in_actions):
        return
    summary, annotations = page()
    if place:
        try:
            append_to(Path(place), summary)
        except OSError as error:
            console.info(f"The job summary could not be written: {error.strerror}")
    if in_actions:
        console.commands(annotations)


def github_outputs(values: Mapping[str, int | str], console: Console) -> None:
    """Give a workflow of GitHub these outputs of its step; a failure is only a message."""
    place = os.environ.get("GITHUB_OUTPUT")
    if not place:
        return
    try:
        append_to(Path(place), "".join(f"{name}={value}\n" for name, value in values.items()))
    except OSError as error:
        console.info(f"The outputs of the step could not be written: {error.strerror}")


def plan_outputs(plan: Plan, console: Console) -> None:
    """Give a workflow the numbers of a plan: what would be carried out, and whether anything is blocked."""
    found = plan.totals
    github_outputs(
        {
            "digest": plan.digest,
            "add": found.add,
            "change": found.change,
            "destroy": found.destroy,
            "marked": sum(len(pool.waiting) for pool in plan.pools),
            "blocked": "true" if plan.blocked else "false",
        },
        console,
    )


def show_faults(error: ReconcilerError, console: Console) -> None:
    """Annotate the faults of manifests at their places, when running under GitHub Actions."""
    # Those of flags and of the environment are at no place that GitHub could show.
    found = error.faults if isinstance(error, BadInput) else ()
    faults = [each for each in found if not each.file.startswith("<")]
    if not faults:
        return

    def page() -> Page:
        from reconciler.render import github  # noqa: PLC0415 - only under GitHub Actions

        return github.faults_summary(error.message, faults), list(github.fault_annotations(faults))

    to_github(page, console)


def _json(plan: Plan) -> str:
    from reconciler.render.json.plan import plan_json  # noqa: PLC0415 - one of four forms

    return plan_json(plan)


def _markdown(plan: Plan, apply: str) -> str:
    from reconciler.render.markdown import plan_markdown  # noqa: PLC0415 - one of four forms

    return plan_markdown(plan, apply=apply)


def _html(plan: Plan, apply: str) -> str:
    from reconciler.render.html import plan_html  # noqa: PLC0415 - jinja2

    return plan_html(plan, apply)


def _gitlab(plan: Plan) -> str:
    from reconciler.render.gitlab import terraform_report  # noqa: PLC0415 - one of four forms

    return json.dumps(terraform_report(plan))
