"""Tells webhooks what a command has done: which there are, from where a message comes, and that nothing waits for it.

What a message says is left to ``render.notification``, delivery to ``notify``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from reconciler.apply.stop import Stop
from reconciler.cli.actor import origin, pull_request
from reconciler.cli.console import Console
from reconciler.cli.signals import run_async
from reconciler.clock import CLOCK
from reconciler.errors import Interrupted
from reconciler.model import DesiredPool
from reconciler.notify.notifications import Letter, Notifications, notifications
from reconciler.render.line import count
from reconciler.render.message import Compose
from reconciler.render.notification import Source
from reconciler.settings import owner_variable, owners_webhooks, webhooks


def notifier(webhook: Sequence[str] | None, textfile: Path | None = None) -> Notifications:
    """Where messages go, by flags and environment; raises ``BadInput`` before anything is done."""
    everybodys = webhooks(os.environ, webhook or [])
    return notifications(textfile, everybodys, CLOCK.get(), owners_webhooks(os.environ))


def source(command: str, *, approval: str = "", anonymise: bool = False) -> Source:
    """From where this command's messages come, as the environment says."""
    known = origin(os.environ)
    actor = "" if anonymise else known.actor
    return Source(command, actor, known.commit, pull_request(os.environ), known.run_url, approval)


def say_unheard(pools: Iterable[DesiredPool], notify: Notifications, console: Console) -> None:
    """Say which owners nobody tells of their pools."""
    if line := unheard(pools, notify):
        console.info(line)


def unheard(pools: Iterable[DesiredPool], notify: Notifications) -> str:
    """Which owners nobody tells of their pools, in one line; empty when there is none."""
    silent = sorted({each.owner for each in pools if each.owner} - notify.owners)
    if not silent:
        return ""
    variables = ", ".join(map(owner_variable, silent))
    verb = "is" if len(silent) == 1 else "are"
    return f"{count(len(silent), 'owner')} of pools will not hear of them: {variables} {verb} not set."


async def sent(compose: Compose, notify: Notifications, console: Console, stop: Stop) -> None:
    """Deliver to all webhooks; a signal only cuts that short."""
    try:
        await notify.send(Letter(compose, CLOCK.get().now()), console.info)
    except asyncio.CancelledError:
        if not stop.requested:
            raise
        console.info("Warning: interrupted before every webhook had answered")


def send(compose: Compose, notify: Notifications, console: Console) -> None:
    """The same for a command whose work is done; whatever comes of it, its result stands."""
    if not notify.webhooks:
        return
    try:
        run_async(lambda stop: sent(compose, notify, console, stop))
    except Interrupted:  # a signal before the first step: the result of the work still counts
        console.info("Warning: interrupted before every webhook had answered")
