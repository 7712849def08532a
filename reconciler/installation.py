"""Says what this installation of reconciler came from, and how the same can be installed elsewhere.

It reads what installers record (PEP 610, https://peps.python.org/pep-0610/) and asks no network. ``cli`` writes and
prints it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from importlib.metadata import Distribution, PackageNotFoundError
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from reconciler import DISTRIBUTION
from reconciler.errors import BadInput
from reconciler.values import Struct

_EXTRAS = r"(?:\[(?P<extras>[a-z0-9-]+(?:,[a-z0-9-]+)*)\])?"
_REQUIREMENT = re.compile(
    rf"(?P<name>[A-Za-z0-9][\w.-]*?)\s*{_EXTRAS}\s*(?:==\s*(?P<version>\S+)|@\s*(?P<url>\S+))"
)
_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?")
# What needs no quoting between double quotes, in a shell, YAML, Groovy, a Dockerfile and GitHub's expressions alike.
_ADDRESS = re.compile(r"[A-Za-z0-9._~:/\[\]@+%=,-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FORMS = (
    f'--package "{DISTRIBUTION} @ https://HOST/NAME.whl#sha256=HASH", '
    f'"{DISTRIBUTION} @ git+https://HOST/REPOSITORY@COMMIT", or "{DISTRIBUTION}==VERSION" with --index-url'
)


class Package(Struct, frozen=True):
    """One exact version of reconciler, wherever it is installed."""

    place: str
    """What follows the name in a requirement (PEP 508): ``==1.2.3``, or `` @ `` and an address with hash or commit."""
    extras: frozenset[str] = frozenset()
    index: str = ""
    """Address of the index that has it; empty where ``place`` is an address."""

    def arguments(self, *extras: str) -> str:
        """The arguments of ``pip install``, quoted for a shell, with these extras too."""
        wanted = sorted({*self.extras, *extras})
        name = f"{DISTRIBUTION}[{','.join(wanted)}]" if wanted else DISTRIBUTION
        return (f'--index-url "{self.index}" ' if self.index else "") + f'"{name}{self.place}"'


def named_package(requirement: str, index: str = "") -> Package:
    """The package that a person names; raises ``BadInput`` for what another machine could not install exactly."""
    found = _REQUIREMENT.fullmatch(requirement.strip())
    if not found:
        raise _refused("--package is not a requirement that names one exact version")
    name = re.sub(r"[-_.]+", "-", found["name"]).lower()
    if name != DISTRIBUTION:
        raise _refused(f"--package names {name!r}, which is another distribution: this one is {DISTRIBUTION}")
    extras = frozenset(found["extras"].split(",") if found["extras"] else ())
    if found["url"]:
        if index:
            raise _refused("--index-url goes with a version, and --package names an address")
        return Package(f" @ {_checked_address(found['url'], '--package')}", extras)
    if not _VERSION.fullmatch(found["version"]):
        raise _refused(f"--package names {found['version']!r}, which is not one exact version")
    if not index:
        raise _refused(
            "--package names a version without --index-url: on another index the name may be somebody else's"
        )
    if reason := _unfit(index):
        raise _refused(f"--index-url {reason}")
    return Package(f"=={found['version']}", extras, index)


def recorded_package(distribution: Distribution | None) -> Package:
    """What the installer recorded about this installation; raises ``BadInput`` where that is too little."""
    if distribution is None:
        raise _refused("this program is not installed, so nothing says where another machine gets it")
    recorded = direct_url(distribution)
    if recorded is None:
        raise _refused(
            "this installation came from an index or --find-links, of which installers record nothing"
        )
    url = str(recorded.get("url", ""))
    if "dir_info" in recorded:
        raise _refused("this installation came from a folder, of which installers record no commit")
    if vcs := recorded.get("vcs_info"):
        if vcs.get("vcs") != "git":
            raise _refused("this installation came from a repository that is not git's")
        return Package(f" @ {_checked_address(f'git+{url}@{commit(distribution)}', 'its repository')}")
    archive = recorded.get("archive_info") or {}
    hashes = dict(archive.get("hashes") or [str(archive.get("hash", "")).split("=", 1)] * ("hash" in archive))
    if url.startswith("file:"):
        raise _refused("this installation came from a file: address, which is of no use on another machine")
    digest = hashes.get("sha256")
    if not digest:
        raise _refused("this installation came from an archive of which no sha256 was recorded")
    return Package(f" @ {_checked_address(f'{url}#sha256={digest}', 'its archive')}")


def installed() -> Distribution | None:
    """What the installer left about this program; None where it runs without having been installed."""
    try:
        return metadata.distribution(DISTRIBUTION)
    except PackageNotFoundError:
        return None


def direct_url(distribution: Distribution) -> dict[str, Any] | None:
    """The record of PEP 610; None where there is none, which means an index or ``--find-links``."""
    try:
        recorded = json.loads(distribution.read_text("direct_url.json") or "null")
    except ValueError:
        return None
    return recorded if isinstance(recorded, dict) else None


def commit(distribution: Distribution) -> str:
    """The commit that was installed; empty where none was recorded."""
    vcs = (direct_url(distribution) or {}).get("vcs_info") or {}
    return str(vcs.get("commit_id", ""))


def origin(distribution: Distribution | None) -> str:
    """In words, what this installation came from; never with a password."""
    recorded = direct_url(distribution) if distribution else None
    if distribution is None:
        return "not installed"
    if recorded is None:
        return "an index or --find-links"
    if "dir_info" in recorded:
        return "a folder"
    kind = "a repository" if "vcs_info" in recorded else "an archive"
    # The host alone: the rest of an address can hold a token.
    host = urlsplit(str(recorded.get("url", ""))).hostname
    return f"{kind} at {host}" if host else kind


def versions(distributions: Iterable[Distribution] | None = None) -> dict[str, str]:
    """The exact version of everything installed beside reconciler that an index can be asked for, by name."""
    found: dict[str, str] = {}
    for each in metadata.distributions() if distributions is None else distributions:
        name = re.sub(r"[-_.]+", "-", each.name or "").lower()
        # The first on the path is the one that is imported.
        if name and name != DISTRIBUTION and name not in found and direct_url(each) is None:
            found[name] = each.version
    return dict(sorted(found.items()))


def dependencies(distribution: Distribution, extra: str = "") -> list[str]:
    """The names of the distributions that reconciler asks for itself, or that one of its extras adds."""
    wanted = []
    for requirement in distribution.requires or []:
        about, _, marker = requirement.partition(";")
        of_extra = re.search(r"""extra\s*==\s*["']([\w-]+)["']""", marker)
        if (of_extra[1] if of_extra else "") == extra and (found := re.match(r"[\w.-]+", about)):
            wanted.append(re.sub(r"[-_.]+", "-", found[0]).lower())
    return wanted


def constraints(known: Mapping[str, str]) -> str:
    """A constraints file of pip that holds every dependency to the version that is installed here."""
    head = "# For pip install --constraint: the exact versions that were installed where these files were written.\n"
    return head + "".join(f"{name}=={version}\n" for name, version in known.items())


def _checked_address(url: str, what: str) -> str:
    """An address with hash or commit that may stand in a file that everybody reads; raises ``BadInput`` otherwise."""
    place, _, fragment = url.partition("#")
    if place.startswith("git+"):
        if reason := _unfit(place.removeprefix("git+")):
            raise _refused(f"{what} {reason}")
        if fragment or not _COMMIT.fullmatch(place.rpartition("@")[2]):
            raise _refused(
                f"{what} names no commit: 40 hexadecimal digits after an @, since branches and tags move"
            )
        return place
    if reason := _unfit(place):
        raise _refused(f"{what} {reason}")
    if not _SHA256.fullmatch(fragment.removeprefix("sha256=")) or not fragment.startswith("sha256="):
        raise _refused(f"{what} has no hash: #sha256= and 64 hexadecimal digits after the address")
    return url


def _unfit(url: str) -> str:
    """Why an address may not stand in the files; empty if it may. It is not repeated: it can hold a token."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return "is not an address"
    if parts.scheme == "file":
        return "is a file: address, which is of no use on another machine"
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        return "must begin with https://"
    if not host or "@" in parts.netloc or parts.query:
        return "must be an address without user, password and query, as everybody can read the files"
    return "" if _ADDRESS.fullmatch(url) else "has a character that the files cannot hold; write it as %XX"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refused(why: str) -> BadInput:
    return BadInput(why, f"say what the files shall install: {_FORMS}")
