"""``validate``: reports every fault of every manifest in one run; finding them is left to ``manifest``."""

from __future__ import annotations

from reconciler.cli import flags
from reconciler.cli.console import Console
from reconciler.errors import ExitCode
from reconciler.manifest.load import read
from reconciler.render.line import count


@flags.options
def validate(
    paths: flags.Paths,
    *,
    shown: flags.OutputFormat = flags.Output.TEXT,
    follow_symlinks: flags.FollowSymlinks = False,
) -> int:
    """Check manifests and report every fault of every file in one run."""
    console = Console()
    manifest = read(paths, follow_symlinks=follow_symlinks)
    if shown is flags.Output.JSON:
        from reconciler.render.json.validate import validate_json  # noqa: PLC0415 - one of two forms

        console.json_text(validate_json(manifest))
        return int(ExitCode.DONE)
    # The first note says how much was read, as the result does, which has no word for limits.
    for note in manifest.notes[bool(manifest.pools) :]:
        console.note(note)
    console.text(
        f"Valid: {count(len(manifest.pools), 'pool')} in {count(len(manifest.sources), 'file')}, "
        f"{count(len(manifest.targets), 'target')}."
    )
    return int(ExitCode.DONE)
