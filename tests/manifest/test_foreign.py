"""Which YAML files are recognised as made for something else."""

from __future__ import annotations

import pytest

from reconciler.manifest.foreign import is_foreign


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n",
        "# a comment\n---\nkind: List\nitems: []\n",
        '"apiVersion": v1\n',
        "apiVersion: v2\nname: chart\nversion: 0.1.0\n",
        "%YAML 1.1\n---\nkind: A\n---\n\n---\nkind: B\nspec: &a {x: *a}\n...\n",
        "kind: A\r\nspec:\r\n  target: indented\r\n",
        "\ufeffkind: A\n",
        "kind: A\nitems:\n- a: 1\n- b: [\n]\n",
    ],
)
def test_kind_or_api_version_at_the_root_without_a_key_of_ours(text: str) -> None:
    assert is_foreign(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment\n",
        "version: 1\ntarget: {}\npools: []\n",
        "kind: A\npools: []\n",
        "limits: {disks: 1}\nkind: A\n",
        "kind: A\n---\nversion: 1\ntarget: {}\n",
        "kind: A\n---\n{version: 1, pools: []}\n",
        "kind: A\n--- {version: 1, pools: []}\n",
        "{version: 1,\nkind: A}\n",
        "pool:\n  kind: A\n",
        "services: {}\n",
        "- kind: A\n",
        'kind: A\n"pools": []\n',
        "kinds: A\n",
        "kind: A\n? target\n: {}\n",
        'kind: A\n"\\x74arget": {}\n',
        "kind: A\n{{ template }}\n",
        " kind: A\n",
    ],
)
def test_in_doubt_it_is_a_manifest_with_its_faults(text: str) -> None:
    assert not is_foreign(text.encode())


def test_what_is_not_utf_8_is_a_manifest_with_its_faults() -> None:
    assert not is_foreign("kind: A\n".encode("utf-16"))
