"""Signs and verifies approvals with OpenSSH's ``ssh-keygen``, as git does for commits: the only door to it.

Which approvals count is left to ``planning.approvals``, what a list of signers may say to ``planning.signers``.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from reconciler.errors import BadInput, Fault
from reconciler.manifest.paths import NotRegular, contents, reason, shown_path
from reconciler.model import Policy
from reconciler.planning import approvals, signers
from reconciler.planning.approvals import NAMESPACE, Given, SignedApproval
from reconciler.planning.signers import Signers
from reconciler.safe_text import safe_text

MOST_BYTES = 64 * 1024
"""Size of an approval; a signature has a few hundred bytes."""
MOST_SIGNERS = 1024 * 1024
"""Size of a list of signers, in bytes."""
MOST_FILES = 1000
"""Approvals of one folder."""
_WAIT = 30.0
"""Seconds for verifying one signature, which asks nobody."""


def ssh_keygen() -> str:
    """The path of ``ssh-keygen``; raises ``BadInput`` without it."""
    if found := shutil.which("ssh-keygen"):
        return found
    raise BadInput(
        "ssh-keygen is not installed, and signed approvals need it; nothing was sent",
        "install OpenSSH's client (package openssh-client), 8.2 or later",
    )


def sign(message: bytes, key: Path) -> str:
    """The armoured signature of a message; a passphrase or a touch is asked for by ``ssh-keygen`` itself."""
    command = [ssh_keygen(), "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE]
    done = subprocess.run(command, input=message, stdout=subprocess.PIPE, check=False)  # noqa: S603 - no shell
    signature = done.stdout.decode("ascii", "replace")
    if done.returncode or signers.signing_key(signature) is None:
        raise BadInput(
            f"ssh-keygen could not sign with {safe_text(str(key))}",
            "name your SSH key with --key: the private one, or the public one of a key that your agent holds",
        )
    return signature


def allowed_signers(policy: Policy) -> str:
    """The content of the policy's list of signers; raises ``BadInput`` unless it can be trusted and used."""
    rule = policy.approvals
    if rule is None:
        raise BadInput(
            f"the policy {policy.file} asks for no approvals, so it names nobody who could sign one",
            "add approvals: {required: 1, signers: allowed_signers} to the policy, or leave --approval out",
        )
    path = shown_path(rule.signers)
    try:
        data = contents(rule.signers, MOST_SIGNERS)
        mode = os.stat(rule.signers).st_mode
        text = data.decode("utf-8")
    except NotRegular:
        raise _unusable(path, "not a regular file", policy) from None
    except UnicodeDecodeError:
        raise _unusable(path, "not UTF-8", policy) from None
    except (OSError, ValueError) as error:
        raise _unusable(path, reason(error), policy) from None
    if len(data) > MOST_SIGNERS:
        raise _unusable(path, f"larger than {MOST_SIGNERS // 1024} KiB", policy)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _unusable(path, "others may write to it; chmod go-w", policy)
    listed = len({name.casefold() for name in signers.parse(text, path).values()})
    if listed < rule.required:
        raise _unusable(path, f"it lists {listed}, fewer than the {rule.required} who must sign", policy)
    return text


def _unusable(path: str, why: str, policy: Policy) -> BadInput:
    place = policy.approvals.at if policy.approvals else policy.file
    return BadInput(
        "the allowed_signers file of the policy cannot be used; nothing was sent",
        f"it is named at {place}",
        faults=(Fault(path, 0, 0, why),),
    )


def read_approvals(paths: Sequence[Path], allowed: str) -> tuple[Given, ...]:
    """The approvals of all files and folders, verified; a bad one says why and spoils no other."""
    with tempfile.TemporaryDirectory() as folder:
        # A copy, so that what was checked is what is verified against; others cannot look into the folder.
        names, signature = Path(folder) / "allowed_signers", Path(folder) / "signature"
        names.write_text(allowed, encoding="utf-8")
        owners = signers.parse(allowed, str(names))
        return tuple(_given(path, owners, names, signature) for path in _files(paths))


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """The files, and those of folders by name, each once."""
    seen: set[str] = set()
    for path in paths:
        try:
            inside = sorted(path.iterdir())[:MOST_FILES] if os.path.isdir(path) else [path]
        except OSError:
            inside = [path]
        for each in inside:
            real = os.path.realpath(each)
            hidden = each is not path and (each.name.startswith(".") or os.path.isdir(each))
            if not hidden and real not in seen:
                seen.add(real)
                yield each


def _given(path: Path, owners: Signers, names: Path, signature: Path) -> Given:
    source = safe_text(str(path))
    try:
        approval = _read(path)
    except OSError as error:
        return Given(source, problem=f"it cannot be read: {error.strerror}")
    except ValueError as error:
        return Given(source, problem=str(error))
    signature.write_text(approval.signature, encoding="utf-8", errors="replace")
    person = _person(names, signature)
    # Read once by us and once by ssh-keygen: who is counted must be who is verified.
    if not person or person != owners.get(signers.signing_key(approval.signature) or b""):
        return Given(source, approval, problem="no key that the policy lists signed it")
    if not _verified(approval, person, names, signature):
        return Given(source, approval, person, "its signature does not fit what it says, or is not valid now")
    return Given(source, approval, person)


def _read(path: Path) -> SignedApproval:
    """The approval in a file; raises ``OSError``, or ``ValueError`` with what is wrong."""
    try:
        data = contents(os.fspath(path), MOST_BYTES)
        text = data.decode("utf-8")
    except NotRegular:
        raise ValueError("it is not a regular file") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    if len(data) > MOST_BYTES:
        raise ValueError("it is larger than any approval")
    return approvals.parse(text)


def _person(names: Path, signature: Path) -> str:
    """Whose key made the signature, by the list alone; empty when it is nobody's."""
    found = _keygen("find-principals", "-s", str(signature), "-f", str(names))
    lines = found.stdout.decode("utf-8", "replace").splitlines()
    return lines[0] if found.returncode == 0 and len(lines) == 1 else ""


def _verified(approval: SignedApproval, person: str, names: Path, signature: Path) -> bool:
    arguments = ("-f", str(names), "-I", person, "-n", NAMESPACE, "-s", str(signature))
    return _keygen("verify", *arguments, message=approval.message).returncode == 0


def _keygen(action: str, *arguments: str, message: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [ssh_keygen(), "-Y", action, *arguments]
    # Verifying needs no agent, no home and no credentials of ours.
    bare = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        return subprocess.run(  # noqa: S603 - no shell, and every argument is ours
            command, input=message, env=bare, capture_output=True, timeout=_WAIT, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, b"", b"")
