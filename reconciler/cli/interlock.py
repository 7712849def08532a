"""The interlock between manifest and credentials: a region and a project that are not confirmed are not written to.

A key reaches every project of its account, so a manifest could name any of them. Where nothing configures a project,
IAM is asked, once per run for each identity. Opening the targets is left to ``connect``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from reconciler.api.connect import projects_of
from reconciler.api.iam import Project
from reconciler.api.temporary import TemporaryKeys
from reconciler.clock import CLOCK
from reconciler.credentials import Agency, Credentials, Identity, Oidc, Password
from reconciler.errors import BadInput, CredentialsError, ServiceError
from reconciler.identity import whom
from reconciler.model import Manifest, Target
from reconciler.planning.finding import Finding, Severity
from reconciler.settings import REGION, Settings, is_loopback, region_of
from reconciler.values import Struct, field

_CONFIRM = (
    "set HW_PROJECT_ID or HUAWEICLOUD_SDK_PROJECT_ID beside the credentials, or confirm it with --project-id"
)


class Interlock(Struct):
    """What a run may do to a target, and what it learned about the projects of its credentials."""

    place: Callable[[Target], str]
    """Where a target is declared; empty for one of flags or of the journal."""
    warn: Callable[[str], None]
    writes: bool
    """A run that writes is refused what a run that reads is only warned of."""
    confirmed: frozenset[str] = frozenset()
    """Project ids that somebody named with ``--project-id``."""
    _lists: dict[Credentials, tuple[Project, ...] | ServiceError] = field(default_factory=dict)

    @classmethod
    def of(
        cls, manifest: Manifest, confirmed: Iterable[str] | None, warn: Callable[[str], None], *, writes: bool
    ) -> Interlock:
        """The interlock of a run over manifests."""
        return cls(manifest.place, warn, writes, frozenset(confirmed or ()))

    def named(self, target: Target) -> str:
        """A target with its place, for messages."""
        return f"the target {target}{self._at(target)}"

    def _at(self, target: Target) -> str:
        place = self.place(target)
        return f" ({place})" if place else ""

    def check_region(self, target: Target, settings: Settings) -> None:
        """Raise ``BadInput`` for a region that no service has, or that settings contradict."""
        region, endpoint = target.region, settings.in_region(target.region).endpoint
        if not REGION.fullmatch(region):
            raise BadInput(
                f"the region {region!r} of {self.named(target)} has not the form of a region id",
                "write it like ap-southeast-3",
            )
        if settings.region and settings.region != region:
            raise BadInput(
                f"{self.named(target)} is in the region {region}, {settings.region_from} is {settings.region}",
                "use credentials and settings of the manifest's region, or fix target.region",
            )
        if endpoint and (found := region_of(endpoint)) and found != region:
            raise BadInput(
                f"{self.named(target)} is in the region {region}, the endpoint {endpoint} is that of {found}",
                "correct the endpoint, or fix target.region",
            )

    async def check_project(
        self, target: Target, identity: Identity, settings: Settings, keys: TemporaryKeys | None
    ) -> Finding | None:
        """Refuse, or warn of, a project that is not known to be one of the credentials'.

        What is warned of is also returned, for the plan: who reviews that sees nothing of this run's messages.
        """
        if identity.project_id:
            if identity.project_id != target.project_id:
                raise BadInput(
                    f"the manifest is for project {target.project_id}{self._at(target)}, the credentials "
                    f"({identity.source}) are for project {identity.project_id}",
                    "use credentials of the manifest's project, or fix target.project_id; the two must be equal",
                )
            return None
        if isinstance(identity.credentials, Password):
            return None  # IAM gives it a token for this project, or none
        found = await self._projects(target, identity, settings, keys)
        if not isinstance(found, ServiceError):
            return self._among(target, identity, found)
        if target.project_id in self.confirmed:
            return None
        what = f"the project of {self.named(target)} could not be confirmed as one of {whom(identity)}"
        if not self.writes:
            self.warn(f"Warning: {what}: {found.message}; {_CONFIRM}")
            return self._finding(target, f"{what}: {found.message}", _CONFIRM)
        if isinstance(found, CredentialsError):
            raise CredentialsError(
                f"{what}: {found.message}", found.hint, status=found.status, code=found.code
            )
        raise BadInput(f"{what}: {found.message}", _CONFIRM)

    def _finding(self, target: Target, what: str, allow: str) -> Finding:
        rule = "project-not-confirmed"
        return Finding(rule, what, Severity.WARN, source=self.place(target) or str(target), allow=allow)

    def _among(self, target: Target, identity: Identity, found: tuple[Project, ...]) -> Finding | None:
        """Compare with what IAM listed; not even ``--project-id`` outweighs that."""
        own = next((each for each in found if each.id == target.project_id), None)
        if own is None:
            what = f"the project of {self.named(target)} is not among the {len(found)} of {whom(identity)}"
        elif not own.in_region(target.region):
            what = f"the project of {self.named(target)} is {own.name!r}, which is in another region"
        else:
            return None
        hint = "use credentials of the manifest's project, or fix the target"
        if self.writes:
            raise BadInput(what, hint)
        self.warn(f"Warning: {what}; a run that writes would be refused")
        return self._finding(target, f"{what}; a run that writes is refused", hint)

    async def _projects(
        self, target: Target, identity: Identity, settings: Settings, keys: TemporaryKeys | None
    ) -> tuple[Project, ...] | ServiceError:
        credentials = identity.credentials
        if credentials not in self._lists:
            try:
                self._lists[credentials] = await self._ask(target, credentials, settings, keys)
            except ServiceError as error:
                self._lists[credentials] = error
        return self._lists[credentials]

    async def _ask(
        self, target: Target, credentials: Credentials, settings: Settings, keys: TemporaryKeys | None
    ) -> tuple[Project, ...]:
        here = settings.in_region(target.region)
        if not here.iam_endpoint and is_loopback(urlsplit(here.endpoint or "").hostname or ""):
            # The cloud's IAM knows nothing of a service on this machine, and is not sent its keys.
            raise ServiceError(
                "a service on this machine has no IAM but that of RECONCILER_IAM_ENDPOINT, not set"
            )
        return await projects_of(here, credentials, target.region, CLOCK.get(), keys)


def context(interlock: Interlock, target: Target, identity: Identity, settings: Settings) -> str:
    """What to say beside an error of the service: where the target and its credentials come from."""
    derived = "" if settings.endpoint else f"; the address was derived from the region {target.region}"
    asked, given, variable = "IAM", settings.iam_endpoint, "RECONCILER_IAM_ENDPOINT"
    if isinstance(identity.credentials, Oidc):
        asked, given, variable = "STS", settings.sts_endpoint, "RECONCILER_STS_ENDPOINT"
    if settings.endpoint and not given and isinstance(identity.credentials, Oidc | Agency | Password):
        # Where the service has an address of its own, that of the keys is easily forgotten.
        derived = (
            f"; the address of {asked} was derived from the region {target.region}, {variable} sets another"
        )
    return f"this concerns {interlock.named(target)} as {whom(identity)}{derived}"
