"""Owns the flags that several commands share, each described once."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reconciler.errors import BadInput
from reconciler.model import Shard, Target

Paths = Annotated[
    list[Path], typer.Argument(help="Manifest files or directories.", metavar="PATH…", show_default=False)
]
Endpoint = Annotated[
    str | None,
    typer.Option(help="Service endpoint; only https, or http to this machine.", metavar="URL"),
]
Sandbox = Annotated[bool, typer.Option("--sandbox", help="Use the simulated service on this machine.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="Print without colour.")]
JournalUrl = Annotated[
    str | None,
    typer.Option("--journal", help="SQLAlchemy URL of the journal (RECONCILER_JOURNAL).", metavar="URL"),
]
OutMarkdown = Annotated[Path | None, typer.Option(help="Also write the plan as Markdown.", metavar="FILE")]
OutHtml = Annotated[Path | None, typer.Option(help="Also write the plan as a page.", metavar="FILE")]
OutJson = Annotated[Path | None, typer.Option(help="Also write the plan as JSON.", metavar="FILE")]
OutGitlab = Annotated[Path | None, typer.Option(help="Also write GitLab's terraform report.", metavar="FILE")]
Lifetime = Annotated[
    str, typer.Option("--plan-ttl", help="How long the plan may wait for its apply: 30m, 1h, 2d.")
]
LimitDisks = Annotated[
    int | None, typer.Option(min=0, help="Most disks a run may destroy.", show_default="10")
]
LimitCopies = Annotated[
    int | None, typer.Option(min=0, help="Most copies a run may destroy.", show_default="100")
]
LimitPools = Annotated[
    int | None, typer.Option(min=0, help="Most pools that may lose disks.", show_default="5")
]
LimitGigabytes = Annotated[
    int | None, typer.Option(min=0, help="Most GB a run may destroy.", show_default="no limit")
]
LimitUsers = Annotated[
    int | None, typer.Option(min=0, help="Most people who may lose data.", show_default="no limit")
]
Parallelism = Annotated[int, typer.Option(min=1, max=64, help="Pools worked on at the same time.")]


ShardOf = Annotated[
    str,
    typer.Option("--shard", help="Work on one of N equal shares of the pools: 1/N to N/N.", metavar="I/N"),
]
RunGroup = Annotated[
    str,
    typer.Option(
        help="Runs of one group share their limits through the journal.",
        metavar="ID",
        envvar="RECONCILER_RUN_GROUP",
        show_default=False,
    ),
]


Region = Annotated[str | None, typer.Option(help="Region, where no manifest says it.", metavar="ID")]
Profile = Annotated[
    str, typer.Option(help="Section of the credentials file to use.", metavar="NAME", show_default=False)
]
ProjectId = Annotated[str | None, typer.Option(help="Project, where no manifest says it.", metavar="ID")]


class Format(StrEnum):
    """How a plan is shown."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"


class Output(StrEnum):
    """How a result is shown."""

    TEXT = "text"
    JSON = "json"


PlanFormat = Annotated[Format, typer.Option("--format", help="How to show the plan.")]
OutputFormat = Annotated[Output, typer.Option("--format", help="How to show the result.")]


def limits(
    disks: int | None, copies: int | None, pools: int | None, gigabytes: int | None, users: int | None
) -> dict[str, int | None]:
    """The limit flags by the names that manifests use."""
    return {"disks": disks, "copies": copies, "pools": pools, "gigabytes": gigabytes, "users": users}


def shard(text: str) -> Shard:
    """``3/8``; raises ``BadInput`` for what is no share."""
    found = re.fullmatch(r"([1-9]\d{0,3})/([1-9]\d{0,3})", text)
    if not found or int(found[1]) > int(found[2]):
        raise BadInput(
            f"--shard {text!r} is not a share", "write 1/8 for the first of eight, up to 8/8 for the last"
        )
    return Shard(int(found[1]), int(found[2]))


def share(text: str, group: str) -> Shard:
    """The share of a run that acts; raises ``BadInput`` for one that would have the whole limits for itself."""
    found = shard(text)
    if found.count > 1 and not group:
        raise BadInput(
            f"--shard {text} without --run-group would give every share the whole limits",
            "say --run-group ID (RECONCILER_RUN_GROUP), the same for all shares of a run and new for each run",
        )
    return found


def target(region: str | None, project_id: str | None) -> Target | None:
    """The target that flags name; None when they name none; raises ``BadInput`` for half a one."""
    if region and project_id:
        return Target(region, project_id)
    if region or project_id:
        raise BadInput("--region and --project-id go together")
    return None
