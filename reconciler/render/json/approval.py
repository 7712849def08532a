"""The JSON of an approval: what one person signed."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from reconciler.planning.approvals import KIND, SignedApproval
from reconciler.render.json.base import Digest, Document, Moment, Text, entry_of, json_text

FORMAT_VERSION: Final = "1.0"


class ApprovalDocument(Document):
    """An approval of one plan. Who gave it stands nowhere in it: the policy's allowed_signers says that."""

    kind: Literal["reconciler-approval"]
    digest: Digest = Field(description="Digest of the plan; covers targets, limits and the policy.")
    created: Moment = Field(description="To the second.")
    expires: Moment = Field(description="From then on it does not count.")
    signature: Text = Field(description="SSH signature, armoured, over everything above.")


def approval_json(approval: SignedApproval) -> str:
    """The approval as JSON text."""
    return json_text(entry_of(ApprovalDocument, approval, format_version=FORMAT_VERSION, kind=KIND))
