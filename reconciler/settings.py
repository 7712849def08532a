"""Reads settings from flags and environment: endpoints, the journal, the number of concurrent requests.

The environment is a mapping that is passed in; ``credentials`` finds the identity.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from reconciler.errors import BadInput, Fault
from reconciler.files import is_regular
from reconciler.values import Struct, field, replace

ENVIRONMENT = "<environment>"
FLAGS = "<flags>"
DEFAULT_CONCURRENCY = 12
MOST_CONCURRENCY = 64
LEAST_KEPT_DAYS = 30
"""Days that the journal keeps everything: far beyond a day that a budget counts, and the life of any request."""

REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,3}")
"""The form of every region id that the vendor lists (SDK core, ``auth/endpoint.py``), such as ``ap-southeast-3``."""
_SERVICE_HOST = rf"(?:workspace|iam|sts)\.(?P<region>{REGION.pattern})\..+"
"""A host that carries a region in its name, as those of the cloud do."""


class Settings(Struct, frozen=True):
    """All settings except credentials; origins have the form ``https://host[:port]``."""

    endpoint: str | None = None
    """Origin of the service; None: derived from the region."""
    regional: Mapping[str, str] = field(default_factory=dict)
    """Origins per region, by the region id in capitals with underscores; they take precedence over ``endpoint``."""
    iam_endpoint: str | None = None
    """Origin of IAM; None: derived from the region."""
    sts_endpoint: str | None = None
    """Origin of STS, which gives keys for a token of an identity provider; None: derived from the region."""
    cbr_endpoint: str | None = None
    """Origin of CBR, the backup service; None: beside the service, or derived from the region."""
    journal: str | None = None
    """SQLAlchemy URL, which can contain a password; None: the default location."""
    concurrency: int = DEFAULT_CONCURRENCY
    """Maximum number of concurrent requests per target."""
    keep: timedelta | None = None
    """How long the journal keeps runs and drift points; None: for ever."""
    region: str = ""
    """As configured; may be empty."""
    region_from: str = "HW_REGION_NAME"
    """The variable it was configured with."""
    project_id: str = ""
    """As configured in the environment; may be empty."""

    def __repr__(self) -> str:
        return "Settings(…)"  # the journal's URL is not for any output

    def in_region(self, region: str) -> Settings:
        """The settings for one region, with its own endpoint if one is set."""
        own = self.regional.get(region.upper().replace("-", "_"))
        return replace(self, endpoint=own) if own else self


def read_settings(
    environ: Mapping[str, str], *, endpoint: str | None = None, journal: str | None = None
) -> Settings:
    """Combine flags (the keyword arguments) with the environment; raises ``BadInput`` with every fault."""
    faults = _unsendable(environ)
    values = Settings(
        endpoint=_endpoint(environ, {"RECONCILER_ENDPOINT": ""}, endpoint, faults),
        regional={} if endpoint else _regional(environ, faults),
        iam_endpoint=_endpoint(environ, _IAM_NAMES, None, faults),
        sts_endpoint=_endpoint(environ, _STS_NAMES, None, faults),
        cbr_endpoint=_endpoint(environ, {"RECONCILER_CBR_ENDPOINT": ""}, None, faults),
        journal=_journal(environ, journal),
        concurrency=_concurrency(environ, faults),
        keep=_keep(environ, faults),
        region=first_set(environ, *_REGION_NAMES),
        region_from=next((name for name in _REGION_NAMES if first_set(environ, name)), _REGION_NAMES[0]),
        project_id=configured_project(environ),
    )
    if faults:
        raise BadInput("the settings are invalid", faults=tuple(faults))
    return values


_SENT = ("HW_REGION_NAME", "OS_REGION_NAME", "HUAWEICLOUD_SDK_PROJECT_ID", "HW_PROJECT_ID", "OS_PROJECT_ID")
"""Variables that become part of a request."""


def _unsendable(environ: Mapping[str, str]) -> list[Fault]:
    """The variables that no header can hold; their values are not repeated, as they may be a key in the wrong place."""
    problem = "holds a line break or another character that cannot be sent; copy it again"
    return [
        Fault(ENVIRONMENT, 0, 0, f"{name} {problem}")
        for name in _SENT
        if not fits_header(environ.get(name, "").strip())
    ]


def _journal(environ: Mapping[str, str], flag: str | None) -> str | None:
    if flag:
        return from_file(flag, FLAGS, "--journal")
    return from_file(environ.get("RECONCILER_JOURNAL", ""), ENVIRONMENT, "RECONCILER_JOURNAL") or None


def webhooks(environ: Mapping[str, str], flags: Sequence[str]) -> tuple[str, ...]:
    """The addresses of webhooks: of the flags, else of ``RECONCILER_WEBHOOK``, separated by white space."""
    if flags:
        found = [from_file(each, FLAGS, "--webhook") for each in flags]
    else:
        found = [from_file(environ.get("RECONCILER_WEBHOOK", ""), ENVIRONMENT, "RECONCILER_WEBHOOK")]
    return tuple(each for text in found for each in text.split())


OWNED = "RECONCILER_WEBHOOK_"
"""Before an owner in capitals, with ``_`` for ``-``: the webhooks that hear of the owner's pools alone."""
_OWNED = rf"{OWNED}[A-Z][A-Z0-9]*(_[A-Z0-9]+)*"
"""The variables that an owner can have; a manifest's rule for owners allows exactly one owner for each."""


def owner_variable(owner: str) -> str:
    """The variable with the webhooks of an owner of pools."""
    return OWNED + owner.upper().replace("-", "_")


def owners_webhooks(environ: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The addresses by owner, of every such variable that is set; raises ``BadInput`` for one that no owner has."""
    found: dict[str, tuple[str, ...]] = {}
    for name in sorted(each for each in environ if each.startswith(OWNED)):
        if not re.fullmatch(_OWNED, name):
            what = f"{name} is the variable of no owner; write the owner in capitals, with '_' for '-'"
            raise BadInput("the settings are invalid", faults=(Fault(ENVIRONMENT, 0, 0, what),))
        addresses = tuple(from_file(environ[name], ENVIRONMENT, name).split())
        if addresses:
            found[name.removeprefix(OWNED).lower().replace("_", "-")] = addresses
    return found


MOST_IN_FILE = 64 * 1024
"""Bytes of a file that holds a setting."""


def from_file(text: str, place: str, name: str) -> str:
    """The setting itself, or for ``@FILE`` what the file holds; raises ``BadInput`` when it cannot be read."""
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        if not is_regular(path):
            raise ValueError("it is not a regular file")
        with path.open("rb") as file:
            data = file.read(MOST_IN_FILE + 1)
        if len(data) > MOST_IN_FILE:
            raise ValueError(f"it has more than {MOST_IN_FILE} bytes")
        found = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        problem = "it is not a text"
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or str(error)
    else:
        if found:
            return found
        problem = "it is empty"
    what = f"{name} refers to {path}, which cannot be used: {problem}"
    raise BadInput("the settings are invalid", faults=(Fault(place, 0, 0, what),))


def configured_project(environ: Mapping[str, str]) -> str:
    """The project id from the environment; empty if not set."""
    return first_set(environ, "HUAWEICLOUD_SDK_PROJECT_ID", "HW_PROJECT_ID", "OS_PROJECT_ID")


def fits_header(text: str) -> bool:
    """True if a header of a request can hold this text: printable ASCII with no space around it."""
    return text.isascii() and text.isprintable() and text == text.strip()


_SECRET_NAME = re.compile(
    r"(TOKEN|PASSWORD|PASSWD|PASSPHRASE|_SK|_PAT|API_KEY|PRIVATE_KEY)$|SECRET", re.IGNORECASE
)
_ADDRESS = re.compile(r"(\w+=)?[\w+.-]+://")
"""How an address begins, also behind the name of a variable."""
_IN_ADDRESS = re.compile(r"://([^/?#\s]*)@")


def secrets_of(environ: Mapping[str, str]) -> Iterator[str]:
    """What is secret in an environment, whoever uses it: by the names of variables, and passwords in addresses."""
    for name, value in environ.items():
        if name == "RECONCILER_WEBHOOK" or name.startswith(OWNED):
            for each in value.split():
                yield from parts_of_address(each)
        text = value.strip()
        if _SECRET_NAME.search(name) and not text.startswith(("/", "@")):
            yield from (value, text)
        yield from passwords_in(value)


def secrets_of_flags(arguments: Sequence[str]) -> Iterator[str]:
    """What is secret in a command line: passwords in addresses, and addresses of webhooks, also misplaced ones."""
    after = ""
    for each in arguments:
        flag, _, value = each.partition("=") if each.startswith("--") else (after, "", each)
        if each.startswith("--") and "://" in flag:  # without "=": --webhookslack://…, --webhook:slack://…
            value = f"any{each[flag.index('://') :]}"
        yield from passwords_in(each)
        # Where it is misplaced, nobody knows whose address it is. That of the journal is shown where it is expected.
        if flag == "--webhook" or (flag != "--journal" and _ADDRESS.match(value)):
            yield from parts_of_address(value)
        after = each


SHORTEST_PART = 8
"""Characters from which a part of an address is taken for a secret; ``/hook`` alone is none."""


def parts_of_address(text: str) -> Iterator[str]:
    """What is secret of a webhook's address: of a web address everything but the host, of any other all of it."""
    yield from passwords_in(text)
    scheme, _, rest = text.partition("://")
    own = re.split(r"(?=[/?#])", rest)[1:] if scheme in {"http", "https"} else [rest]
    for each in (*own, "".join(own)):
        yield from (part for part in {each, unquote(each)} if len(part) >= SHORTEST_PART)


def passwords_in(text: str) -> Iterator[str]:
    """The passwords of the addresses in a text, as they stand there and decoded."""
    for found in _IN_ADDRESS.finditer(text):
        user, colon, password = found[1].partition(":")
        for each in {password, unquote(password)} if colon else ():
            yield each
            yield f"{unquote(user)}:{each}"  # as a proxy is sent it


_REGION_NAMES = ("HW_REGION_NAME", "OS_REGION_NAME")
_IAM_NAMES = {
    "RECONCILER_IAM_ENDPOINT": "",
    "HUAWEICLOUD_SDK_IAM_ENDPOINT": "",
    # The Terraform provider's variable includes the API version.
    "HW_AUTH_URL": "/v3",
}
_STS_NAMES = {"RECONCILER_STS_ENDPOINT": "", "HUAWEICLOUD_SDK_STS_ENDPOINT": ""}


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
            # The SDK takes several addresses of a region, separated by commas, and begins with the first.
            text = environ[name].split(",")[0].strip()
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
    if not REGION.fullmatch(region):
        raise BadInput(
            "the region is not a valid region id",
            hint="write it like ap-southeast-3, or set RECONCILER_ENDPOINT",
        )
    domain = "myhuaweicloud.eu" if region.startswith("eu-west-1") else "myhuaweicloud.com"
    return f"https://{service}.{region}.{domain}"


def backup_endpoint(settings: Settings, region: str) -> str:
    """Origin of the backup service: as set, or ``cbr.{region}`` of the service's own domain.

    A service on this machine answers for both, so that a simulated one never sends anybody to a real one.
    """
    if settings.cbr_endpoint:
        return settings.cbr_endpoint
    host = urlsplit(settings.endpoint or "").hostname or ""
    if settings.endpoint and is_loopback(host):
        return settings.endpoint
    if settings.endpoint and host.startswith(f"workspace.{region}."):
        return settings.endpoint.replace("://workspace.", "://cbr.", 1)
    return default_endpoint("cbr", region)


def region_of(address: str) -> str:
    """The region in the name of a service's host; empty for a host without one."""
    found = re.fullmatch(_SERVICE_HOST, urlsplit(address).hostname or "")
    return found["region"] if found else ""


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
