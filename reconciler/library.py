"""What programs call: load manifests, plan, render, apply. ``reconciler`` itself offers these names, and no others.

Every call goes the way of the command of the same purpose, with its journal, guards, policy, approvals and grace, so
no program can remove more than a command line could. Nothing is printed; the environment's settings hold as ever.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

from reconciler.apply.context import Options
from reconciler.apply.results import ApplyReport
from reconciler.apply.stop import Stop
from reconciler.apply.unnamed import unnamed_report
from reconciler.cli import flags
from reconciler.cli.apply import Rules, carry_out
from reconciler.cli.approval import approval_by, signed_approvals
from reconciler.cli.console import Console
from reconciler.cli.plan import PlanRequest, planned
from reconciler.cli.policy import policy_of, read_as, sources_of
from reconciler.engine.apply import ApplyRequest
from reconciler.errors import BadInput, ExitCode, ReconcilerError
from reconciler.manifest.load import load
from reconciler.model import Manifest, Selection, Shard
from reconciler.planning.anonymous import anonymised
from reconciler.planning.plan import Plan
from reconciler.planning.selection import select
from reconciler.redaction import know
from reconciler.render.text import plan_lines
from reconciler.settings import passwords_in, secrets_of
from reconciler.values import Struct

__all__ = [
    "ApplyReport",
    "ExitCode",
    "Manifests",
    "Place",
    "Plan",
    "ReconcilerError",
    "apply_manifests",
    "load_manifests",
    "make_plan",
    "render_plan",
]

T = TypeVar("T")


def _discard(_message: str) -> None:
    """Say nothing."""


class Place(Struct, frozen=True):
    """Where to work and under which policy; what is left out is taken from the environment, as by commands."""

    sandbox: bool = False
    """True: the simulated service on this machine; nothing real is touched."""
    endpoint: str | None = None
    """Address of the service: https, or http to this machine."""
    journal: str | None = None
    """SQLAlchemy URL of the journal, or ``@FILE`` with it."""
    policy: Path | None = None
    """What manifests and programs cannot lift."""
    project_ids: tuple[str, ...] = ()
    """Projects that are confirmed to be those of the credentials, where IAM cannot say it."""
    log: Callable[[str], None] = _discard
    """Receives each line that a command would write on stderr. What it raises is ignored: calls may have left."""


class Manifests(Struct, frozen=True):
    """Manifests as they were read; ``load_manifests`` makes them."""

    paths: tuple[Path, ...]
    follow_symlinks: bool
    desired: Manifest
    """What they declare. To apply something else, change the files: they are read again before each call."""


def load_manifests(
    *paths: str | Path, pools: Iterable[str] = (), exclude: Iterable[str] = (), follow_symlinks: bool = False
) -> Manifests:
    """Read manifest files and folders; raises ``ReconcilerError`` with every fault of every file.

    ``pools`` and ``exclude`` narrow them as ``--pool`` and ``--exclude`` do: names, ids or shell patterns.
    """
    given = tuple(map(Path, paths))
    desired = select(load(given, follow_symlinks=follow_symlinks), Selection(tuple(pools), tuple(exclude)))
    return Manifests(given, follow_symlinks, desired)


def make_plan(manifests: Manifests, place: Place | None = None, *, desktops: bool = False) -> Plan:
    """Compare manifests with the live pools; only reads.

    ``desktops`` also finds desktops whose disks are not those of their pool. A target that cannot be read is in
    ``failures`` of the plan, unless it is the only one.
    """
    options, console = _opened(place)
    asked = PlanRequest(desktops=desktops)

    async def work(_stop: Stop) -> Plan:
        return await planned(manifests.desired, manifests.desired.limits, options, console, asked)

    return _run(work)


def render_plan(
    plan: Plan, form: Literal["text", "markdown", "html", "json"] = "text", *, anonymise: bool = False
) -> str:
    """A plan as ``plan --format`` shows it; ``anonymise`` shows how many users there are and not who."""
    seen = anonymised(plan) if anonymise else plan
    match form:
        case "text":
            return "".join(f"{line.text}\n" for line in plan_lines(seen))
        case "markdown":
            from reconciler.render.markdown import plan_markdown  # noqa: PLC0415 - one of four forms

            return plan_markdown(seen)
        case "html":
            from reconciler.render.html import plan_html  # noqa: PLC0415 - jinja2

            return plan_html(seen)
        case "json":
            from reconciler.render.json.plan import plan_json  # noqa: PLC0415 - builds models

            return plan_json(seen)
    raise BadInput(f"a plan has no form {form!r}", "use text, markdown, html or json")


def apply_manifests(
    manifests: Manifests,
    approve: Callable[[Plan], str | None],
    place: Place | None = None,
    *,
    approvals: Sequence[str | Path] = (),
    anonymise: bool = False,
) -> ApplyReport:
    """Plan again, have ``approve`` decide on that plan, carry it out, and prove the result.

    ``approve`` returns the digest that it approves: that of the plan it is given (``plan.digest``), or one that was
    reviewed elsewhere, and the plan must have it. None refuses. It is not asked where there is nothing to carry out
    or the run is blocked. ``approvals`` are signed approvals, for a policy that asks for them.

    Raises ``ReconcilerError`` only before anything is sent; from then on errors are in the report. Ctrl-C begins no
    further call and ends with a report that names what is in flight.
    """
    options, console = _opened(place)
    policy = policy_of(options)
    signed = signed_approvals(policy, [Path(each) for each in approvals])
    sources = sources_of(manifests.paths, options, follow_symlinks=manifests.follow_symlinks)
    desired = manifests.desired
    rules = Rules(
        policy,
        sources,
        read_as(desired, policy, sources),
        Shard(),
        flags.group_of(""),  # such runs share their limits, whoever starts them
        unnamed=anonymise,
    )
    request = ApplyRequest(
        manifest=desired,
        limits=desired.limits,
        approve=approval_by(approve, signed, console, anonymise=anonymise),
        options=Options(),
    )

    async def work(stop: Stop) -> ApplyReport:
        return await carry_out(request, rules, options, console, stop)

    report = _run(work)
    return unnamed_report(report) if anonymise else report


class _Silent(Console):
    """A console for a program: what would be said goes to its log, and nothing to a screen."""

    def __init__(self, log: Callable[[str], None]) -> None:
        super().__init__()
        self._log = log

    def info(self, message: str) -> None:
        with suppress(Exception):  # of the program's: a report must not be lost with what it reports
            self._log(message)

    def note(self, message: str) -> None:
        self.info(message)

    def begin(self, what: str) -> None:
        """Show no progress."""

    @contextmanager
    def working(self, what: str) -> Iterator[None]:  # noqa: ARG002 - the name is the base's
        yield


def _opened(place: Place | None) -> tuple[flags.ConnectionOptions, Console]:
    """The same place as commands have it, once its secrets are known to be some."""
    where = place or Place()
    know(*secrets_of(os.environ), *passwords_in(where.journal or ""), *passwords_in(where.endpoint or ""))
    options = flags.ConnectionOptions(
        where.endpoint, where.sandbox, where.journal, where.policy, list(where.project_ids) or None
    )
    return options, _Silent(where.log)


def _run(work: Callable[[Stop], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine; Ctrl-C asks it to stop, and what it returns then is still the result."""

    async def begun() -> T:
        stop = Stop()
        task = asyncio.ensure_future(_ended(work(stop)))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            stop.requested = True
            task.cancel()
            return await task

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        try:
            return asyncio.run(begun())
        except _EndOfProgramError as ended:
            raise ended.error from None
    raise BadInput(
        "an event loop is running in this thread, which planning and applying would block",
        "await asyncio.to_thread(make_plan, …)",
    )


class _EndOfProgramError(Exception):
    """What the program's own code ended the program with; a task that raises it itself ends the loop around it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


async def _ended(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:
        raise _EndOfProgramError(error) from None
