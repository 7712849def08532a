"""``doctor``: tries everything that a plan needs, and says check by check what works; only reads.

What is checked at the service is left to ``service_checks``, the text to ``render.doctor``.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from reconciler import __version__, installation
from reconciler.apply.stop import Stop
from reconciler.cli import flags
from reconciler.cli.connect import home, journal_to_read, journal_url, read_settings
from reconciler.cli.console import Console
from reconciler.cli.flags import ConnectionOptions
from reconciler.cli.manifest_paths import FOLDER, VARIABLE, manifest_paths
from reconciler.cli.policy import policy_of
from reconciler.cli.service_checks import check_target, failed
from reconciler.cli.signals import run_async
from reconciler.cli.signatures import allowed_signers
from reconciler.clock import CLOCK
from reconciler.credentials import Password
from reconciler.errors import ExitCode, ReconcilerError
from reconciler.identity import find_identity
from reconciler.manifest.load import load
from reconciler.model import Manifest, Policy, Target
from reconciler.planning import signers
from reconciler.redaction import redact
from reconciler.render.doctor import Check, Result, doctor_lines, exit_code
from reconciler.render.line import count
from reconciler.settings import Settings
from reconciler.values import Struct, replace

_READ = ("RECONCILER_", "HUAWEICLOUD_", "HW_", "OS_", "HC_CONTAINER_", "SSL_CERT_")
_ALSO = frozenset(["HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSLKEYLOGFILE"])
_ZONES = ("UTC", "Asia/Bangkok")
_SHORTEST = 3
"""Letters from which a user's name is taken out of texts: a shorter one is part of too many words."""
_EVERYBODY = frozenset({"root"})
CLOCKS_MINUTES = 5
"""Minutes by which the journal's clock can differ before nothing is changed by it any more."""
_RESOLVE = "reconciler resolve finds out how they ended; reconciler resolve --acknowledge closes an alarm"


@flags.options
def doctor(
    paths: flags.OptionalPaths = None,
    *,
    shown: flags.OutputFormat = flags.Output.TEXT,
    connection: flags.ConnectionOptions,
    follow_symlinks: flags.FollowSymlinks = False,
) -> int:
    """Try what a plan needs, one line for each check with what to do; only reads, and prints no secret and no name.

    The exit code is 0, or that of the first failure. What is printed can go into a support ticket.
    """
    console = Console()

    async def work(_stop: Stop) -> list[Check]:
        with console.working("Checking"):
            machine = _Machine(connection)
            checks = list(machine.checks(paths, follow_symlinks=follow_symlinks))
            for target in machine.targets:
                checks += await check_target(
                    target, machine.manifest, connection, machine.settings, machine.policy
                )
        return checks

    found = [_discreet(each) for each in run_async(work)]
    if shown is flags.Output.JSON:
        from reconciler.render.json.doctor import doctor_json  # noqa: PLC0415 - one of two forms

        console.json_text(doctor_json(found))
    else:
        console.lines(doctor_lines(found))
    return exit_code(found)


class _Machine(Struct):
    """What can be checked without the service, and what it found for the checks of the service."""

    connection: ConnectionOptions
    settings: Settings | None = None
    manifest: Manifest | None = None
    policy: Policy | None = None

    @property
    def targets(self) -> tuple[Target, ...]:
        """Those of the manifests, else the one that the settings name."""
        if self.manifest:
            return self.manifest.targets
        found = self.settings
        return (
            (Target(found.region, found.project_id),) if found and found.region and found.project_id else ()
        )

    def checks(self, paths: list[Path] | None, *, follow_symlinks: bool) -> Iterator[Check]:
        """Every check of this machine, in the order in which they are shown."""
        yield _versions()
        yield attempt("settings", self._read_settings)
        yield _time_zones()
        yield attempt("manifests", lambda: self._read_manifests(paths, follow_symlinks=follow_symlinks))
        yield from self._policy()
        yield from self._journal()
        if not self.targets:
            yield Check.not_tried(
                "service",
                "neither a manifest nor HW_REGION_NAME with HW_PROJECT_ID names a project to ask",
                "name manifests, or set both; reconciler import writes manifests for live pools",
            )

    def _read_settings(self) -> Check:
        self.settings = read_settings(self.connection)
        names = sorted(each for each in os.environ if each.startswith(_READ) or each.upper() in _ALSO)
        where = "in the environment: " + ", ".join(names) if names else "none in the environment"
        given = [f"--{name}" for name in ("endpoint", "journal", "policy") if getattr(self.connection, name)]
        also = f"; by flag: {', '.join(given)}" if given else ""
        return Check.ok("settings", f"{where}{also}")

    def _read_manifests(self, paths: list[Path] | None, *, follow_symlinks: bool) -> Check:
        if not paths and VARIABLE not in os.environ and not FOLDER.is_dir():
            what = f"none are named, and there is no folder {FOLDER}/ here"
            return Check.not_tried("manifests", what, "reconciler import writes them for live pools")
        self.manifest = load(manifest_paths(paths), follow_symlinks=follow_symlinks)
        found = self.manifest
        return Check.ok(
            "manifests",
            f"{count(len(found.pools), 'pool')} of {count(len(found.targets), 'target')} in "
            f"{count(len(found.sources), 'file')}",
        )

    def _policy(self) -> Iterator[Check]:
        found: list[Policy] = []

        def read() -> Check:
            policy = policy_of(self.connection)
            if policy is None:
                return Check.ok("policy", "none is named, so manifests and flags alone decide")
            found.append(policy)
            self.policy = policy
            return Check.ok("policy", f"{policy.file} (sha256 {policy.digest})")

        yield attempt("policy", read)
        for policy in found:
            if rule := policy.approvals:
                yield attempt("signers", lambda: _signers(policy, rule.signers, rule.required))  # noqa: B023

    def _journal(self) -> Iterator[Check]:
        settings = self.settings
        if settings is None:
            yield Check.not_tried("journal", "the settings cannot be read")
            return
        existing: list[bool] = []

        def look() -> Check:
            check = _condition(journal_url(self.connection, settings))
            existing.append(check.result is not Result.NOT_TRIED)
            return check

        yield attempt("journal", look)
        if existing == [True]:
            yield from self._inside()

    def _inside(self) -> Iterator[Check]:
        def read() -> Check:
            with journal_to_read(self.connection) as kept:
                if kept is None:
                    return Check.not_tried("journal: content", "it holds nothing yet")
                kept.check()
                apart = abs((kept.now() - CLOCK.get().now()).total_seconds())
                open_ones, alarms = len(kept.unresolved()), len(kept.alarms())
                damaged = len(kept.every_damaged())
            said = (
                f"read as a whole; {count(open_ones, 'open operation')}, {count(alarms, 'alarm')}, "
                f"{count(damaged, 'damaged record')}; its clock is {apart:.0f} s from this machine's"
            )
            if damaged:
                advice = "restore it from a backup, or close them: reconciler resolve names them"
                return Check.failure("journal: content", said, advice, ExitCode.JOURNAL)
            if apart > CLOCKS_MINUTES * 60:
                advice = (
                    "set the clock of this machine or of the database server; until then nothing is changed"
                )
                return Check.failure("journal: content", said, advice, ExitCode.JOURNAL)
            bad = open_ones or alarms
            return Check(
                "journal: content", Result.WARNING if bad else Result.OK, said, _RESOLVE if bad else ""
            )

        yield attempt("journal: content", read)


def attempt(name: str, work: Callable[[], Check]) -> Check:
    """The check, or what went wrong as one."""
    try:
        return work()
    except ReconcilerError as error:
        return failed(name, error)


def _versions() -> Check:
    here = installation.installed()
    made = (here and installation.commit(here)) or "not recorded"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return Check.ok("versions", f"reconciler {__version__}, commit {made}, {python} on {platform.system()}")


def _time_zones() -> Check:
    try:
        for each in _ZONES:
            ZoneInfo(each)
    except ZoneInfoNotFoundError:
        return Check.failure(
            "time zones",
            "this machine knows no time zones, which windows are written in",
            "install the system's tzdata, or the Python package tzdata",
            ExitCode.ERROR,
        )
    return Check.ok("time zones", "known to this machine")


def _signers(policy: Policy, file: str, required: int) -> Check:
    known = signers.parse(allowed_signers(policy), file)
    people = len(set(known.values()))
    said = f"{file} lists {count(people, 'person', 'people')}; a removal needs {required}"
    if people >= required:
        return Check.ok("signers", said)
    advice = "list at least as many people as must sign"
    return Check.failure("signers", said, advice, ExitCode.BAD_INPUT)


def _condition(url: str) -> Check:
    from reconciler.journal.inspection import condition  # noqa: PLC0415 - its import is the costliest

    found = condition(url)
    if found is None or found.version is None:
        return Check.not_tried(
            "journal", "there is none yet", "the first apply or drift makes it; keep it afterwards"
        )
    said = f"{found.kind}, version {found.version} of {found.latest}"
    if found.unwritable:
        return Check.warning(
            "journal",
            f"{said}; it cannot be written: {found.unwritable}",
            "plan can do without; apply, drift and resolve need to write to it",
        )
    if found.version < found.latest:
        return Check.warning("journal", said, "the next command that writes brings it to this version")
    return Check.ok("journal", f"{said}; it can be locked and written")


def _discreet(check: Check) -> Check:
    """The same without secrets, the home folder, and the names of who runs it and of who logs in."""

    def clean(text: str) -> str:
        for name, instead in _private():
            text = text.replace(name, instead)
        return redact(text)

    return replace(check, message=clean(check.message), advice=clean(check.advice))


def _private() -> Iterator[tuple[str, str]]:
    folder = str(home())
    if len(folder) > _SHORTEST:
        yield folder, "~"
    names = {os.environ.get(each, "") for each in ("USER", "LOGNAME", "HW_USER_NAME", "OS_USERNAME")}
    try:
        credentials = find_identity(os.environ, home()).credentials
    except ReconcilerError:
        credentials = None
    if isinstance(credentials, Password):
        names |= {credentials.user, credentials.domain}
    for name in sorted(names - _EVERYBODY, key=len, reverse=True):
        if len(name) >= _SHORTEST:
            yield name, "(a user)"
