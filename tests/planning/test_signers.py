"""A list of signers in which one person could count as two, or nobody knows as whom, is refused as a whole."""

from __future__ import annotations

import base64

import pytest

from reconciler.errors import BadInput, ExitCode
from reconciler.planning.signers import parse, signing_key


def key(number: int, kind: str = "ssh-ed25519") -> str:
    """A key as it stands in a file: its type, and bytes that hold the type again."""
    blob = len(kind).to_bytes(4) + kind.encode() + bytes([0, 0, 0, 32]) + bytes([number]) * 32
    return f"{kind} {base64.b64encode(blob).decode()}"


def faults(text: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        parse(text, "allowed_signers")
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    return [str(each) for each in caught.value.faults]


def test_each_key_belongs_to_its_person() -> None:
    text = f"""# who may approve
alice@example.org {key(1)} a comment
alice@example.org namespaces="git,reconciler-approval" {key(2, "sk-ssh-ed25519@openssh.com")}

bob valid-before="20300101",namespaces="reconciler-approval" {key(3)}
alice@example.org {key(1)}
"""
    assert sorted(parse(text, "x").values()) == ["alice@example.org", "alice@example.org", "bob"]


@pytest.mark.parametrize(
    "name", ["*", "*@example.org", "al?ce", "!bob", "alice,bob", '"alice"', "-I", "älice"]
)
def test_anything_but_one_plain_name_is_refused(name: str) -> None:
    [fault] = faults(f"{name} {key(1)}\n")
    assert fault.startswith("allowed_signers:1:1: the name is a pattern, a list, or holds other characters")


def test_one_key_under_two_names_is_refused_whatever_stands_around_it() -> None:
    [fault] = faults(f'alice {key(1)}\nbob {key(2)}\nrobert namespaces="x" {key(1)} again\n')
    assert fault == "allowed_signers:3:1: this key already belongs to alice; a person has one name"


def test_an_authority_is_refused() -> None:
    [fault] = faults(f"alice cert-authority {key(1)}\n")
    assert "an authority vouches for names that stand nowhere here" in fault


@pytest.mark.parametrize(
    "line",
    [
        "alice",
        "alice ssh-ed25519",
        "alice ssh-ed25519 !!!!",
        f"alice ssh-rsa {key(1).split()[1]}",
        f"alice {key(1)[:-8]} ssh-rsa"[:30],
        f"alice a b {key(1)}",
    ],
)
def test_a_line_without_a_key_that_can_be_read_is_refused(line: str) -> None:
    [fault] = faults(f"{line}\n")
    assert "it has no key that can be read" in fault


@pytest.mark.parametrize("text", ["", "\n\n", "# nobody\n"])
def test_an_empty_list_is_refused(text: str) -> None:
    [fault] = faults(text)
    assert "it lists nobody" in fault


def test_every_bad_line_is_named_at_once() -> None:
    assert [each.split(":")[1] for each in faults(f"* {key(1)}\nbob {key(2)}\nx\n")] == ["1", "3"]


@pytest.mark.parametrize("text", ["", "no base64!", base64.b64encode(b"something else").decode()])
def test_what_is_no_signature_has_no_key(text: str) -> None:
    assert signing_key(text) is None
