"""The request to stop; apart from what else a run is given, since a command that only reads takes no more of it."""

from __future__ import annotations

from reconciler.values import Struct


class Stop(Struct):
    """The request to stop; set by a signal, read before every new call."""

    requested: bool = False
    terminated: bool = False
    """True when the signal was SIGTERM rather than SIGINT."""
