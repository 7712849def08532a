"""``validate``: reports every fault of every manifest in one run; finding them is left to ``manifest``."""

from __future__ import annotations

from reconciler.cli import flags
from reconciler.cli.console import Console
from reconciler.errors import ExitCode
from reconciler.manifest.load import load
from reconciler.render.words import count


@flags.options
def validate(paths: flags.Paths) -> int:
    """Check manifests and report every fault of every file in one run."""
    manifest = load(paths)
    Console().text(
        f"Valid: {count(len(manifest.pools), 'pool')} in {count(len(manifest.sources), 'file')}, "
        f"{count(len(manifest.targets), 'target')}."
    )
    return int(ExitCode.DONE)
