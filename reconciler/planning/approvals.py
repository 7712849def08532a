"""Signed approvals as values: what is signed, which of them count, and how many people that makes.

Files and signatures are left to ``cli.signatures``: a person comes from there, never from what an approval claims.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from reconciler.planning.plan import Plan
from reconciler.values import Struct

KIND: Final = "reconciler-approval"
NAMESPACE: Final = "reconciler-approval"
"""What the signature is for: one made for something else, such as a commit of git, is none of an approval."""
AHEAD = timedelta(minutes=5)
"""How far the clock of the one who approves may be ahead."""
_DIGEST = re.compile("[0-9a-f]{64}")
_MOMENT = "%Y-%m-%dT%H:%M:%SZ"


class SignedApproval(Struct, frozen=True):
    """What one person signed: this digest, from one time until another."""

    digest: str
    """Digest of the plan, which covers targets, limits and the policy."""
    created: datetime
    """To the second."""
    expires: datetime
    signature: str = ""
    """Armoured SSH signature over ``message``."""

    @property
    def message(self) -> bytes:
        """What is signed: everything that the approval says."""
        says = {
            "kind": KIND,
            "digest": self.digest,
            "created": self.created.strftime(_MOMENT),
            "expires": self.expires.strftime(_MOMENT),
        }
        return json.dumps(says, sort_keys=True, separators=(",", ":")).encode()


def parse(text: str) -> SignedApproval:
    """The approval in a JSON document; raises ``ValueError`` with what is wrong."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise ValueError("it is not an approval")
    if not str(found.get("format_version")).startswith("1."):
        raise ValueError("it has a format that this version does not read")
    digest, signature = found.get("digest"), found.get("signature")
    if not (isinstance(digest, str) and _DIGEST.fullmatch(digest) and isinstance(signature, str)):
        raise ValueError("it lacks a digest or a signature")
    return SignedApproval(digest, _moment(found.get("created")), _moment(found.get("expires")), signature)


def _moment(value: object) -> datetime:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError("it has a time that cannot be read") from None
    if found.tzinfo is None:
        raise ValueError("it has a time without a zone")
    return found.astimezone(UTC).replace(microsecond=0)  # as it was signed


class Given(Struct, frozen=True):
    """One approval as it was handed in."""

    source: str
    """The file, as shown in messages."""
    approval: SignedApproval | None = None
    person: str = ""
    """Whose key signed it, as ``allowed_signers`` says; empty where no listed key did."""
    problem: str = ""
    """Why it cannot count whatever the plan; empty when the signature is good."""


class Judged(Struct, frozen=True):
    """One approval with what became of it."""

    given: Given
    reason: str = ""
    """Why it does not count; empty when it does."""


class Demand(Struct, frozen=True):
    """What an approval must be for."""

    plan: Plan
    now: datetime
    max_age: timedelta | None = None
    not_before: datetime | None = None
    """When the saved plan was made that is applied: nobody can have reviewed it earlier."""


def judge(given: Sequence[Given], demand: Demand) -> tuple[Judged, ...]:
    """Which approvals count; each person counts once."""
    judged: list[Judged] = []
    people: set[str] = set()
    for each in given:
        reason = _reason(each, demand)
        # Whoever writes one name in two ways is still one person.
        if not reason and each.person.casefold() in people:
            reason = f"{each.person} is counted already"
        if not reason:
            people.add(each.person.casefold())
        judged.append(Judged(each, reason))
    return tuple(judged)


def people(judged: Sequence[Judged]) -> tuple[str, ...]:
    """Who has approved, sorted."""
    return tuple(sorted(each.given.person for each in judged if not each.reason))


def _reason(given: Given, demand: Demand) -> str:
    approval = given.approval
    if given.problem or approval is None or not given.person:
        return given.problem or "no listed key signed it"
    return next(_objections(approval, demand), "")


def _objections(approval: SignedApproval, demand: Demand) -> Iterator[str]:
    """What is wrong with an approval whose signature is good."""
    now, made = demand.now, _shown(approval.created)
    if not demand.plan.approved_by(approval.digest):
        yield f"it is for digest {approval.digest}, the plan's is {demand.plan.digest}"
    if approval.expires <= now:
        yield f"it expired at {_shown(approval.expires)}"
    if demand.max_age is not None and approval.created + demand.max_age <= now:
        yield f"it is of {made}, older than the policy's max_age allows"
    if approval.created > now + AHEAD:
        yield f"it is of {made}, which is in the future"
    if demand.not_before is not None and approval.created < demand.not_before.replace(microsecond=0):
        yield f"it is of {made}, older than the plan file, made {_shown(demand.not_before)}"


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
