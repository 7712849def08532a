"""From files to the desired state."""

from __future__ import annotations

import gc
import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.errors import BadInput
from reconciler.manifest.load import load
from reconciler.model import (
    Action,
    ApplyTo,
    BackupRule,
    DesiredDisk,
    DesiredPool,
    Limit,
    Limits,
    OnTie,
    Position,
    Target,
    Window,
)

EXAMPLES = Path(__file__).parents[2] / "manifests"
PROJECT = "0123456789abcdef0123456789abcdef"
HEAD = f'version: 1\ntarget: {{region: ap-southeast-3, project_id: "{PROJECT}"}}\n'
TARGET = Target("ap-southeast-3", PROJECT)


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_every_field_arrives_with_its_place(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.yaml",
        HEAD
        + """\
pools:
  - name: analysts
    id: p1
    disks:
      - {type: SSD, size: 100, iops: 3000, throughput: 250, kms_id: k1, replace: true}
      - {type: SAS, size: 50, count: 2}
      - {id: d1, type: SAS, size: 10}
    protect: [d1, d2]
    apply_to: idle
    allow_live_sessions: true
    allow_count_mismatch: true
    on_tie: remove_oldest
    manage: [remove, expand]
    grace: 36h
    backup: {within: 24h}
    owner: finance
""",
    )
    twin = DesiredDisk("SAS", 50, Position(file, 8, 9))
    (pool,) = load([file]).pools
    assert pool == DesiredPool(
        target=TARGET,
        at=Position(file, 4, 5),
        disks=(
            DesiredDisk("SSD", 100, Position(file, 7, 9), "", 3000, 250, "k1", True),
            twin,
            twin,
            DesiredDisk("SAS", 10, Position(file, 9, 9), id="d1"),
        ),
        name="analysts",
        id="p1",
        protect=("d1", "d2"),
        apply_to=ApplyTo.IDLE,
        allow_live_sessions=True,
        allow_count_mismatch=True,
        on_tie=OnTie.REMOVE_OLDEST,
        manage=frozenset({Action.REMOVE, Action.EXPAND}),
        grace=timedelta(hours=36),
        backup=BackupRule(timedelta(hours=24), Position(file, 17, 13)),
    )
    assert pool.backup
    assert pool.backup.at == Position(file, 17, 13)  # no part of what is compared
    assert pool.owner == "finance"  # which decides nothing, so it takes no part in the comparison


def test_what_is_left_out_is_the_careful_choice(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", HEAD + "pools: [{name: a, disks: [{type: SSD, size: 10}]}]\n")
    manifest = load([file])
    (pool,) = manifest.pools
    assert pool.apply_to is None
    assert pool.on_tie is None
    assert pool.manage == {Action.REMOVE}
    assert pool.grace == timedelta(0)
    assert pool.backup is None
    assert pool.owner == ""
    assert not pool.allow_empty
    assert not pool.allow_live_sessions
    assert not pool.allow_count_mismatch
    assert not pool.disks[0].replace
    assert manifest.limits == Limits()
    assert manifest.drift == ()


def test_defaults_hold_for_their_own_document_and_yield_to_the_pool(tmp_path: Path) -> None:
    disks = "disks: [{type: SSD, size: 10}]"
    file = write(
        tmp_path / "a.yaml",
        f"""\
{HEAD}defaults: {{apply_to: idle, on_tie: remove_newest, manage: [], allow_live_sessions: true}}
pools:
  - {{name: a, {disks}}}
  - {{name: b, {disks}, apply_to: all, on_tie: remove_oldest, manage: [add], allow_live_sessions: false}}
---
{HEAD}pools: [{{name: c, {disks}}}]
""",
    )
    a, b, c = load([file]).pools
    assert (a.apply_to, a.on_tie, a.manage, a.allow_live_sessions) == (
        ApplyTo.IDLE,
        OnTie.REMOVE_NEWEST,
        frozenset(),
        True,
    )
    assert (b.apply_to, b.on_tie, b.manage, b.allow_live_sessions) == (
        ApplyTo.ALL,
        OnTie.REMOVE_OLDEST,
        frozenset({Action.ADD}),
        False,
    )
    assert (c.apply_to, c.on_tie, c.manage, c.allow_live_sessions) == (
        None,
        None,
        frozenset({Action.REMOVE}),
        False,
    )


def test_an_empty_pool_must_say_so_twice(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", HEAD + "pools: [{name: a, disks: [], allow_empty: true}]\n")
    (pool,) = load([file]).pools
    assert pool.disks == ()
    assert pool.allow_empty


def test_limits_of_several_documents_add_up_and_say_where_they_stand(tmp_path: Path) -> None:
    pools = "pools: [{name: a, disks: [{type: SSD, size: 10}]}]\n"
    first = write(tmp_path / "a.yaml", HEAD + "limits: {disks: 3, users: 0}\n" + pools)
    second = write(tmp_path / "b.yaml", HEAD + "limits: {disks: 3, gigabytes: 500}\n")
    assert load([first, second]).limits == Limits(
        disks=Limit(3, f"{first}:3:17"),
        gigabytes=Limit(500, f"{second}:3:31"),
        users=Limit(0, f"{first}:3:27"),
    )


def test_a_drift_policy_arrives_with_its_windows(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.yaml",
        HEAD
        + """\
pools: [{name: a, disks: [{type: SSD, size: 10}]}]
drift:
  correct: [remove, add]
  disks_per_day: 4
  windows:
    - {days: [sat, sun], start: 22:00, end: 06:00, timezone: Asia/Bangkok}
""",
    )
    (policy,) = load([file]).drift
    assert policy.target == TARGET
    assert policy.at == Position(file, 5, 3)
    assert policy.correct == {Action.REMOVE, Action.ADD}
    assert policy.disks_per_day == 4
    assert policy.windows == (Window(("sat", "sun"), "22:00", "06:00", "Asia/Bangkok", Position(file, 8, 7)),)


def test_pools_are_sorted_by_target_and_label_whatever_the_order_of_files(tmp_path: Path) -> None:
    disks = "disks: [{type: SSD, size: 10}]"
    other = HEAD.replace("ap-southeast-3", "ap-southeast-1")
    first = write(tmp_path / "1.yaml", HEAD + f"pools: [{{name: b, {disks}}}, {{id: a, {disks}}}]\n")
    second = write(tmp_path / "2.yaml", other + f"pools: [{{name: z, {disks}}}]\n")
    manifest = load([first, second])
    assert [pool.label for pool in manifest.pools] == ["z", "a", "b"]
    assert manifest == load([second, first])
    assert manifest.sources == tuple(
        (file, hashlib.sha256(Path(file).read_bytes()).hexdigest()) for file in (first, second)
    )


def test_the_same_pool_in_two_files_is_refused_naming_both_places(tmp_path: Path) -> None:
    text = HEAD + "pools:\n  - name: a\n    disks: [{type: SSD, size: 10}]\n"
    first, second = write(tmp_path / "1.yaml", text), write(tmp_path / "2.yaml", text)
    with pytest.raises(BadInput) as refusal:
        load([first, second])
    (fault,) = refusal.value.faults
    assert (fault.file, fault.line) == (second, 4)
    assert f"{first}:4:5" in fault.what


def test_the_same_name_in_two_projects_is_two_pools(tmp_path: Path) -> None:
    text = HEAD + "pools: [{name: a, disks: [{type: SSD, size: 10}]}]\n"
    first = write(tmp_path / "1.yaml", text)
    second = write(tmp_path / "2.yaml", text.replace(PROJECT, PROJECT[::-1]))
    assert len(load([first, second]).targets) == 2


def test_a_fault_in_one_pool_hides_none_between_others(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.yaml",
        HEAD
        + """\
pools:
  - {name: 7, disks: []}
  - {name: a, disks: [{type: SSD, size: 10, id: d1}]}
  - {name: a, disks: [{type: SSD, size: 15, id: d1}]}
""",
    )
    with pytest.raises(BadInput, match="5 faults in 1 file") as refusal:
        load([file])
    assert [(fault.line, fault.what.split(";")[0]) for fault in refusal.value.faults] == [
        (4, "name: 7 is not text"),
        (4, "disks: an empty list removes every data disk of the pool"),
        (6, "duplicate pool with name 'a'"),
        (6, "size: 15 is not a multiple of 10"),
        (6, "disk 'd1' is pinned twice"),
    ]


def test_nothing_given_is_refused() -> None:
    with pytest.raises(BadInput):
        load([])


def test_the_collector_is_left_as_it_was(tmp_path: Path) -> None:
    assert gc.isenabled()
    with pytest.raises(BadInput):
        load([tmp_path])
    assert gc.isenabled()


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_each_example_loads_alone_and_offers_completion(name: str) -> None:
    assert load([EXAMPLES / name]).pools
    assert (EXAMPLES / name).read_text().startswith("# yaml-language-server: $schema=")


def test_the_examples_load_together() -> None:
    manifest = load([EXAMPLES])
    assert {pool.name for pool in manifest.pools} >= {
        "finance-analysts",
        "design-studio",
        "call-centre",
        "contractors",
    }
    assert len(manifest.targets) == 1


def test_namesakes_that_ids_tell_apart_are_two_pools(tmp_path: Path) -> None:
    disks = "disks: [{type: SSD, size: 10}]"
    file = write(
        tmp_path / "a.yaml",
        f"{HEAD}pools:\n  - {{name: a, id: p1, {disks}}}\n  - {{name: a, id: p2, {disks}}}\n",
    )
    assert [(pool.name, pool.id) for pool in load([file]).pools] == [("a", "p1"), ("a", "p2")]


@pytest.mark.parametrize("other", ["name: a", "name: a, id: p1"])
def test_a_name_that_could_mean_either_pool_stands_twice(tmp_path: Path, other: str) -> None:
    disks = "disks: [{type: SSD, size: 10}]"
    file = write(
        tmp_path / "a.yaml", f"{HEAD}pools:\n  - {{name: a, id: p1, {disks}}}\n  - {{{other}, {disks}}}\n"
    )
    with pytest.raises(BadInput) as caught:
        load([file])
    assert "duplicate pool with name 'a'" in str(caught.value.faults[0])
