"""Completes command lines for a shell: names of pools come from the manifests, and nothing is asked of any service.

The scripts for the shells and the completion of commands, flags and files are click's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from click import Command
    from click.shell_completion import ShellComplete

SHELLS = ("bash", "zsh", "fish")
"""Those whose completion is tested."""
VARIABLE = "_RECONCILER_COMPLETE"
"""What a shell sets to ask for completions, such as ``bash_complete``."""
_PLAIN = re.compile(r"[\w@%+][\w@%+.-]*")
"""Names that mean themselves in every shell; others are not offered, since bash would split and expand them."""


def script(shell: str, command: Command) -> str:
    """The script that switches completion on in this shell."""
    return _of(shell, command).source()


def completions(asked: str, command: Command) -> str:
    """What this shell is offered for the command line in the environment; raises for what no script asks."""
    shell, _, what = asked.partition("_")
    if what != "complete":
        raise ValueError(asked)
    asker = _of(shell, command)
    words, incomplete = asker.get_completion_args()
    if words[-1:] == ["="]:  # bash parts --pool=fin there, and replaces what stands behind it
        words.pop()
    items = asker.get_completions(words, incomplete)
    flag, equals, _ = incomplete.partition("=")
    if equals and flag.startswith("-"):  # the other shells replace the whole word
        for each in items:
            each.value = f"{flag}={each.value}"
    return "\n".join(map(asker.format_completion, items))


def _of(shell: str, command: Command) -> ShellComplete:
    from click.shell_completion import get_completion_class  # noqa: PLC0415 - only for a shell

    found = get_completion_class(shell)
    if found is None:
        raise ValueError(shell)
    return found(command, {}, "reconciler", VARIABLE)


def pool_names(given: Mapping[str, Any], left: Sequence[str], incomplete: str) -> list[str]:
    """Names of the declared pools that begin so, ids of those without a name; none where the manifests are no good."""
    from reconciler.cli.manifest_paths import manifest_paths  # noqa: PLC0415 - not needed to run a command
    from reconciler.manifest.load import read  # noqa: PLC0415

    # Where the line ends with the flag, reading it ended there, and the paths are what is left.
    paths = [Path(each) for each in given.get("paths") or left]
    with suppress(Exception):
        manifest = read(manifest_paths(paths), follow_symlinks=bool(given.get("follow_symlinks")))
        names = {pool.name or pool.id for pool in manifest.pools}
        return sorted(each for each in names if each.startswith(incomplete) and _PLAIN.fullmatch(each))
    return []
