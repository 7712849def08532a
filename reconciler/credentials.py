"""Finds the credentials that sign requests: in the environment, the credentials file or on the cloud server.

Everything is read from mappings and paths that are passed in, and secrets cannot be printed. ``api`` uses the
credentials.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from configparser import (
    DuplicateOptionError,
    DuplicateSectionError,
    MissingSectionHeaderError,
    ParsingError,
    RawConfigParser,
)
from pathlib import Path
from typing import NoReturn

from reconciler.errors import BadInput, CredentialsError, Fault
from reconciler.redaction import know
from reconciler.settings import ENVIRONMENT, configured_project, first_set, fits_header
from reconciler.values import Struct, replace

SHARED_FILE = Path(".huaweicloud") / "credentials"
"""Relative to the home directory."""


class Secret:
    """A text that only ``reveal`` returns: it cannot be printed, pickled, copied or encoded.

    From now on it is replaced in every text from outside; of an address, only the ``parts`` that are secret.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str, parts: Iterable[str] | None = None) -> None:
        self.__text = text
        know(*([text] if parts is None else parts))

    def reveal(self) -> str:
        """The text itself; only for requests to the service."""
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


class AccessKeys(Struct, frozen=True):
    """An access key pair; with a security token it is temporary, and all three are needed."""

    ak: str
    sk: Secret
    security_token: Secret | None = None


class Token(Struct, frozen=True):
    """An IAM token obtained elsewhere; valid for 24 hours at most, and not renewed here."""

    token: Secret


class Password(Struct, frozen=True):
    """An IAM user that logs in with a password to get tokens."""

    user: str
    domain: str
    """Account name of the user."""
    password: Secret


class Metadata(Struct, frozen=True):
    """Temporary keys of the agency of the cloud server this runs on; tried last."""


class Oidc(Struct, frozen=True):
    """A token of an identity provider that buys temporary keys of an agency."""

    provider_urn: str
    agency_urn: str
    session_name: str
    duration: int
    """Seconds for which the keys are asked."""
    id_token: Secret | None
    """None: ``token_file`` is read again each time."""
    token_file: Path | None
    policy: str
    """A session policy as JSON text; empty for none."""
    policy_ids: tuple[str, ...]


class Container(Struct, frozen=True):
    """Temporary keys of the agency that Kubernetes binds to this container's service account."""

    uri: str
    token_file: Path
    """Read again each time."""


class Agency(Struct, frozen=True):
    """Temporary keys of an agency, which an access key may assume."""

    base: AccessKeys
    name: str
    domain: str
    """Account name of the agency."""
    duration: int
    """Seconds for which the keys are asked."""


Credentials = AccessKeys | Token | Password | Metadata | Oidc | Container | Agency


class Identity(Struct, frozen=True):
    """Credentials, with the project and the source they were configured with."""

    credentials: Credentials
    project_id: str
    """As configured; empty if not set. The caller checks that it equals the manifest's target."""
    source: str
    """Where the credentials were found, for messages."""


def find_credentials(
    environ: Mapping[str, str], home: Path, profile: str = "", container: Identity | None = None
) -> Identity:
    """The first credentials found; with ``profile``, only that section of the credentials file.

    Raises ``BadInput`` if a source is incomplete: using the next one would act as a different identity.
    ``container`` comes before the metadata service of a cloud server, which ``RECONCILER_METADATA=off`` skips.
    """
    named = environ.get("HUAWEICLOUD_SDK_CREDENTIALS_FILE", "").strip()
    file = Path(named) if named else home / SHARED_FILE
    if profile:
        found = _from_file(file, profile, required=True)
    else:
        found = _from_environment(environ) or _from_file(file, "basic", required=bool(named)) or container
    if found is None and environ.get("RECONCILER_METADATA") == "off":
        raise no_credentials()
    if found is None:
        return Identity(Metadata(), configured_project(environ), "the metadata service of this server")
    check_sendable(found.credentials, found.source)
    if not fits_header(found.project_id):
        raise BadInput(
            f"the project id from {found.source} holds a character that cannot be sent", "copy it again"
        )
    return found if found.project_id else replace(found, project_id=configured_project(environ))


def check_complete(environ: Mapping[str, str]) -> None:
    """Raise ``BadInput`` if the environment holds half an identity, whichever would be taken."""
    _from_environment(environ)


def check_sendable(credentials: Credentials, source: str) -> None:
    """Raise ``BadInput``, which repeats no value, unless every part can be sent to the service as it is."""
    parts: dict[str, str | Secret] = {}
    match credentials:
        case AccessKeys(ak, sk, temporary):
            parts = {"access key": ak, "secret key": sk, "security token": temporary or Secret("x")}
        case Token(token):
            parts = {"token": token}
        case Password(user, domain, password):
            # These go into JSON, which holds letters of any language.
            parts = {"user name": user, "account name": domain, "password": password}
        case _:
            return  # keys that the cloud gives are checked where they arrive
    for name, part in parts.items():
        text = part.reveal() if isinstance(part, Secret) else part
        fits = text.isprintable() if isinstance(credentials, Password) else fits_header(text)
        if not fits:
            raise BadInput(
                f"the {name} from {source} holds a line break or another character that cannot be sent",
                "copy it again, without line breaks, spaces around it or quotes; it is not repeated here",
            )


def _from_environment(environ: Mapping[str, str]) -> Identity | None:
    project = configured_project(environ)
    # All of them, before one is taken: half an identity is one that somebody meant.
    sdk = _pair(environ, "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN")
    keys = _pair(environ, "HW_ACCESS_KEY", "HW_SECRET_KEY", "HW_SECURITY_TOKEN")
    login = _login(environ)
    if sdk:
        return Identity(sdk, project, "HUAWEICLOUD_SDK_AK")
    if token := _value(environ, "HW_AUTH_TOKEN"):
        return Identity(Token(Secret(token)), project, _name(environ, "HW_AUTH_TOKEN"))
    if keys:
        return Identity(keys, project, _name(environ, "HW_ACCESS_KEY"))
    return Identity(login, project, _name(environ, "HW_USER_NAME")) if login else None


_FALLBACKS = {
    "HW_AUTH_TOKEN": "OS_AUTH_TOKEN",
    "HW_ACCESS_KEY": "OS_ACCESS_KEY",
    "HW_SECRET_KEY": "OS_SECRET_KEY",
    "HW_USER_NAME": "OS_USERNAME",
    "HW_USER_PASSWORD": "OS_PASSWORD",
    "HW_DOMAIN_NAME": "OS_DOMAIN_NAME",
}


def _value(environ: Mapping[str, str], name: str) -> str:
    return first_set(environ, name, _FALLBACKS.get(name, name))


def _name(environ: Mapping[str, str], name: str) -> str:
    """The name under which that value was found."""
    return name if first_set(environ, name) else _FALLBACKS[name]


def _pair(environ: Mapping[str, str], ak: str, sk: str, token: str) -> AccessKeys | None:
    access, secret, temporary = (_value(environ, name) for name in (ak, sk, token))
    if not (access or secret or temporary):
        return None
    if not (access and secret):
        _incomplete(f"{ak} and {sk} must be set together, but {_missing({ak: access, sk: secret})}")
    return AccessKeys(access, Secret(secret), Secret(temporary) if temporary else None)


def _login(environ: Mapping[str, str]) -> Password | None:
    names = ("HW_USER_NAME", "HW_USER_PASSWORD", "HW_DOMAIN_NAME")
    values = {name: _value(environ, name) for name in names}
    user, password, domain = values.values()
    # A domain name alone is not a login: other tools set it for other purposes.
    if not (user or password):
        return None
    if not all(values.values()):
        _incomplete(
            f"HW_USER_NAME, HW_USER_PASSWORD and HW_DOMAIN_NAME must be set together, but {_missing(values)}"
        )
    return Password(user, domain, Secret(password))


def _missing(values: Mapping[str, str]) -> str:
    names = [name for name, value in values.items() if not value]
    return " and ".join(names) + (" is not set" if len(names) == 1 else " are not set")


def _incomplete(what: str) -> NoReturn:
    raise BadInput(
        "the credentials are incomplete",
        hint="set the missing variables, or unset the others to use the next source",
        faults=(Fault(ENVIRONMENT, 0, 0, what),),
    )


_EXPECTED = "expected [section], then lines of the form name = value"


class _Reader(RawConfigParser):
    """Reads the credentials file literally: no interpolation, no default section, ``=`` as the only delimiter."""

    SECTCRE = re.compile(r"\[\s*(?P<header>[^\]]*?)\s*\]\Z")

    def __init__(self) -> None:
        # The default section gets a name that no file can contain; values of a [DEFAULT] section would otherwise
        # appear in every other section.
        super().__init__(delimiters=("=",), default_section="]", empty_lines_in_values=False)

    def optionxform(self, optionstr: str) -> str:
        """Names are case-sensitive."""
        return optionstr


def _from_file(file: Path, section: str, *, required: bool) -> Identity | None:
    """The credentials of one section; None if file or section is absent, which ``required`` makes a fault."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return _absent(file, "the file does not exist") if required else None
    except (OSError, UnicodeDecodeError) as error:
        # The bytes are not quoted: they may be part of a key.
        _unusable(Fault(str(file), 0, 0, f"the credentials file cannot be read ({type(error).__name__})"))
    # Strip the lines: an indented line would otherwise continue the value above it.
    lines = [line.strip() for line in text.splitlines()]
    found = _parsed(file, lines)
    if not found.has_section(section):
        return _absent(file, f"there is no section [{section}]") if required else None
    if federated := [name for name in ("idp_id", "id_token_file") if found.has_option(section, name)]:
        # The SDK takes these before ak and sk of the same section, and would act as somebody else.
        message = f"[{section}] has {' and '.join(federated)}, which is not supported; use HUAWEICLOUD_OIDC_*"
        _unusable(Fault(str(file), _line_of(section, lines), 1, message))
    ak, sk, token = (found.get(section, name, fallback="") for name in ("ak", "sk", "security_token"))
    if not (ak and sk):
        missing = _missing({"ak": ak, "sk": sk})
        message = f"[{section}] needs both ak and sk, but {missing}"
        _unusable(Fault(str(file), _line_of(section, lines), 1, message))
    keys = AccessKeys(ak, Secret(sk), Secret(token) if token else None)
    return Identity(keys, found.get(section, "project_id", fallback=""), f"{file} [{section}]")


def _parsed(file: Path, lines: list[str]) -> _Reader:
    """The file's sections. Errors keep only line numbers: the parser quotes lines, which may hold keys."""
    reader = _Reader()
    try:
        reader.read_file(lines)
        return reader
    except DuplicateSectionError as error:
        first = _line_of(str(error.section), lines)
        problems = {error.lineno or 0: f"duplicate section; it already starts in line {first}"}
    except DuplicateOptionError as error:
        problems = {error.lineno or 0: "duplicate name in this section"}
    except MissingSectionHeaderError as error:
        problems = {error.lineno: _EXPECTED}
    except ParsingError as error:
        problems = {number: _EXPECTED for number, _ in error.errors}
    # Raised outside the except blocks, so that the parser's error is not attached as context and printed.
    _unusable(*(Fault(str(file), number, 1, problem) for number, problem in problems.items()))


def _line_of(section: str, lines: list[str]) -> int:
    """Number of the line that starts a section."""
    headers = (_Reader.SECTCRE.match(line) for line in lines)
    return next(
        number for number, found in enumerate(headers, start=1) if found and found["header"] == section
    )


def _absent(file: Path, why: str) -> NoReturn:
    _unusable(Fault(str(file), 0, 0, f"{why}, but a setting or a manifest refers to it"))


def _unusable(*faults: Fault) -> NoReturn:
    raise BadInput(
        "the credentials file is invalid",
        hint="a section contains ak, sk and, for temporary keys, security_token; project_id is optional",
        faults=faults,
    )


def no_credentials() -> CredentialsError:
    """The error if no source has credentials; its hint names every way to set them."""
    return CredentialsError(
        "no credentials found",
        "set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK, or HW_ACCESS_KEY and HW_SECRET_KEY, or "
        "HW_AUTH_TOKEN, or HUAWEICLOUD_OIDC_PROVIDER_URN and its companions, or write "
        "~/.huaweicloud/credentials; or use --sandbox",
    )
