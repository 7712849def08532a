"""The flags that several commands share, each described once, and groups of them; their use is left to commands."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from click import Command, Context

from reconciler.cli.commands import remember
from reconciler.cli.console import no_color, quiet
from reconciler.cli.parameters import argument, flag, made
from reconciler.errors import BadInput
from reconciler.model import Limit, Limits, Selection, Shard, Target
from reconciler.settings import fits_header
from reconciler.values import Struct, replace

Paths = Annotated[list[Path], argument(help="Manifest files or directories.", metavar="PATH…")]
OptionalPaths = Annotated[
    list[Path] | None,
    argument(
        help="Manifest files or directories; else those of RECONCILER_PATHS, else manifests/.",
        metavar="PATH…",
    ),
]
FollowSymlinks = Annotated[bool, flag("--follow-symlinks", help="Follow links that leave a given folder.")]
Anonymise = Annotated[
    bool,
    flag("--anonymise", help="Show how many users there are and not who: for what others can read."),
]
Endpoint = Annotated[
    str | None,
    flag(help="Service endpoint: https, or http to this machine.", metavar="URL"),
]
Sandbox = Annotated[bool, flag("--sandbox", help="Use the simulated service on this machine.")]
NoColor = Annotated[bool, flag("--no-color", help="Print without colour.", is_eager=True, callback=no_color)]
Quiet = Annotated[
    bool,
    flag("--quiet", "-q", help="Print no progress and no notes on stderr.", is_eager=True, callback=quiet),
]
Verbose = Annotated[bool, flag("--verbose", "-v", help="Log requests, waits and states on stderr.")]
Debug = Annotated[bool, flag("--debug", help="Log everything: also leases, and guards that let pass.")]
LogFile = Annotated[Path | None, flag("--log-file", help="Log to this file; it is added to.", metavar="FILE")]


class LogFormat(StrEnum):
    """How a log is written."""

    TEXT = "text"
    JSON = "json"


LogFormatOption = Annotated[LogFormat, flag("--log-format", help="How to write the log.")]
JournalUrl = Annotated[
    str | None,
    flag(
        "--journal",
        help="SQLAlchemy URL of the journal, or @FILE with it. Others on this machine can read a command line: "
        "put a password into RECONCILER_JOURNAL or a file.",
        metavar="URL|@FILE",
    ),
]
PolicyFile = Annotated[
    Path | None,
    flag(
        "--policy",
        help="Policy that manifests and flags cannot lift (RECONCILER_POLICY).",
        metavar="FILE",
    ),
]
Webhooks = Annotated[
    list[str] | None,
    flag(
        "--webhook",
        help="Notify this address: https gets JSON, others go through apprise. An address is a secret, and others "
        "on this machine can read a command line: prefer RECONCILER_WEBHOOK, or @FILE.",
        metavar="URL|@FILE",
    ),
]
OutMarkdown = Annotated[Path | None, flag(help="Also write the plan as Markdown.", metavar="FILE")]
OutHtml = Annotated[Path | None, flag(help="Also write the plan as a page.", metavar="FILE")]
OutJson = Annotated[Path | None, flag(help="Also write the plan as JSON.", metavar="FILE")]
OutGitlab = Annotated[Path | None, flag(help="Also write GitLab's terraform report.", metavar="FILE")]
Lifetime = Annotated[
    str, flag("--plan-ttl", help="How long the plan can be applied: 30m, 1h, 2d.", metavar="TIME")
]
LimitDisks = Annotated[int | None, flag(min=0, help="Most disks a run may destroy.", show_default="10")]
LimitCopies = Annotated[int | None, flag(min=0, help="Most copies a run may destroy.", show_default="100")]
LimitPools = Annotated[int | None, flag(min=0, help="Most pools that may lose disks.", show_default="5")]
LimitGigabytes = Annotated[
    int | None, flag(min=0, help="Most GB a run may destroy.", show_default="no limit")
]
LimitUsers = Annotated[
    int | None, flag(min=0, help="Most people who may lose data.", show_default="no limit")
]
LimitShareOfPool = Annotated[
    str | None,
    flag(help="Most percent of its disks that a pool may lose.", metavar="N%", show_default="no limit"),
]
LimitShareOfRun = Annotated[
    str | None,
    flag(help="Most percent of all disks that may go.", metavar="N%", show_default="no limit"),
]
AutoApprove = Annotated[
    bool, flag("--auto-approve", help="Do not prompt; every guard and limit still applies.")
]
SignedApprovals = Annotated[
    list[Path] | None,
    flag("--approval", help="A signed approval, or a folder of them; may be repeated.", metavar="FILE|DIR"),
]
Parallelism = Annotated[int, flag(min=1, max=64, help="Pools worked on at the same time.")]


ShardOf = Annotated[
    str,
    flag("--shard", help="Work on one of N equal shares of the pools: 1/N to N/N.", metavar="I/N"),
]
RunGroup = Annotated[
    str,
    flag(
        help="Runs of one group share their limits through the journal (RECONCILER_RUN_GROUP).",
        metavar="ID",
        show_default=False,
    ),
]


Region = Annotated[str | None, flag(help="Region, when no manifest is read.", metavar="ID")]
Profile = Annotated[
    str, flag(help="Section of the credentials file to use.", metavar="NAME", show_default=False)
]
ProjectId = Annotated[str | None, flag(help="Project, when no manifest is read.", metavar="ID")]


Confirmed = Annotated[
    list[str] | None,
    flag(
        "--project-id",
        help="Confirm that the credentials are for this project, where IAM cannot; may be repeated.",
        metavar="ID",
    ),
]


def pool_names(line: Context, _flag: object, incomplete: str) -> list[str]:
    """Names for a shell to complete."""
    from reconciler.cli import completion  # noqa: PLC0415 - only for a shell

    return completion.pool_names(line.params, line.args, incomplete)


SelectedPools = Annotated[
    list[str] | None,
    flag(
        "--pool",
        help="Only this declared pool, by name, id or pattern ('finance-*'); may be repeated.",
        metavar="NAME|ID",
        complete=pool_names,
    ),
]
ExcludedPools = Annotated[
    list[str] | None,
    flag(
        "--exclude",
        help="Not this declared pool, written the same way; may be repeated.",
        metavar="NAME|ID",
        complete=pool_names,
    ),
]


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


class HistoryOutput(StrEnum):
    """How the journal is shown."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"
    """Every run whole, a line each, oldest first: for audits."""


PlanFormat = Annotated[Format, flag("--format", help="How to show the plan.")]
OutputFormat = Annotated[Output, flag("--format", help="How to show the result.")]


def shard(text: str) -> Shard:
    """Read a share such as ``3/8``; raises ``BadInput`` for anything else."""
    found = re.fullmatch(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})", text)
    if not found or int(found[1]) > int(found[2]):
        raise BadInput(
            f"--shard {text!r} is not a share", "use 1/8 for the first of eight, up to 8/8 for the last"
        )
    return Shard(int(found[1]), int(found[2]))


def group_of(given: str) -> str:
    """The group of a run: by the flag, else by the setting; empty for a run of its own."""
    return given or os.environ.get("RECONCILER_RUN_GROUP", "")


def share(text: str, group: str) -> Shard:
    """The share of a run that writes; raises ``BadInput`` for a share without a group to share the limits with."""
    found = shard(text)
    if found.count > 1 and not group:
        raise BadInput(
            f"--shard {text} without --run-group would give every share the whole limits",
            "add --run-group ID (RECONCILER_RUN_GROUP): the same for all shares of a run, new for each run",
        )
    return found


class ConnectionOptions(Struct, frozen=True):
    """Where a command works; these flags outrank settings and environment."""

    endpoint: Endpoint = None
    sandbox: Sandbox = False
    journal: JournalUrl = None
    policy: PolicyFile = None
    project_id: Confirmed = None


JournalOptions = Annotated[ConnectionOptions, "sandbox", "journal"]
"""Which journal a command reads: the same with these flags alone, as ``options`` understands it."""
ServiceOptions = Annotated[ConnectionOptions, "endpoint", "sandbox"]
"""Which service a command reads that needs no journal."""
PlaceOptions = Annotated[ConnectionOptions, "endpoint", "sandbox", "journal", "policy"]
"""The same for a command that reads no manifests, and has a ``--project-id`` of its own."""


class SelectionOptions(Struct, frozen=True):
    """Which of the declared pools a command is about."""

    pool: SelectedPools = None
    exclude: ExcludedPools = None

    @property
    def selection(self) -> Selection:
        """The same as values."""
        return Selection(tuple(self.pool or ()), tuple(self.exclude or ()))


class LimitOptions(Struct, frozen=True):
    """Limits set by flags for one run; None keeps the manifests' limit."""

    limit_disks: LimitDisks = None
    limit_copies: LimitCopies = None
    limit_pools: LimitPools = None
    limit_gigabytes: LimitGigabytes = None
    limit_users: LimitUsers = None
    limit_share_of_pool: LimitShareOfPool = None
    limit_share_of_run: LimitShareOfRun = None

    @property
    def given(self) -> dict[str, int]:
        """The limits that were set, by their names in manifests; raises ``BadInput`` for a share that is none."""
        values = {name.removeprefix("limit_"): getattr(self, name) for name in self.__struct_fields__}
        return {name: _limit(name, value) for name, value in values.items() if value is not None}

    def over(self, limits: Limits) -> Limits:
        """The manifests' limits, replaced by those given as flags."""
        return replace(
            limits, **{name: Limit(value, _limit_flag(name)) for name, value in self.given.items()}
        )


def _limit_flag(name: str) -> str:
    return f"--limit-{name.replace('_', '-')}"


def _limit(name: str, value: int | str) -> int:
    if isinstance(value, int):
        return value
    # Without the sign too: so it stands in the command that a plan prints.
    if found := re.fullmatch(r"(100|[1-9]?[0-9])%?", value):
        return int(found[1])
    raise BadInput(f"{_limit_flag(name)} {value!r} is not whole percent", "write 0% to 100%, such as 50%")


class OutputOptions(Struct, frozen=True):
    """Files to write a plan to, each in its own format."""

    out_markdown: OutMarkdown = None
    out_html: OutHtml = None
    out_json: OutJson = None
    out_gitlab: OutGitlab = None


class TargetOptions(Struct, frozen=True):
    """The one target of a command that reads no manifest."""

    region: Region = None
    project_id: ProjectId = None

    @property
    def target(self) -> Target | None:
        """The target that the flags name, or None; raises ``BadInput`` when only one of the two is given."""
        if self.region and self.project_id:
            if not (fits_header(self.region) and fits_header(self.project_id)):
                raise BadInput("--region or --project-id holds a character that cannot be sent")
            return Target(self.region, self.project_id)
        if self.region or self.project_id:
            raise BadInput("--region and --project-id go together")
        return None


class ResolveOptions(Struct, frozen=True):
    """Which targets a command resolves that takes them from the journal, and which projects are confirmed for it."""

    region: Region = None
    project_id: Confirmed = None

    @property
    def target(self) -> Target | None:
        """The one target that the flags name, or None for those of the journal; raises ``BadInput`` for half of one."""
        if not self.region:
            return None  # a confirmation alone, as every other command takes it and prints it
        if len(self.project_id or ()) != 1:
            raise BadInput("--region goes together with one --project-id")
        return TargetOptions(self.region, (self.project_id or [""])[0]).target


def options(command: Callable[..., int]) -> Command:
    """Make a command of a function: a parameter of one of the classes above becomes one flag per field.

    Where names are added to the class (``Annotated``), only the fields of these names become flags.
    Also adds ``--no-color``, ``--quiet`` and the flags of the log, so that no command has to declare them.
    """
    groups: dict[str, tuple[Any, list[str]]] = {}
    parameters: list[Parameter] = []
    for each in signature(command, eval_str=True).parameters.values():
        group, *only = get_args(each.annotation) or [each.annotation]
        if isinstance(group, type) and issubclass(group, Struct):
            own_fields = [one for one in signature(group).parameters.values() if one.name in only or not only]
            groups[each.name] = group, [one.name for one in own_fields]
            hints = get_type_hints(group, include_extras=True)
            parameters += [
                Parameter(one.name, Parameter.KEYWORD_ONLY, default=one.default, annotation=hints[one.name])
                for one in own_fields
            ]
        else:
            parameters.append(each.replace(kind=Parameter.KEYWORD_ONLY))
    own = {each.name for each in parameters}
    parameters += [each for each in _OF_ALL if each.name not in own]

    def run(**values: Any) -> int:
        asked = {each.name: values.pop(each.name) for each in _OF_ALL if each.name not in own}
        with _logging(asked):
            return called(values)

    def called(values: dict[str, Any]) -> int:
        for name, (group, names) in groups.items():
            values[name] = group(**{one: values.pop(one) for one in names})
        remember(
            [values[name] for name in groups],
            follow_symlinks=bool(values.get("follow_symlinks", False)),
            profile=str(values.get("profile") or ""),
        )
        return command(**values)

    return made(command.__name__, command.__doc__ or "", run, parameters)


_OF_ALL = tuple(
    Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    for name, default, annotation in (
        ("no_color", False, NoColor),
        ("quiet", False, Quiet),
        ("verbose", False, Verbose),
        ("debug", False, Debug),
        ("log_file", None, LogFile),
        ("log_format", LogFormat.TEXT, LogFormatOption),
    )
)
"""What every command has; an eager callback has seen the first two."""


def _logging(asked: dict[str, Any]) -> AbstractContextManager[None]:
    """Log as long as the command runs, where that is asked for."""
    as_json = asked["log_format"] is LogFormat.JSON
    verbose, debug, file = asked.get("verbose", False), asked["debug"], asked["log_file"]
    if not (verbose or debug or file or os.environ.get("RECONCILER_LOG")):
        if as_json:
            raise BadInput("--log-format without a log to write", "add --verbose, --debug or --log-file FILE")
        return nullcontext()
    from reconciler.cli.logs import Asked, logging_as  # noqa: PLC0415 - only where a log is asked for

    return logging_as(Asked(verbose, debug, file, as_json), os.environ)
