"""Reads settings from flags and environment: endpoints, the journal, the number of concurrent requests.

The environment is a mapping that is passed in; ``credentials`` finds the identity.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from urllib.parse import urlsplit

from reconciler.errors import BadInput, Fault

ENVIRONMENT = "<environment>"
FLAGS = "<flags>"
DEFAULT_CONCURRENCY = 8
MOST_CONCURRENCY = 64
LEAST_KEPT_DAYS = 30
"""Days that the journal keeps everything: far beyond a day that a budget counts, and the life of any request."""

_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings except credentials; origins have the form ``https://host[:port]``."""

    endpoint: str | None = None
    """Origin of the service; None: derived from the region."""
    regional: Mapping[str, str] = field(default_factory=dict)
    """Origins per region, by the region id in capitals with underscores; they take precedence over ``endpoint``."""
    iam_endpoint: str | None = None
    """Origin of IAM; None: derived from the region."""
    journal: str | None = field(default=None, repr=False)
    """SQLAlchemy URL, which can contain a password; None: the default location."""
    concurrency: int = DEFAULT_CONCURRENCY
    """Maximum number of concurrent requests per target."""
    keep: timedelta | None = None
    """How long the journal keeps runs and drift points; None: for ever."""
    region: str = ""
    """As configured; may be empty."""
    project_id: str = ""
    """As configured in the environment; may be empty."""

    def in_region(self, region: str) -> Settings:
        """The settings for one region, with its own endpoint if one is set."""
        own = self.regional.get(region.upper().replace("-", "_"))
        return replace(self, endpoint=own) if own else self


def read_settings(
    environ: Mapping[str, str],
    *,
    endpoint: str | None = None,
    journal: str | None = None,
) -> Settings:
    """Combine flags (the keyword arguments) with the environment; raises ``BadInput`` with every fault."""
    faults: list[Fault] = []
    values = Settings(
        endpoint=_endpoint(environ, {"RECONCILER_ENDPOINT": ""}, endpoint, faults),
        regional={} if endpoint else _regional(environ, faults),
        iam_endpoint=_endpoint(environ, _IAM_NAMES, None, faults),
        journal=journal or environ.get("RECONCILER_JOURNAL") or None,
        concurrency=_concurrency(environ, faults),
        keep=_keep(environ, faults),
        region=first_set(environ, "HW_REGION_NAME", "OS_REGION_NAME"),
        project_id=configured_project(environ),
    )
    if faults:
        raise BadInput("the settings are invalid", faults=tuple(faults))
    return values


def configured_project(environ: Mapping[str, str]) -> str:
    """The project id from the environment; empty if not set."""
    return first_set(environ, "HUAWEICLOUD_SDK_PROJECT_ID", "HW_PROJECT_ID", "OS_PROJECT_ID")


_IAM_NAMES = {
    "RECONCILER_IAM_ENDPOINT": "",
    "HUAWEICLOUD_SDK_IAM_ENDPOINT": "",
    # The Terraform provider's variable includes the API version.
    "HW_AUTH_URL": "/v3",
}


def _endpoint(
    environ: Mapping[str, str], names: Mapping[str, str], flag: str | None, faults: list[Fault]
) -> str | None:
    if flag:
        return _origin(flag, FLAGS, "--endpoint", faults)
    for name, suffix in names.items():
        if text := environ.get(name, "").strip():
            return _origin(text.rstrip("/").removesuffix(suffix), ENVIRONMENT, name, faults)
    return None


_REGIONAL = ("HUAWEICLOUD_SDK_REGION_WORKSPACE_", "RECONCILER_ENDPOINT_")
"""Prefixes of a region in capitals, as in ``RECONCILER_ENDPOINT_AP_SOUTHEAST_3``; the last one wins."""


def _regional(environ: Mapping[str, str], faults: list[Fault]) -> dict[str, str]:
    found: dict[str, str] = {}
    for prefix in _REGIONAL:
        for name in sorted(environ):
            text = environ[name].strip()
            if name.startswith(prefix) and text and (address := _origin(text, ENVIRONMENT, name, faults)):
                found[name.removeprefix(prefix)] = address
    return found


def _origin(text: str, file: str, name: str, faults: list[Fault]) -> str | None:
    try:
        return origin(text)
    except ValueError as error:
        faults.append(Fault(file, 0, 0, f"{name} {error}"))
        return None


def origin(text: str) -> str:
    """Check an endpoint and return its origin; raises ``ValueError``, which never quotes the text."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        raise ValueError("is not an address; write https://host or https://host:port") from None
    # The text may contain a password before an @, so it is never quoted.
    if parts.username is not None or parts.password is not None or "@" in text:
        raise ValueError("must not contain a user name or password; set credentials separately")
    if parts.scheme not in {"http", "https"} or not re.fullmatch(r"[A-Za-z0-9._:-]+", host):
        raise ValueError("is not an address; write https://host or https://host:port")
    if parts.path not in {"", "/"} or "?" in text or "#" in text:
        raise ValueError("must end after the host and port; remove the path, query and fragment")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("must start with https://; plain http is allowed only to this machine")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")


def is_loopback(host: str) -> bool:
    """True if the host is this machine, by name or address; does not resolve names."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def default_endpoint(service: str, region: str) -> str:
    """Origin of a service (``workspace``, ``iam``) in a region; European regions have their own domain."""
    if not _REGION.fullmatch(region):
        raise BadInput(
            "the region is not a valid region id",
            hint="write it like ap-southeast-3, or set RECONCILER_ENDPOINT",
        )
    domain = "myhuaweicloud.eu" if region.startswith("eu-west-1") else "myhuaweicloud.com"
    return f"https://{service}.{region}.{domain}"


def _concurrency(environ: Mapping[str, str], faults: list[Fault]) -> int:
    text = environ.get("RECONCILER_CONCURRENCY", "").strip()
    if not text:
        return DEFAULT_CONCURRENCY
    if text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MOST_CONCURRENCY:
        return int(text)
    problem = f"RECONCILER_CONCURRENCY must be a whole number from 1 to {MOST_CONCURRENCY}"
    faults.append(Fault(ENVIRONMENT, 0, 0, problem))
    return DEFAULT_CONCURRENCY


def _keep(environ: Mapping[str, str], faults: list[Fault]) -> timedelta | None:
    text = environ.get("RECONCILER_KEEP", "").strip()
    if not text:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,4})d", text)
    if found and int(found[1]) >= LEAST_KEPT_DAYS:
        return timedelta(days=int(found[1]))
    problem = f"RECONCILER_KEEP must be a number of days from {LEAST_KEPT_DAYS}d on, such as 400d"
    faults.append(Fault(ENVIRONMENT, 0, 0, problem))
    return None


def first_set(environ: Mapping[str, str], *names: str) -> str:
    """The value of the first of these variables that is set; empty if none is."""
    return next((text for name in names if (text := environ.get(name, "").strip())), "")
