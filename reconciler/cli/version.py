"""``version``: prints the version of this program."""

from __future__ import annotations

from reconciler import __version__
from reconciler.cli import flags
from reconciler.cli.console import Console
from reconciler.errors import ExitCode


@flags.options
def version() -> int:
    """Print the version."""
    Console().text(f"reconciler {__version__}")
    return int(ExitCode.DONE)
