"""Our reader reads the manifests for live pools as what is live."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.manifest.emit import emit
from reconciler.manifest.load import check, load
from reconciler.model import ApplyTo, Disk, Manifest, Pool, Target
from tests.texts import texts

TARGET = Target("ap-southeast-3", "0123456789abcdef0123456789abcdef", "prod")


def read(text: str) -> Manifest:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "m.yaml"
        file.write_text(text, encoding="utf-8")
        return load([file])


def test_a_pool_is_written_as_a_person_would_write_it() -> None:
    disks = (Disk("d3", "SAS", 50), Disk("d1", "SSD", 100), Disk("d2", "SAS", 50))
    text = emit([Pool("p1", "analysts", disks), Pool("p2", "kiosk", ())], Target("eu-west-101", "0" * 32))
    assert text == (
        "# yaml-language-server: $schema=reconciler.schema.json\n"
        "version: 1\n"
        'target: {region: eu-west-101, project_id: "00000000000000000000000000000000"}\n'
        "defaults: {apply_to: idle}\n"
        "# The most that one run may destroy; these are the defaults, also without this line.\n"
        "# limits: {disks: 10, copies: 100, pools: 5}\n"
        "pools:\n"
        '  - name: analysts  # id "p1"\n'
        "    disks:\n"
        '      - {type: SAS, size: 50, count: 2}  # id "d2", "d3"\n'
        '      - {type: SSD, size: 100}  # id "d1"\n'
        '  - name: kiosk  # id "p2"\n'
        "    disks: []\n"
        "    allow_empty: true\n"
    )


def test_the_limits_that_are_written_as_a_comment_are_valid_and_the_defaults() -> None:
    text = emit([Pool("p1", "analysts", (Disk("d1", "SSD", 100),))], TARGET)
    said = read(text.replace("# limits:", "limits:"))
    assert [limit.value for _, limit in said.limits.items()] == [
        limit.value for _, limit in read(text).limits.items()
    ]
    assert said.limits != read(text).limits  # which say where they were set
    assert {pool.apply_to for pool in said.pools} == {ApplyTo.IDLE}


@given(name=texts(min_size=1, max_size=255))
@example("yes")
@example("1e3")
@example("#x")
@example("~")
@example("a: b")
@example('"')
@example("'\\")
@example("\x00\x1b[31m\u202e\u2028\x85\ufeff\uffff")
@example("x\n- name: evil")
@example("\U0001f600 Büro 中文")
@example("2024-01-01")
@example(" a ")
def test_any_name_comes_back_as_it_was(name: str) -> None:
    pool = Pool("p1", name, (Disk("d1", "SSD", 100),), doubts=(name,))
    (desired,) = read(emit([pool], TARGET)).pools
    assert desired.name == name
    assert desired.target == TARGET


@given(
    id=texts(max_size=300),
    name=st.text(st.characters(exclude_categories=()), max_size=300),
    kind=texts(max_size=300),
    size=st.integers(),
)
@example(id="p", name="\ud800", kind="SSD", size=10)
@example(id="p", name="", kind="SSD", size=10)
def test_whatever_the_service_says_the_text_is_a_manifest(id: str, name: str, kind: str, size: int) -> None:
    good = Pool("p0", "good", (Disk("d0", "SSD", 10),))
    odd = Pool(id, name, (Disk(id, kind, size),))
    assert check("m.yaml", emit([good, odd], TARGET, ambiguous={"good", name}).encode("utf-8")) == ()


@given(
    st.lists(
        st.tuples(st.sampled_from(["SAS", "SSD", "X-1"]), st.integers(1, 3276).map(lambda n: n * 10)),
        max_size=10,
    )
)
def test_the_disks_come_back_as_the_same_multiset(disks: list[tuple[str, int]]) -> None:
    pool = Pool("p1", "a", tuple(Disk(f"d{number}", *disk) for number, disk in enumerate(disks)))
    (desired,) = read(emit([pool], TARGET)).pools
    assert Counter((disk.type, disk.size) for disk in desired.disks) == Counter(disks)


def test_pools_that_share_a_name_are_declared_by_id_too() -> None:
    disks = (Disk("d", "SAS", 10),)
    pools = [Pool("p1", "twin", disks), Pool("p2", "twin", disks), Pool("p3", "single", disks)]
    text = emit(pools, TARGET, ambiguous={"single"}).replace("twin", "Twin", 1)
    assert [(pool.name, pool.id) for pool in read(text).pools] == [
        ("Twin", "p1"),
        ("single", "p3"),
        ("twin", "p2"),
    ]


@pytest.mark.parametrize(
    ("disks", "reason"),
    [
        ((Disk("d", "SSD", 15),), "15 is not a multiple of 10; write 10 or 20"),
        ((Disk("d", "", 10),), "type: '' is not accepted"),
        (tuple(Disk(f"d{n}", "SSD", 10 + 10 * n) for n in range(11)), "11 entries are too many"),
    ],
)
def test_a_pool_that_cannot_be_declared_is_left_out_with_the_reason(
    disks: tuple[Disk, ...], reason: str
) -> None:
    text = emit([Pool("p1", "odd", disks)], TARGET)
    assert '# "odd" (id "p1") cannot be declared' in text
    assert reason in text
    assert "pools: []" in text.splitlines()


def test_a_pool_of_whose_disks_nothing_is_known_is_never_declared_as_having_none() -> None:
    target = Target("ap-southeast-3", "0123456789abcdef0123456789abcdef")
    many = Pool("p", "many", (), doubts=("1500 disks, and no pool can have more than 10",))
    text = emit([many], target, set())
    assert "allow_empty" not in text
    assert "1500 disks, and no pool can have more than 10" in text
    assert "pools: []" in text
