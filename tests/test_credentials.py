from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from pathlib import Path

import msgspec
import pytest

from reconciler.credentials import AccessKeys, Metadata, Password, Secret, Token
from reconciler.errors import BadInput
from reconciler.identity import find_identity

HIDDEN = "swordfish-4711"
SDK = {"HUAWEICLOUD_SDK_AK": "SDKAK", "HUAWEICLOUD_SDK_SK": HIDDEN}
HW = {"HW_ACCESS_KEY": "HWAK", "HW_SECRET_KEY": HIDDEN}


def write(home: Path, text: str) -> Path:
    file = home / ".huaweicloud" / "credentials"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return file


def fault(refusal: pytest.ExceptionInfo[BadInput]) -> str:
    (only,) = refusal.value.faults
    return str(only)


# --- secrets ------------------------------------------------------------------------------------


def test_a_secret_shows_itself_in_no_output(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(HIDDEN)
    keys = AccessKeys("AK", secret, Secret(HIDDEN))
    logging.getLogger("test").error("%s %r %s", secret, secret, keys)
    shown = [
        str(secret),
        repr(secret),
        f"{secret:>30}",
        f"{secret!s}",
        repr(keys),
        caplog.text,
        str(dir(secret)),
    ]
    assert all(HIDDEN not in each for each in shown)
    assert secret.reveal() == HIDDEN


def test_a_secret_cannot_leave_by_copying_or_encoding() -> None:
    secret = Secret(HIDDEN)
    for leave in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps, msgspec.json.encode, vars):
        with pytest.raises(TypeError):
            leave(secret)
    for leave in (copy.deepcopy, pickle.dumps, msgspec.to_builtins, msgspec.json.encode):
        with pytest.raises(TypeError):
            leave(AccessKeys("AK", secret))


def test_secrets_compare_by_content() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


# --- credentials --------------------------------------------------------------------------------


def test_the_sdk_names_win_over_the_terraform_names(tmp_path: Path) -> None:
    write(tmp_path, "[basic]\nak = FILE\nsk = x\n")
    identity = find_identity(SDK | HW | {"HUAWEICLOUD_SDK_PROJECT_ID": "p"}, tmp_path)
    assert identity.credentials == AccessKeys("SDKAK", Secret(HIDDEN))
    assert (identity.project_id, identity.source) == ("p", "HUAWEICLOUD_SDK_AK")


def test_temporary_keys_keep_their_token(tmp_path: Path) -> None:
    identity = find_identity(SDK | {"HUAWEICLOUD_SDK_SECURITY_TOKEN": "t"}, tmp_path)
    assert identity.credentials == AccessKeys("SDKAK", Secret(HIDDEN), Secret("t"))


def test_terraform_names_are_taken_in_the_order_of_terraform(tmp_path: Path) -> None:
    login = {"HW_USER_NAME": "u", "HW_USER_PASSWORD": HIDDEN, "HW_DOMAIN_NAME": "d"}
    token = {"HW_AUTH_TOKEN": HIDDEN}
    assert find_identity(login | HW | token, tmp_path).credentials == Token(Secret(HIDDEN))
    assert find_identity(login | HW, tmp_path).credentials == AccessKeys("HWAK", Secret(HIDDEN))
    assert find_identity(login, tmp_path).credentials == Password("u", "d", Secret(HIDDEN))


@pytest.mark.parametrize(
    "environ",
    [
        {"OS_ACCESS_KEY": "AK", "OS_SECRET_KEY": "SK"},
        {"HW_ACCESS_KEY": "AK", "OS_SECRET_KEY": "SK"},
    ],
)
def test_openstack_names_stand_in_for_the_terraform_names(environ: dict[str, str], tmp_path: Path) -> None:
    assert find_identity(environ, tmp_path).credentials == AccessKeys("AK", Secret("SK"))


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({"HUAWEICLOUD_SDK_AK": HIDDEN}, "HUAWEICLOUD_SDK_SK is not set"),
        ({"HUAWEICLOUD_SDK_SK": HIDDEN}, "HUAWEICLOUD_SDK_AK is not set"),
        (
            {"HUAWEICLOUD_SDK_SECURITY_TOKEN": HIDDEN},
            "HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK are not set",
        ),
        ({"HW_ACCESS_KEY": HIDDEN}, "HW_SECRET_KEY is not set"),
        ({"HW_USER_NAME": HIDDEN}, "HW_USER_PASSWORD and HW_DOMAIN_NAME are not set"),
    ],
)
def test_half_given_credentials_are_an_error_and_no_fall_through(
    environ: dict[str, str], missing: str, tmp_path: Path
) -> None:
    write(tmp_path, "[basic]\nak = FILE\nsk = x\n")
    with pytest.raises(BadInput) as refusal:
        find_identity(environ, tmp_path)
    assert missing in fault(refusal)
    assert "must be set together" in fault(refusal)
    assert HIDDEN not in fault(refusal)


def test_the_file_serves_when_the_environment_is_silent(tmp_path: Path) -> None:
    file = write(tmp_path, "# mine\n[basic]\nak = FILE\nsk = 100%=x\nproject_id = p\n\n[prod]\nak=P\nsk=q\n")
    identity = find_identity({}, tmp_path)
    assert identity.credentials == AccessKeys("FILE", Secret("100%=x"))
    assert (identity.project_id, identity.source) == ("p", f"{file} [basic]")


def test_the_project_of_the_environment_stands_in_for_that_of_the_file(tmp_path: Path) -> None:
    write(tmp_path, "[basic]\nak = FILE\nsk = x\n")
    assert find_identity({"HW_PROJECT_ID": "p"}, tmp_path).project_id == "p"


def test_a_profile_means_its_section_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, "[basic]\nak = FILE\nsk = x\n[prod]\nak=P\nsk=q\nsecurity_token=t\n")
    identity = find_identity(SDK, tmp_path, profile="prod")
    assert identity.credentials == AccessKeys("P", Secret("q"), Secret("t"))
    with pytest.raises(BadInput, match="file is invalid"):
        find_identity(SDK, tmp_path, profile="staging")


def test_a_file_can_be_named_and_must_then_exist(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("[basic]\nak = OTHER\nsk = x\n")
    identity = find_identity({"HUAWEICLOUD_SDK_CREDENTIALS_FILE": str(other)}, tmp_path)
    assert identity.credentials == AccessKeys("OTHER", Secret("x"))
    with pytest.raises(BadInput) as refusal:
        find_identity({"HUAWEICLOUD_SDK_CREDENTIALS_FILE": str(tmp_path / "none")}, tmp_path)
    assert "does not exist" in fault(refusal)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"[basic]\nak = {HIDDEN}\n", ":1:1: [basic] needs both ak and sk, but sk is not set"),
        (f"{HIDDEN} = x\n", ":1:1: expected [section]"),
        (f"[basic]\nak = a\n{HIDDEN}\n", ":3:1: expected [section]"),
        ("[basic]\nak = a\nak = b\n", ":3:1: duplicate name in this section"),
        ("[basic]\nak = a\nsk = b\n[basic]\n", ":4:1: duplicate section; it already starts in line 1"),
    ],
)
def test_faults_of_the_file_say_where_and_repeat_nothing(text: str, place: str, tmp_path: Path) -> None:
    file = write(tmp_path, text)
    with pytest.raises(BadInput) as refusal:
        find_identity({}, tmp_path)
    assert fault(refusal).startswith(f"{file}{place}")
    assert HIDDEN not in fault(refusal)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput) as refusal:
        find_identity({}, tmp_path)
    assert "cannot be read" in fault(refusal)


def test_every_line_of_the_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, f"[basic]\nak = a\n{HIDDEN}\nsk = b\n= {HIDDEN}\n[prod] {HIDDEN}\n")
    with pytest.raises(BadInput) as refusal:
        find_identity({}, tmp_path)
    assert [(each.file, each.line) for each in refusal.value.faults] == [
        (str(file), 3),
        (str(file), 5),
        (str(file), 6),
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"{HIDDEN} = x\n",
        f"[basic]\nak = a\n{HIDDEN}\n",
        f"[basic]\nsk = {HIDDEN}\nsk = {HIDDEN}\n",
        f"[{HIDDEN}]\n[{HIDDEN}]\n",
    ],
)
def test_not_even_a_traceback_quotes_the_file(text: str, tmp_path: Path) -> None:
    write(tmp_path, text)
    with pytest.raises(BadInput) as refusal:
        find_identity({}, tmp_path)
    assert HIDDEN not in "".join(traceback.format_exception(refusal.value))
    assert refusal.value.__context__ is None


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff[basic]\nak = A\nsk = %(ak)s: #;\n",
        "  [ basic ]\n\tak=A\n\n    sk  =  %(ak)s: #;  \n",
        "[DEFAULT]\nsk = other\nproject_id = p\n[basic]\r\nak = A\r\n; note\r\nsk = %(ak)s: #;\r\nAK = B\r\n",
    ],
)
def test_keys_are_taken_to_the_letter(text: str, tmp_path: Path) -> None:
    """No interpolation, no inline comments, no continued lines, no defaults, no other case of a name."""
    write(tmp_path, text)
    identity = find_identity({}, tmp_path)
    assert identity.credentials == AccessKeys("A", Secret("%(ak)s: #;"))
    assert identity.project_id == ""


@pytest.mark.parametrize("text", ["", "[prod]\nak=P\nsk=q\n"])
def test_without_any_source_the_server_is_asked_for_its_agency(text: str, tmp_path: Path) -> None:
    write(tmp_path, text)
    assert find_identity({}, tmp_path).credentials == Metadata()
    assert find_identity({}, tmp_path / "nowhere").credentials == Metadata()


# --- what can be sent ---------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["swordfish\n4711", "sword\rfish", "sword\x00fish", "swordfish\u202e4711"])
@pytest.mark.parametrize(
    ("environ", "name"),
    [
        (SDK, "HUAWEICLOUD_SDK_AK"),
        (SDK, "HUAWEICLOUD_SDK_SK"),
        (SDK, "HUAWEICLOUD_SDK_SECURITY_TOKEN"),
        (HW, "HW_ACCESS_KEY"),
        (HW, "HW_SECRET_KEY"),
        (HW, "HW_SECURITY_TOKEN"),
        ({}, "HW_AUTH_TOKEN"),
        ({"HW_USER_NAME": "u", "HW_DOMAIN_NAME": "d"}, "HW_USER_PASSWORD"),
    ],
)
def test_a_credential_that_no_header_can_hold_is_refused_without_its_value(
    environ: dict[str, str], name: str, bad: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput) as refusal:
        find_identity(environ | {name: bad}, tmp_path)
    shown = f"{refusal.value.message} {refusal.value.hint}"
    assert "cannot be sent" in shown
    assert "fish" not in shown
    assert "4711" not in shown


def test_a_password_may_have_letters_of_any_language(tmp_path: Path) -> None:
    login = {"HW_USER_NAME": "jürgen", "HW_USER_PASSWORD": "pässwörd", "HW_DOMAIN_NAME": "d"}
    assert isinstance(find_identity(login, tmp_path).credentials, Password)


def test_a_key_of_the_file_that_no_header_can_hold_is_refused_with_its_place(tmp_path: Path) -> None:
    file = write(tmp_path, "[basic]\nak = A\nsk = sword\x07fish\n")
    with pytest.raises(BadInput) as refusal:
        find_identity({}, tmp_path)
    assert f"the secret key from {file} [basic]" in refusal.value.message
    assert "fish" not in refusal.value.message
