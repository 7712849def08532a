"""Finds the policy of a command: by flag or environment; what cannot be read is an error, never no policy.

Reading the file is left to ``manifest.policy``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from reconciler.cli.flags import ConnectionOptions
from reconciler.errors import BadInput, Refused, StalePlan
from reconciler.manifest.sources import Seen, Sources
from reconciler.model import Manifest, Policy, Target
from reconciler.planning.plan import Plan

VARIABLE = "RECONCILER_POLICY"


def policy_path(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The file of the policy to obey, or None; raises ``BadInput`` when two are named."""
    named = environ.get(VARIABLE)
    if named == "":
        # Most likely a variable of the CI that nothing filled in: taken for "no policy" it would lift every rule.
        raise BadInput(f"{VARIABLE} is set but empty", "let it name the policy file, or unset it")
    if given is not None and named is not None and os.path.realpath(given) != os.path.realpath(named):
        raise BadInput(
            f"--policy {given} and {VARIABLE} ({named}) name two policies",
            f"the environment's cannot be replaced by a flag; omit --policy, or unset {VARIABLE}",
        )
    return given if given is not None else Path(named) if named is not None else None


def find_policy(given: Path | None, environ: Mapping[str, str] = os.environ) -> Policy | None:
    """The policy to obey, or None; raises ``BadInput`` when it cannot be read, or when two are named."""
    path = policy_path(given, environ)
    if path is None:
        return None
    from reconciler.manifest.policy import read_policy  # noqa: PLC0415 - builds models, and most runs have none

    return read_policy(path)


def policy_of(connection: ConnectionOptions) -> Policy | None:
    """The policy that the flags of a command or the environment name."""
    return find_policy(connection.policy)


def sources_of(paths: Sequence[Path], connection: ConnectionOptions, *, follow_symlinks: bool) -> Sources:
    """The files that decide a run: its manifests, and the policy."""
    named = policy_path(connection.policy)
    return Sources(tuple(paths), follow_symlinks, (named,) if named else ())


def read_as(manifest: Manifest, policy: Policy | None, sources: Sources) -> Seen:
    """What these files were when the manifests and the policy were read."""
    rules = tuple((os.fspath(each), policy.digest) for each in sources.others if policy)
    return tuple(sorted(manifest.seen + rules))


def check_reviewed(saved: Plan, policy: Policy | None) -> None:
    """Raise ``StalePlan`` unless a saved plan was made under the policy of now."""
    then, now = saved.policy, policy
    if (then.digest if then else None) != (now.digest if now else None):
        raise StalePlan(
            f"the plan was made {_under(then)}, and is to be applied {_under(now)}; nothing was sent",
            f"make a new plan with the policy of the apply (--policy, {VARIABLE}) and have it approved",
        )


def _under(policy: Policy | None) -> str:
    return f"under the policy {policy.file} (sha256 {policy.digest})" if policy else "without a policy"


def check_target(policy: Policy | None, target: Target) -> None:
    """Raise ``Refused`` for a target that the policy does not allow."""
    if policy is None or policy.targets is None or str(target) in [each.value for each in policy.targets]:
        return
    raise Refused(
        f"the policy does not allow the target {target} ({policy.targets[0].at}); nothing was done there",
        f"name another target, or add it to targets in {policy.file}",
    )
