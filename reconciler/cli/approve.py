"""``approve``: signs the digest of a plan with a person's SSH key; needs no network.

Which approvals count is left to ``apply``, the signature to ``signatures``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from reconciler.cli import flags
from reconciler.cli.approval import DIGEST
from reconciler.cli.connect import duration
from reconciler.cli.console import Console
from reconciler.cli.parameters import argument, flag
from reconciler.cli.plan_files import load
from reconciler.cli.policy import find_policy
from reconciler.cli.signatures import allowed_signers, sign
from reconciler.clock import CLOCK
from reconciler.engine.apply import check_fresh
from reconciler.errors import BadInput, ExitCode
from reconciler.model import Policy
from reconciler.planning import signers
from reconciler.planning.approvals import SignedApproval
from reconciler.render.text import plan_lines


@flags.options
def approve(
    plan_file: Annotated[
        Path | None, argument(help="A plan saved with plan --out.", metavar="PLANFILE")
    ] = None,
    *,
    digest: Annotated[str | None, flag(help="Approve the plan with this digest.", metavar="DIGEST")] = None,
    key: Annotated[Path, flag(help="Your SSH key; the public one if your agent holds it.", metavar="PATH")],
    expires: Annotated[str, flag(help="How long the approval counts: 30m, 24h, 2d.", metavar="TIME")] = "24h",
    policy: flags.PolicyFile = None,
) -> int:
    """Sign the approval of a plan with your SSH key, and print it; needs no network."""
    console = Console()
    if (plan_file is None) == (digest is None):
        raise BadInput(
            "approve takes either a saved plan or --digest", "reconciler approve PLANFILE --key PATH"
        )
    lifetime = duration(expires, "--expires")
    obeyed = find_policy(policy)
    clock = CLOCK.get()
    approved = digest or ""
    if plan_file is not None:
        plan = load(plan_file)
        check_fresh(plan, clock)
        for line in plan_lines(plan):  # on stderr: stdout holds only the approval
            console.info(line.text)
        approved = plan.digest
    if not re.fullmatch(DIGEST, approved):
        raise BadInput(
            f"--digest {digest!r} is not a digest", "use the 64 hexadecimal digits that plan prints"
        )
    now = clock.now().replace(microsecond=0)
    made = SignedApproval(approved, now, now + lifetime)
    signed = SignedApproval(made.digest, made.created, made.expires, sign(made.message, key))
    _warn(signed, obeyed, console)
    from reconciler.render.json.approval import approval_json  # noqa: PLC0415 - builds a model

    console.json_text(approval_json(signed))
    return int(ExitCode.DONE)


def _warn(signed: SignedApproval, policy: Policy | None, console: Console) -> None:
    """Say that this signature will not count; not an error, as the list may differ where the plan is applied."""
    if policy is None or policy.approvals is None:
        return
    try:
        known = signers.parse(allowed_signers(policy), policy.approvals.signers)
    except BadInput as error:
        console.info(f"Warning: {error.message.removesuffix('; nothing was sent')}")
        return
    if signers.signing_key(signed.signature) not in known:
        console.info(f"Warning: {policy.approvals.signers} does not list this key; apply will not count it.")
