"""Makes the commands that are printed such that they can be pasted: quoted, with the flags of this command line.

Where a message names a command is left to the message; ``Console`` completes what it prints.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from reconciler.model import Selection, Target
from reconciler.redaction import redact
from reconciler.safe_text import safe_text
from reconciler.values import Struct, field, replace

_WITH_SERVICE = frozenset({"plan", "apply", "drift", "watch", "explain", "resolve", "retry", "import"})
_WITH_JOURNAL = frozenset(
    {"plan", "apply", "drift", "watch", "explain", "resolve", "retry", "history", "report", "marks"}
)
_WITH_POLICY = frozenset({"plan", "apply", "drift", "watch", "explain", "resolve", "retry"})
_WITH_PATHS = frozenset({"plan", "apply", "drift", "watch", "explain", "retry", "validate"})
_WITH_SANDBOX = _WITH_SERVICE | _WITH_JOURNAL
_WITH_PROJECT = _WITH_POLICY
_WITH_PROFILE = frozenset({"resolve", "import"})
"""Those that read no manifest, which would name it."""
_WITH_SELECTION = frozenset({"plan", "apply", "drift", "watch"})
_COMMAND = rf"(?<![\w/.-])reconciler ({'|'.join(sorted(_WITH_SANDBOX | _WITH_PATHS))})(?![\w-])"


class Given(Struct, frozen=True):
    """Which service, journal and policy the flags of this command line name."""

    sandbox: bool = False
    endpoint: str = ""
    journal: str = ""
    projects: tuple[str, ...] = ()
    """Those confirmed with ``--project-id``."""
    policy: str = ""
    follow_symlinks: bool = False
    """Without it the same paths would be refused, or fewer manifests be read."""
    selection: Selection = field(default_factory=Selection)
    """Without it a command would be about more pools."""
    profile: str = ""
    """Section of the credentials file; by the flag, or by manifests that all name the same one."""
    region: str = ""
    """That of the one target to which ``resolve`` was limited."""

    def flags(self, command: str) -> str:
        """The same flags for another command, as far as it has them; begins with a space unless empty."""
        parts: list[str] = []
        if self.sandbox and command in _WITH_SANDBOX:
            parts.append("--sandbox")
        if self.endpoint and command in _WITH_SERVICE:
            parts.append(f"--endpoint {quoted(self.endpoint)}")
        if self.journal and command in _WITH_JOURNAL:
            parts.append(f"--journal {_journal(self.journal)}")
        if self.region and command == "resolve":
            parts.append(f"--region {quoted(self.region)}")
        if command in _WITH_PROJECT:
            parts += [f"--project-id {quoted(each)}" for each in self.projects]
        if self.profile and command in _WITH_PROFILE:
            parts.append(f"--profile {quoted(self.profile)}")
        if self.policy and command in _WITH_POLICY:
            parts.append(f"--policy {path_word(self.policy)}")
        if self.follow_symlinks and command in _WITH_PATHS:
            parts.append("--follow-symlinks")
        return "".join(f" {each}" for each in parts)

    def selecting(self, command: str) -> list[str]:
        """The flags that select pools, one word each, for a command that reads manifests and no saved plan."""
        if command not in _WITH_SELECTION:
            return []
        named = (("--pool", self.selection.pools), ("--exclude", self.selection.exclude))
        # With "=", so that a name that begins with a dash is not read as a flag.
        return [f"{flag}={quoted(each)}" for flag, given in named for each in given]


GIVEN: ContextVar[Given] = ContextVar("given", default=Given())  # noqa: B039 - it is frozen
"""Set by every command that takes such flags, before it does anything else."""


def remember(groups: Sequence[object], *, follow_symlinks: bool = False, profile: str = "") -> None:
    """Keep the flags that commands printed from now on must repeat."""
    sandbox, endpoint, journal, policy = (
        next((value for group in groups if (value := getattr(group, name, None))), None)
        for name in ("sandbox", "endpoint", "journal", "policy")
    )
    confirmed = [getattr(group, "project_id", None) for group in groups]
    projects = next((tuple(each) for each in confirmed if isinstance(each, list)), ())
    selection = next((each for group in groups if (each := getattr(group, "selection", None))), Selection())
    # Beside a list of projects that are confirmed: only there a region is one to resolve in.
    region = next((getattr(group, "region", None) for group in groups), None) if projects else None
    GIVEN.set(
        Given(
            bool(sandbox),
            endpoint or "",
            journal or "",
            projects,
            str(policy or ""),
            follow_symlinks,
            selection,
            profile,
            region or "",
        )
    )


def forget_flags() -> None:
    """Keep no flags: a process may run one command line after another, and the next may end before it has any."""
    GIVEN.set(Given())


def acting_as(targets: Iterable[Target]) -> None:
    """Keep the profile that manifests name, for commands that are printed and read none."""
    profiles = {each.profile for each in targets}
    if len(profiles) == 1:  # of several, no command could take more than one
        GIVEN.set(replace(GIVEN.get(), profile=profiles.pop()))


def complete(text: str) -> str:
    """The same text, with the flags given in every command that it names."""
    given = GIVEN.get()
    if given == Given() or "reconciler " not in text:
        return text

    def completed(found: re.Match[str]) -> str:
        flags = given.flags(found[1])
        # What ``command`` has made is complete already.
        return found[0] if flags and text.startswith(flags, found.end()) else found[0] + flags

    return re.sub(_COMMAND, completed, text)


def command(name: str, paths: Iterable[Path | str] = (), *more: str) -> str:
    """One complete command line."""
    given = GIVEN.get()
    begin = f"reconciler {name}{given.flags(name)}"
    return " ".join([begin, *given.selecting(name), *map(path_word, paths), *more])


def path_word(path: Path | str) -> str:
    """A path as one word of a shell, which no command takes for a flag."""
    text = str(path)
    return quoted(f"./{text}" if text.startswith("-") else text)


def quoted(text: str) -> str:
    """One word of a shell; what a screen would not show as it is (control characters, other bytes) is escaped."""
    if safe_text(text) == text and text.isprintable():
        return shlex.quote(text)
    plain = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b"'\\" else f"\\x{byte:02x}"
        for byte in os.fsencode(text)
    )
    return f"$'{plain}'"


def _journal(url: str) -> str:
    """The URL as one word, or the variable in its place when it holds a password, which is never printed."""
    try:
        parts = urlsplit(url)
        options = parse_qs(parts.query, keep_blank_values=True)
        secret = (
            bool(parts.password) or any(name.endswith("password") for name in options) or redact(url) != url
        )
    except ValueError:
        secret = True
    return '"$RECONCILER_JOURNAL"' if secret else quoted(url)
