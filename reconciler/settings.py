"""Owns what the program is told by flags, environment and credentials file, with secrets that cannot print.

Everything is read from mappings and paths that are passed in; using the values is left to ``api`` and ``journal``.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from reconciler.errors import BadInput, CredentialsError, Fault

ENVIRONMENT = "<environment>"
FLAGS = "<flags>"
DEFAULT_CONCURRENCY = 8
MOST_CONCURRENCY = 64

_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Secret:
    """A text that shows itself only through ``reveal``: it cannot be printed, pickled, copied or encoded."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """The text itself; only for the wire."""
        return self.__text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__text.encode(), other.__text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self.__text))

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")


@dataclass(frozen=True, slots=True)
class AccessKeys:
    """An access key pair; with a security token it is temporary, and the three belong together."""

    ak: str
    sk: Secret
    security_token: Secret | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """An IAM token that somebody else obtained; valid for 24 hours at most and not renewable here."""

    token: Secret


@dataclass(frozen=True, slots=True)
class Password:
    """An IAM user who logs in with a password to obtain tokens."""

    user: str
    domain: str
    """Account name of the user."""
    password: Secret


@dataclass(frozen=True, slots=True)
class Metadata:
    """Temporary keys of the agency of the cloud server this runs on; the last resort of the chain."""


Credentials = AccessKeys | Token | Password | Metadata


@dataclass(frozen=True, slots=True)
class Identity:
    """Credentials and what was configured beside them."""

    credentials: Credentials
    project_id: str
    """As configured; empty when nothing says. Must equal a manifest's target, which the caller checks."""
    source: str
    """Where they were found, for messages."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything but credentials; origins have the form ``https://host[:port]``."""

    endpoint: str | None = None
    """Origin of the service; None: derived from the region."""
    regional: Mapping[str, str] = field(default_factory=dict)
    """Origins for single regions, by the region's id in capitals with underscores; they outrank ``endpoint``."""
    iam_endpoint: str | None = None
    """Origin of IAM; None: derived from the region."""
    journal: str | None = field(default=None, repr=False)
    """SQLAlchemy URL, which can hold a password; None: the default place."""
    concurrency: int = DEFAULT_CONCURRENCY
    """Requests of one target in flight at the same time."""
    region: str = ""
    """As configured; may be empty."""
    project_id: str = ""
    """As configured in the environment; may be empty."""

    def in_region(self, region: str) -> Settings:
        """The settings for one region: its own endpoint in the place of the general one."""
        own = self.regional.get(region.upper().replace("-", "_"))
        return replace(self, endpoint=own) if own else self


def read_settings(
    environ: Mapping[str, str],
    *,
    endpoint: str | None = None,
    journal: str | None = None,
    concurrency: int | None = None,
) -> Settings:
    """Combine flags (the keywords) with the environment; raises ``BadInput`` with every fault."""
    faults: list[Fault] = []
    values = Settings(
        endpoint=_endpoint(environ, {"RECONCILER_ENDPOINT": ""}, endpoint, faults),
        regional={} if endpoint else _regional(environ, faults),
        iam_endpoint=_endpoint(environ, _IAM_NAMES, None, faults),
        journal=journal or environ.get("RECONCILER_JOURNAL") or None,
        concurrency=_concurrency(environ, concurrency, faults),
        region=_first(environ, "HW_REGION_NAME", "OS_REGION_NAME"),
        project_id=configured_project(environ),
    )
    if faults:
        raise BadInput("the settings are not usable", faults=tuple(faults))
    return values


def configured_project(environ: Mapping[str, str]) -> str:
    """The project id the environment names; empty when it names none."""
    return _first(environ, "HUAWEICLOUD_SDK_PROJECT_ID", "HW_PROJECT_ID", "OS_PROJECT_ID")


_IAM_NAMES = {
    "RECONCILER_IAM_ENDPOINT": "",
    "HUAWEICLOUD_SDK_IAM_ENDPOINT": "",
    # The Terraform provider's variable carries the version of the interface.
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
"""What stands before a region in capitals, as in ``RECONCILER_ENDPOINT_AP_SOUTHEAST_3``; the last one wins."""


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
    """Check an endpoint and reduce it to its origin; raises ``ValueError`` without repeating the text."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
        host = parts.hostname or ""
    except ValueError:
        raise ValueError("is not an address; write https://host or https://host:port") from None
    # The text may hold a password before an @ and is therefore never repeated.
    if parts.username is not None or parts.password is not None or "@" in text:
        raise ValueError("must not hold a user name or password; credentials have settings of their own")
    if parts.scheme not in {"http", "https"} or not re.fullmatch(r"[A-Za-z0-9._:-]+", host):
        raise ValueError("is not an address; write https://host or https://host:port")
    if parts.path not in {"", "/"} or "?" in text or "#" in text:
        raise ValueError("must be an address only: leave out everything after the host and port")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("must begin with https://; plain http is allowed to this machine only")
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, by name or address; nothing is looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def default_endpoint(service: str, region: str) -> str:
    """Origin of a service (``workspace``, ``iam``) in a region; European regions have a domain of their own."""
    if not _REGION.fullmatch(region):
        raise BadInput(
            "the region is not the id of a region",
            hint="write it like ap-southeast-3, or set RECONCILER_ENDPOINT",
        )
    domain = "myhuaweicloud.eu" if region.startswith("eu-west-1") else "myhuaweicloud.com"
    return f"https://{service}.{region}.{domain}"


def _concurrency(environ: Mapping[str, str], flag: int | None, faults: list[Fault]) -> int:
    text = environ.get("RECONCILER_CONCURRENCY", "").strip() if flag is None else str(flag)
    if not text:
        return DEFAULT_CONCURRENCY
    if text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MOST_CONCURRENCY:
        return int(text)
    file, name = (ENVIRONMENT, "RECONCILER_CONCURRENCY") if flag is None else (FLAGS, "--concurrency")
    faults.append(Fault(file, 0, 0, f"{name} must be a whole number from 1 to {MOST_CONCURRENCY}"))
    return DEFAULT_CONCURRENCY


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((text for name in names if (text := environ.get(name, "").strip())), "")


# --- credentials --------------------------------------------------------------------------------

SHARED_FILE = Path(".huaweicloud") / "credentials"
"""Below the home folder."""


def find_identity(environ: Mapping[str, str], home: Path, profile: str = "") -> Identity:
    """The first credentials of the chain, or the named section of the credentials file and nothing else.

    Raises ``BadInput`` when a source is there but incomplete: falling through would act as somebody else.
    ``RECONCILER_METADATA=off`` keeps the tool from asking the metadata service of a cloud server.
    """
    named = environ.get("HUAWEICLOUD_SDK_CREDENTIALS_FILE", "").strip()
    file = Path(named) if named else home / SHARED_FILE
    if profile:
        found = _from_file(file, profile, required=True)
    else:
        found = _from_environment(environ) or _from_file(file, "basic", required=bool(named))
    if found is None and environ.get("RECONCILER_METADATA") == "off":
        raise no_credentials()
    if found is None:
        return Identity(Metadata(), configured_project(environ), "the metadata service of this server")
    return found if found.project_id else _with_project(found, configured_project(environ))


def _with_project(found: Identity, project_id: str) -> Identity:
    return Identity(found.credentials, project_id, found.source)


def _from_environment(environ: Mapping[str, str]) -> Identity | None:
    project = configured_project(environ)
    sdk = _pair(environ, "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN")
    if sdk:
        return Identity(sdk, project, "HUAWEICLOUD_SDK_AK")
    if token := _first(environ, "HW_AUTH_TOKEN", "OS_AUTH_TOKEN"):
        return Identity(Token(Secret(token)), project, "HW_AUTH_TOKEN")
    keys = _pair(environ, "HW_ACCESS_KEY", "HW_SECRET_KEY", "HW_SECURITY_TOKEN")
    if keys:
        return Identity(keys, project, "HW_ACCESS_KEY")
    login = _login(environ)
    return Identity(login, project, "HW_USER_NAME") if login else None


_FALLBACKS = {
    "HW_ACCESS_KEY": "OS_ACCESS_KEY",
    "HW_SECRET_KEY": "OS_SECRET_KEY",
    "HW_USER_NAME": "OS_USERNAME",
    "HW_USER_PASSWORD": "OS_PASSWORD",
    "HW_DOMAIN_NAME": "OS_DOMAIN_NAME",
}


def _value(environ: Mapping[str, str], name: str) -> str:
    return _first(environ, name, _FALLBACKS.get(name, name))


def _pair(environ: Mapping[str, str], ak: str, sk: str, token: str) -> AccessKeys | None:
    access, secret, temporary = (_value(environ, name) for name in (ak, sk, token))
    if not (access or secret or temporary):
        return None
    if not (access and secret):
        _incomplete(f"{ak} and {sk} belong together, and {_missing({ak: access, sk: secret})}")
    return AccessKeys(access, Secret(secret), Secret(temporary) if temporary else None)


def _login(environ: Mapping[str, str]) -> Password | None:
    names = ("HW_USER_NAME", "HW_USER_PASSWORD", "HW_DOMAIN_NAME")
    values = {name: _value(environ, name) for name in names}
    user, password, domain = values.values()
    # A domain name alone is no login: other tools set it for other purposes.
    if not (user or password):
        return None
    if not all(values.values()):
        _incomplete(
            f"HW_USER_NAME, HW_USER_PASSWORD and HW_DOMAIN_NAME belong together, and {_missing(values)}"
        )
    return Password(user, domain, Secret(password))


def _missing(values: Mapping[str, str]) -> str:
    names = [name for name, value in values.items() if not value]
    return " and ".join(names) + (" is not set" if len(names) == 1 else " are not set")


def _incomplete(what: str) -> NoReturn:
    raise BadInput(
        "the credentials are incomplete",
        hint="set what is missing, or unset the others so that the next source is used",
        faults=(Fault(ENVIRONMENT, 0, 0, what),),
    )


@dataclass(frozen=True, slots=True)
class _Section:
    """One section of the credentials file."""

    line: int
    values: dict[str, str]


def _from_file(file: Path, section: str, *, required: bool) -> Identity | None:
    """``required`` turns an absent file or section from "look elsewhere" into a fault."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return _absent(file, "the file does not exist") if required else None
    except (OSError, UnicodeDecodeError) as error:
        # Never the bytes themselves: they may be part of a key.
        _unusable(file, 0, f"the credentials file cannot be read ({type(error).__name__})")
    found = _sections(file, text).get(section)
    if found is None:
        return _absent(file, f"there is no section [{section}]") if required else None
    ak, sk, token = (found.values.get(name, "") for name in ("ak", "sk", "security_token"))
    if not (ak and sk):
        missing = _missing({"ak": ak, "sk": sk})
        _unusable(file, found.line, f"ak and sk of [{section}] belong together, and {missing}")
    keys = AccessKeys(ak, Secret(sk), Secret(token) if token else None)
    return Identity(keys, found.values.get("project_id", ""), f"{file} [{section}]")


def _sections(file: Path, text: str) -> dict[str, _Section]:
    """A small reader instead of ``configparser``, which changes ``%`` in keys and quotes lines in its errors."""
    sections: dict[str, _Section] = {}
    current: _Section | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith(("#", ";")):
            continue
        if line.startswith("[") and line.endswith("]"):
            name = line[1:-1].strip()
            if name in sections:
                _unusable(file, number, f"the section was begun before, in line {sections[name].line}")
            current = sections[name] = _Section(number, {})
            continue
        key, equals, value = line.partition("=")
        if not equals or current is None:
            _unusable(file, number, "expected [section], then lines of the form name = value")
        if key.strip() in current.values:
            _unusable(file, number, "the name stands twice in its section")
        current.values[key.strip()] = value.strip()
    return sections


def _absent(file: Path, why: str) -> NoReturn:
    _unusable(file, 0, f"{why}, but a setting or a manifest names it")


def _unusable(file: Path, line: int, what: str) -> NoReturn:
    raise BadInput(
        "the credentials file is not usable",
        hint="a section holds ak, sk and, for temporary keys, security_token; project_id is optional",
        faults=(Fault(str(file), line, 1 if line else 0, what),),
    )


def no_credentials() -> CredentialsError:
    """The refusal when there are no credentials anywhere; names every way to give them."""
    return CredentialsError(
        "there are no credentials",
        "set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK, or HW_ACCESS_KEY and HW_SECRET_KEY, or "
        "HW_AUTH_TOKEN, or write ~/.huaweicloud/credentials; or use --sandbox",
    )
