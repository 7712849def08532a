"""``version``: prints the version of this program, and on request what it consists of.

What an installation records is left to ``installation``.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import Distribution
from typing import Annotated

from reconciler import DISTRIBUTION, __version__, installation
from reconciler.cli import flags
from reconciler.cli.connect import read_settings
from reconciler.cli.console import Console
from reconciler.cli.parameters import flag
from reconciler.errors import BadInput, ExitCode


@flags.options
def version(
    *,
    verbose: Annotated[
        bool, flag("--verbose", help="Also commit, Python, dependencies and kind of journal.")
    ] = False,
    journal: flags.JournalUrl = None,
) -> int:
    """Print the version."""
    lines = [f"reconciler {__version__}"]
    if verbose:
        lines += _details(installation.installed(), flags.ConnectionOptions(journal=journal))
    Console().text("\n".join(lines))
    return int(ExitCode.DONE)


def _details(here: Distribution | None, options: flags.ConnectionOptions) -> Iterator[str]:
    yield f"distribution: {DISTRIBUTION}"
    yield f"installed from: {installation.origin(here)}"
    yield f"commit: {(here and installation.commit(here)) or 'not recorded'}"
    yield f"Python: {platform.python_implementation()} {platform.python_version()}"
    yield f"journal: {_journal_kind(options)}"
    yield "dependencies:"
    known = installation.versions()
    names = [
        name
        for extra in ("", *_EXTRAS)
        for name in (installation.dependencies(here, extra) if here else known)
    ]
    yield from (f"  {name} {known[name]}" for name in sorted(set(names)) if name in known)


_EXTRAS = ("postgres", "notify")
"""What people install beside the dependencies that are always there."""


def _journal_kind(options: flags.ConnectionOptions) -> str:
    """The kind of database, without asking it, and nothing else of its address."""
    try:
        url = read_settings(options).journal
    except BadInput as error:
        return f"unknown ({error.message})"
    if url is None:
        return "SQLite, in the state folder"
    scheme = url.partition(":")[0].partition("+")[0]
    return {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(scheme, "of an unknown kind")
