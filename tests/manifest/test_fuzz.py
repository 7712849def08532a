"""Any bytes are a manifest or are refused with positions."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import BadInput
from reconciler.manifest.load import check, load
from reconciler.manifest.schema import DocumentEntry
from tests.texts import texts

GOOD = (Path(__file__).parents[2] / "manifests" / "finance-analysts.yaml").read_bytes()
KEYS = sorted(
    {key for part in DocumentEntry.model_json_schema()["$defs"].values() for key in part["properties"]}
)

words = st.one_of(
    st.sampled_from([*KEYS, "version", "target", "pools", "drift", "<<", "ak"]), texts(max_size=5)
)
scalars = st.one_of(
    st.integers(-5, 10**25).map(str),
    words.map(repr),
    st.sampled_from(["yes", "~", "true", "1.5", "&a x", "*a", "!t x", "SSD", "10", "[]", "{}", ""]),
)
flow = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
        st.lists(st.tuples(words.map(repr), inner), max_size=5).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=15,
)


def judge(data: bytes) -> None:
    for fault in check("m.yaml", data):
        assert fault.what
        assert fault.what.isprintable()
        lines = data.decode("utf-8", "replace").count("\n") + data.count(b"\r") + 1
        assert 0 <= fault.line <= lines + 1


@given(st.binary(max_size=400))
def test_random_bytes_never_crash(data: bytes) -> None:
    judge(data)


@given(texts(max_size=200))
def test_random_text_never_crashes(text: str) -> None:
    judge(text.encode("utf-8"))


@given(st.text("[]{}:,-?&*!|>'\"%@` \n\t#ab1~", max_size=120))
def test_random_punctuation_never_crashes(text: str) -> None:
    judge(text.encode("utf-8"))


@given(flow)
@settings(max_examples=300)
def test_random_structures_of_known_keys_never_crash(text: str) -> None:
    judge(text.encode("utf-8"))
    judge(b"version: 1\npools: [" + text.encode("utf-8") + b"]\n")
    judge(
        b"version: 1\npools: [{name: a, disks: ["
        + text.encode("utf-8")
        + b"]}]\ndrift: "
        + text.encode("utf-8")
    )


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 40), st.binary(max_size=3))
def test_a_damaged_example_is_a_manifest_or_a_refusal(start: int, length: int, patch: bytes) -> None:
    data = GOOD[:start] + patch + GOOD[start + length :]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "m.yaml"
        file.write_bytes(data)
        with suppress(BadInput):
            assert load([file]).pools
