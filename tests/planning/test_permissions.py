"""What manifests allow beyond the defaults, and what a pull request changes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.manifest.load import read
from reconciler.model import Manifest
from reconciler.planning.manifest_changes import Direction, manifest_changes
from reconciler.planning.permissions import permissions

HEAD = "version: 1\ntarget: {region: ap-southeast-3, project_id: 0123456789abcdef0123456789abcdef%s}\n"
DISK = "305d3c76-199f-4407-8d82-2a42d970595e"


Read = Callable[..., Manifest]


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Read a manifest from its text after the target, as ``m.yaml`` of the current folder."""
    monkeypatch.chdir(tmp_path)

    def make(text: str, target: str = "") -> Manifest:
        Path("m.yaml").write_text(HEAD % target + text)
        return read(["m.yaml"])

    return make


def allowed(manifest: Manifest) -> list[tuple[str, str, str]]:
    """What is allowed, where, and for which pool."""
    found = permissions(manifest.limits, manifest.pools, manifest.drift)
    return [(each.what, each.source, each.pool) for each in found]


def test_a_manifest_of_defaults_allows_nothing(manifest: Read) -> None:
    assert (
        allowed(manifest("pools:\n  - {name: a, disks: [{type: SAS, size: 50}]}\nlimits: {disks: 10}\n"))
        == []
    )


def test_every_limit_and_permission_is_listed_with_the_line_that_sets_it(manifest: Read) -> None:
    found = allowed(
        manifest(
            "defaults:\n"
            "  allow_live_sessions: true\n"
            "limits:\n"
            "  disks: 12345\n"
            "  copies: 9\n"
            "pools:\n"
            "  - name: a\n"
            "    allow_empty: true\n"
            "    disks: []\n"
            "    allow_live_sessions: false\n"
            "  - name: b\n"
            "    disks:\n"
            "      - {type: SAS, size: 50, replace: true, count: 2}\n"
            "    on_tie: remove_newest\n"
            "    allow_count_mismatch: true\n"
            "    manage: [add, remove]\n"
            "drift:\n"
            "  correct: [remove]\n"
            "  disks_per_day: 3\n"
            '  windows: [{days: [sat], start: "01:00", end: "02:00", timezone: UTC}]\n'
        )
    )
    assert found == [
        ("limits.disks: 12345", "m.yaml:6:10", ""),
        ("limits.copies: 9", "m.yaml:7:11", ""),
        ("drift.correct: [remove]", "m.yaml:20:3", ""),
        ("allow_empty: true", "m.yaml:10:18", "a"),
        ("allow_live_sessions: true", "m.yaml:4:24", "b"),
        ("allow_count_mismatch: true", "m.yaml:17:27", "b"),
        ("on_tie: remove_newest", "m.yaml:16:13", "b"),
        ("manage: [remove, add]", "m.yaml:18:13", "b"),
        ("replace: true", "m.yaml:15:9", "b"),
    ]


def changed(before: Manifest, after: Manifest) -> list[tuple[str, str, str]]:
    """What changes, in which direction, and for which pool."""
    return [(each.what, each.direction.value, each.pool) for each in manifest_changes(before, after)]


POOL = "pools:\n  - name: a\n    disks: [{type: SAS, size: 50, count: 2}]\n"


@pytest.mark.parametrize(
    ("before", "after", "what", "wider"),
    [
        ("", "limits: {disks: 9999}\n", "limits.disks raised from 10 to 9999", True),
        ("limits: {gigabytes: 5}\n", "", "limits.gigabytes raised from 5 to no limit", True),
        ("", "limits: {users: 5}\n", "limits.users lowered from no limit to 5", False),
        ("", "    allow_empty: true\n", "permission granted: allow_empty: true", True),
        ("    on_tie: remove_oldest\n", "", "permission taken: on_tie: remove_oldest", False),
        ("", "    manage: [remove, expand]\n", "manage changed from [remove] to [remove, expand]", True),
        ("    manage: [remove]\n", "    manage: []\n", "manage changed from [remove] to []", False),
        (f"    protect: [{DISK}]\n", "", f"protection of disk {DISK} removed", True),
        ("", f"    protect: [{DISK}]\n", f"protection of disk {DISK} added", False),
        ("    apply_to: new\n", "    apply_to: all\n", "apply_to changed from new to all", True),
        ("    apply_to: idle\n", "", "apply_to changed from idle to left out (the service decides)", True),
        (
            "",
            "drift: {correct: [remove], disks_per_day: 2}\n",
            "drift policy added: correct [remove] without a person, at most 2 disks a day, no windows",
            True,
        ),
        (
            "drift: {correct: [remove], disks_per_day: 2}\n",
            "drift: {correct: [remove], disks_per_day: 30}\n",
            "drift.disks_per_day raised from 2 to 30",
            True,
        ),
        (
            "drift: {correct: [remove], disks_per_day: 2}\n",
            "drift:\n  correct: [remove]\n  disks_per_day: 2\n"
            '  windows: [{days: [mon], start: "01:00", end: "02:00", timezone: UTC}]\n',
            "drift window added: mon 01:00 to 02:00 UTC",
            True,
        ),
        (
            "drift: {correct: [remove], disks_per_day: 2}\n",
            "",
            "drift policy removed: nothing is corrected without a person",
            False,
        ),
    ],
)
def test_each_change_is_named_with_its_direction(
    manifest: Read, before: str, after: str, what: str, *, wider: bool
) -> None:
    old, new = manifest(POOL + before), manifest(POOL + after)
    [(found, direction, _)] = changed(old, new)
    assert (found, direction) == (what, "widens" if wider else "narrows")
    assert changed(old, old) == []
    assert not any(each.direction is Direction.NEUTRAL for each in manifest_changes(new, old))


def test_pools_that_come_go_or_get_a_name_are_named(manifest: Read) -> None:
    one = "pools:\n  - {name: a, id: pool-1, disks: [{type: SAS, size: 50}]}\n"
    other = "pools:\n  - {name: b, id: pool-1, disks: [{type: SAS, size: 50}]}\n"
    assert changed(manifest(one), manifest(other)) == [("pool renamed from a to b", "neutral", "b")]
    another = "pools:\n  - {name: a, id: pool-2, disks: [], allow_empty: true}\n"
    assert changed(manifest(one), manifest(another)) == [
        ("pool added, with no data disk", "widens", "a"),
        ("permission granted: allow_empty: true", "widens", "a"),
        ("pool no longer managed", "narrows", "a"),
    ]


def test_fewer_disks_and_another_profile_are_changes(manifest: Read) -> None:
    less = POOL.replace("count: 2", f"id: {DISK}")
    assert changed(manifest(POOL), manifest(less)) == [
        (f"pin of disk {DISK} added", "narrows", "a"),
        ("disks changed from SAS 50 GB × 2 to SAS 50 GB", "neutral", "a"),
    ]
    assert changed(manifest(POOL), manifest(POOL, ", profile: other")) == [
        ("credentials profile changed from the default to other", "widens", "a")
    ]
