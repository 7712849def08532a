"""Decides as whom a run acts: checks every identity setting, then takes the first that is complete.

What a setting is called, the order, and what is asked for follow the official SDK's core (``auth/provider.py``,
``auth/internal.py``) and the Terraform provider (``docs/index.md``, ``huaweicloud/provider.go``). A setting that
they understand and this program does not is refused: acting as somebody else would be a guess. Keys from the
environment and the credentials file are left to ``credentials``, getting temporary keys to ``api``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from reconciler.credentials import (
    AccessKeys,
    Agency,
    Container,
    Identity,
    Metadata,
    Oidc,
    Password,
    Secret,
    Token,
    check_complete,
    find_credentials,
)
from reconciler.errors import BadInput, Fault
from reconciler.model import Whom
from reconciler.safe_text import safe_text
from reconciler.settings import ENVIRONMENT, configured_project, is_loopback
from reconciler.values import replace

AGENCY = "HW_ASSUME_ROLE_AGENCY_NAME"
AGENCY_DOMAIN = "HW_ASSUME_ROLE_DOMAIN_NAME"
AGENCY_DURATION = "HW_ASSUME_ROLE_DURATION"
CONTAINER_URI = "HC_CONTAINER_CREDENTIALS_FULL_URI"
CONTAINER_TOKEN_FILE = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105 - a variable's name
OIDC = "HUAWEICLOUD_OIDC_"
OIDC_PROVIDER = f"{OIDC}PROVIDER_URN"
OIDC_TOKEN_FILE = f"{OIDC}TOKEN_FILE"
_OIDC_NAMES = ("PROVIDER_URN", "AGENCY_URN", "ID_TOKEN", "TOKEN_FILE")
_OIDC_OPTIONS = ("SESSION_NAME", "DURATION_SECONDS", "POLICY", "POLICY_IDS")

DURATION = 3600
"""Seconds for which temporary keys are asked (the SDK's own number); they are renewed before they end."""
SHORTEST, LONGEST_STS, LONGEST_IAM = 900, 43_200, 86_400
"""Seconds that STS and IAM give keys for (documented)."""
_SESSION = "oidc-sts-session"
"""The SDK's name for a session without one."""
CONTAINER_ADDRESSES = frozenset({"169.254.169.254"})
"""Addresses, other than this machine's, that keys of a container are asked from: only the cloud's own, documented ones.

A token of the service account is sent there, so a variable alone must not be able to lead it elsewhere.
"""

_READ = (
    *("HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN"),
    *("HUAWEICLOUD_SDK_PROJECT_ID", "HUAWEICLOUD_SDK_CREDENTIALS_FILE"),
    *(OIDC + name for name in (*_OIDC_NAMES, *_OIDC_OPTIONS)),
    *("HW_AUTH_TOKEN", "HW_ACCESS_KEY", "HW_SECRET_KEY", "HW_SECURITY_TOKEN"),
    *("HW_USER_NAME", "HW_USER_PASSWORD", "HW_DOMAIN_NAME", "HW_PROJECT_ID", "HW_REGION_NAME"),
    *(AGENCY, AGENCY_DOMAIN, AGENCY_DURATION, CONTAINER_URI, CONTAINER_TOKEN_FILE),
    *("OS_AUTH_TOKEN", "OS_ACCESS_KEY", "OS_SECRET_KEY", "OS_USERNAME", "OS_PASSWORD"),
    *("OS_DOMAIN_NAME", "OS_PROJECT_ID", "OS_REGION_NAME"),
)
"""The variables that say who acts, and where."""

_OIDC_INSTEAD = f"use {OIDC_PROVIDER} and its companions"
_KEYS_INSTEAD = "write the keys into ~/.huaweicloud/credentials, and name the section as the target's profile"
_ONE_AGENCY = f"use {AGENCY} and {AGENCY_DOMAIN}"
_REFUSED = {
    "HUAWEICLOUD_SDK_IDP_ID": _OIDC_INSTEAD,
    "HUAWEICLOUD_SDK_ID_TOKEN_FILE": _OIDC_INSTEAD,
    "HW_ASSUME_ROLE_IDP_ID": _OIDC_INSTEAD,
    "HW_ASSUME_ROLE_ID_TOKEN": _OIDC_INSTEAD,
    "HW_ASSUME_ROLE_ID_TOKEN_FILE": _OIDC_INSTEAD,
    "HW_ASSUME_ROLE_DOMAIN_ID": _ONE_AGENCY,
    "HW_PROFILE": _KEYS_INSTEAD,
    "HW_SHARED_CONFIG_FILE": _KEYS_INSTEAD,
    "HW_USER_ID": "use HW_USER_NAME",
    "OS_USER_ID": "use HW_USER_NAME",
    "OS_AGENCY_NAME": _ONE_AGENCY,
    "OS_AGENCY_DOMAIN_NAME": _ONE_AGENCY,
    "OS_DELEGATED_PROJECT": _ONE_AGENCY,
}
"""Variables that the SDK or the provider takes an identity from and this program does not, with what to do."""


def find_identity(environ: Mapping[str, str], home: Path, profile: str = "") -> Identity:
    """As whom to act: OIDC, keys, token or login of the environment, the credentials file, the container, the server.

    The order is the SDK's (``CredentialProviderChain``), save that a container comes before its server; ``profile``
    takes only that section of the credentials file. An agency is then assumed with the keys found. Raises
    ``BadInput`` for a setting that is empty, incomplete or not supported, instead of looking further.
    """
    if faults := tuple(_faults(environ)):
        raise BadInput(
            "the identity is not clear", "unset these variables, or set them as said", faults=faults
        )
    if not profile:  # which takes nothing of the environment
        check_complete(environ)
    found = None if profile else _oidc(environ)
    if found is None:
        found = find_credentials(environ, home, profile, _container(environ))
    return _assumed(found, environ)


def whom(identity: Identity) -> Whom:
    """The same for people: never a secret, and of an access key only the ends."""
    source = safe_text(identity.source)
    match identity.credentials:
        case AccessKeys(ak, _, security_token):
            kind = "temporary access key" if security_token else "access key"
            found = Whom(kind, source, access_key=shortened(ak))
        case Agency(base, name, domain):
            agency = safe_text(f"{name} of {domain}")
            found = Whom("agency", source, access_key=shortened(base.ak), agency=agency)
        case Oidc(_, agency_urn):
            found = Whom("agency", source, agency=safe_text(agency_urn))
        case Password(user, domain):
            found = Whom("user", source, user=safe_text(f"{user} of {domain}"))
        case Token():
            found = Whom("token", source)
        case Container():
            found = Whom("agency of this container", source)
        case Metadata():
            found = Whom("agency of this server", source)
    return found


def shortened(access_key: str) -> str:
    """The ends of an access key id, which tell keys apart; of a short one only its first four characters."""
    text = safe_text(access_key)
    return f"{text[:4]}…{text[-4:]}" if len(text) >= 16 else f"{text[:4]}…"


def _faults(environ: Mapping[str, str]) -> Iterator[Fault]:
    for name in _READ:
        if name in environ and not environ[name].strip():
            # What a workflow sets whose secret is missing.
            yield _fault(f"{name} is set, but empty; give it its value, or unset it")
    for name, instead in _REFUSED.items():
        if name in environ:
            yield _fault(f"{name} is not supported and would be ignored; unset it, and {instead}")


def _fault(what: str) -> Fault:
    return Fault(ENVIRONMENT, 0, 0, what)


def _bad(what: str, hint: str = "") -> NoReturn:
    raise BadInput("the identity cannot be used", hint, faults=(_fault(what),))


def _oidc(environ: Mapping[str, str]) -> Identity | None:
    """Temporary keys for a token (SDK: ``OidcStsCredentialProvider``, the first of its chain)."""
    given = {
        name: environ[OIDC + name].strip()
        for name in (*_OIDC_NAMES, *_OIDC_OPTIONS)
        if OIDC + name in environ
    }
    if not given:
        return None
    missing = [OIDC + name for name in ("PROVIDER_URN", "AGENCY_URN") if name not in given]
    if not {"ID_TOKEN", "TOKEN_FILE"} & given.keys():
        missing.append(f"{OIDC}ID_TOKEN or {OIDC_TOKEN_FILE}")
    if missing:
        _bad(f"{OIDC}{next(iter(given))} is set, but {' and '.join(missing)} not", "set all of them, or none")
    token = given.get("ID_TOKEN", "")
    credentials = Oidc(
        provider_urn=given["PROVIDER_URN"],
        agency_urn=given["AGENCY_URN"],
        session_name=given.get("SESSION_NAME", _SESSION),
        duration=_duration(environ, f"{OIDC}DURATION_SECONDS", LONGEST_STS),
        id_token=Secret(token) if token else None,
        token_file=None if token else Path(given["TOKEN_FILE"]),
        policy=given.get("POLICY", ""),
        policy_ids=tuple(each.strip() for each in given.get("POLICY_IDS", "").split(",") if each.strip()),
    )
    return Identity(credentials, configured_project(environ), OIDC_PROVIDER)


def _container(environ: Mapping[str, str]) -> Identity | None:
    """Keys that Kubernetes hands out (SDK: ``PodIdentityCredentialProvider``)."""
    given = {name: environ.get(name, "").strip() for name in (CONTAINER_URI, CONTAINER_TOKEN_FILE)}
    if not any(given.values()):
        return None
    if missing := [name for name, value in given.items() if not value]:
        _bad(f"{missing[0]} is not set, although its companion is", "set both, or none")
    uri = given[CONTAINER_URI]
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
        parts = urlsplit("")
    plain = parts.scheme in {"http", "https"} and "@" not in parts.netloc and port != 0
    if not (plain and (is_loopback(host) or host in CONTAINER_ADDRESSES)):
        known = " or ".join(sorted(CONTAINER_ADDRESSES))
        _bad(f"{CONTAINER_URI} must be an address of this machine, or {known}: a token is sent there")
    container = Container(uri, Path(given[CONTAINER_TOKEN_FILE]))
    return Identity(container, configured_project(environ), CONTAINER_URI)


def _assumed(found: Identity, environ: Mapping[str, str]) -> Identity:
    """The agency to act as with the keys found, or those keys (provider: ``assume_role``)."""
    given = [name for name in (AGENCY, AGENCY_DOMAIN, AGENCY_DURATION) if name in environ]
    if not given:
        return found
    if missing := [name for name in (AGENCY, AGENCY_DOMAIN) if name not in given]:
        _bad(f"{given[0]} is set, but {' and '.join(missing)} not", "set all of them, or none")
    base = found.credentials
    match base:
        case AccessKeys():
            pass
        case Oidc() | Container() | Metadata():
            _bad(
                f"{AGENCY} would assume an agency as another, from {found.source}: "
                "chains of agencies are not supported",
                f"unset {AGENCY}, or use access keys",
            )
        case _:
            _bad(f"{AGENCY} needs access keys, but {found.source} is used", "set an access key, or unset it")
    agency = Agency(
        base,
        environ[AGENCY].strip(),
        environ[AGENCY_DOMAIN].strip(),
        _duration(environ, AGENCY_DURATION, LONGEST_IAM),
    )
    return replace(found, credentials=agency, source=f"{AGENCY}, with {found.source}")


def _duration(environ: Mapping[str, str], name: str, longest: int) -> int:
    text = environ.get(name, str(DURATION)).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and SHORTEST <= int(text) <= longest):
        _bad(f"{name} must be a whole number of seconds from {SHORTEST} to {longest}")
    return int(text)
