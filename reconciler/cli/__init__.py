"""Owns flags, printing, asking and exit codes; the only place that prints.

``app`` holds the commands, ``flags`` their flags, ``connect`` opens targets, ``screen`` is what a person
sees, ``running`` runs a story under signals and turns every error into a sentence and an exit code.
"""

from __future__ import annotations

import gc
import os
import sys

from reconciler.cli.streams import endure


def main() -> int:
    """Run the command line; returns the exit code and never lets a traceback through."""
    endure()
    if sys.argv[1:] in (["version"], ["--version"]):  # needs none of the imports below
        from reconciler import __version__  # noqa: PLC0415

        print(f"reconciler {__version__}", flush=True)
        return 0
    # Ten thousand pools are a million objects that stay: looking for cycles among them takes a fifth of a plan.
    gc.set_threshold(200_000, 20, 20)
    import threading  # noqa: PLC0415 - as below, not needed for the version

    from reconciler.cli.running import run_app  # noqa: PLC0415

    code = run_app(sys.argv[1:])
    # A name is still being resolved: an interrupted run does not wait for it.
    if len(threading.enumerate()) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
