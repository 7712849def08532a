from __future__ import annotations

import copy
import json
import logging
import pickle
from dataclasses import asdict
from pathlib import Path

import msgspec
import pytest

from reconciler.errors import BadInput
from reconciler.settings import (
    AccessKeys,
    Metadata,
    Password,
    Secret,
    Settings,
    Token,
    default_endpoint,
    find_identity,
    read_settings,
)

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
    with pytest.raises(TypeError):
        asdict(AccessKeys("AK", secret))


def test_secrets_compare_by_content() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_settings_do_not_show_the_password_of_the_journal() -> None:
    settings = read_settings({"RECONCILER_JOURNAL": f"postgresql://u:{HIDDEN}@db/x"})
    assert settings.journal is not None
    assert HIDDEN not in repr(settings)


# --- settings -----------------------------------------------------------------------------------


def test_nothing_set_gives_the_defaults() -> None:
    assert read_settings({}) == Settings(concurrency=8)


def test_flags_win_over_the_environment() -> None:
    environ = {
        "RECONCILER_ENDPOINT": "https://a",
        "RECONCILER_JOURNAL": "sqlite:///a",
        "RECONCILER_CONCURRENCY": "3",
    }
    settings = read_settings(environ, endpoint="https://b", journal="sqlite:///b", concurrency=4)
    assert (settings.endpoint, settings.journal, settings.concurrency) == ("https://b", "sqlite:///b", 4)


def test_region_and_project_are_exposed_as_configured() -> None:
    settings = read_settings({"OS_REGION_NAME": "r-1", "HW_PROJECT_ID": "p", "OS_PROJECT_ID": "q"})
    assert (settings.region, settings.project_id) == ("r-1", "p")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("RECONCILER_IAM_ENDPOINT", "https://iam.example"),
        ("HUAWEICLOUD_SDK_IAM_ENDPOINT", "https://iam.example/"),
        ("HW_AUTH_URL", "https://iam.example/v3"),
        ("HW_AUTH_URL", "https://iam.example/v3/"),
    ],
)
def test_the_iam_endpoint_is_read_under_the_names_people_have(name: str, text: str) -> None:
    assert read_settings({name: text}).iam_endpoint == "https://iam.example"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://workspace.example", "https://workspace.example"),
        ("https://workspace.example:8443/", "https://workspace.example:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.9:1", "http://127.0.0.9:1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_endpoint_is_reduced_to_its_origin(text: str, kept: str) -> None:
    assert read_settings({"RECONCILER_ENDPOINT": text}).endpoint == kept


@pytest.mark.parametrize(
    "text",
    [
        "http://workspace.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "https://user:swordfish-4711@workspace.example",
        "https://@workspace.example",
        "https://workspace.example/v2",
        "https://workspace.example/?a=1",
        "https://workspace.example/#a",
        "https://workspace.example:99999",
        "https://",
        "https://a b",
        "workspace.example",
        "ftp://workspace.example",
        "https://[::1",
    ],
)
def test_an_endpoint_that_could_leak_or_mislead_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(BadInput) as refusal:
        read_settings({"RECONCILER_ENDPOINT": text})
    assert fault(refusal).startswith("<environment>: RECONCILER_ENDPOINT ")
    assert HIDDEN not in fault(refusal)


def test_a_bad_flag_is_blamed_on_the_flag() -> None:
    with pytest.raises(BadInput) as refusal:
        read_settings({}, endpoint="workspace")
    assert fault(refusal).startswith("<flags>: --endpoint ")


@pytest.mark.parametrize("text", ["0", "65", "-1", "8.0", "eight", "٨", "1" * 5000])
def test_concurrency_is_a_whole_number_in_bounds(text: str) -> None:
    with pytest.raises(BadInput) as refusal:
        read_settings({"RECONCILER_CONCURRENCY": text})
    assert "whole number from 1 to 64" in fault(refusal)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(BadInput) as refusal:
        read_settings(
            {"RECONCILER_ENDPOINT": "x", "RECONCILER_IAM_ENDPOINT": "y", "RECONCILER_CONCURRENCY": "z"}
        )
    assert len(refusal.value.faults) == 3


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("ap-southeast-3", "https://workspace.ap-southeast-3.myhuaweicloud.com"),
        ("eu-west-101", "https://workspace.eu-west-101.myhuaweicloud.eu"),
    ],
)
def test_the_default_endpoint_follows_the_region(region: str, host: str) -> None:
    assert default_endpoint("workspace", region) == host


@pytest.mark.parametrize("region", ["", "evil.example/", "a@b", "A", "a--b", "-a"])
def test_a_region_cannot_choose_another_host(region: str) -> None:
    with pytest.raises(BadInput):
        default_endpoint("workspace", region)


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
    assert "belong together" in fault(refusal)
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
    with pytest.raises(BadInput, match="not usable"):
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
        (f"[basic]\nak = {HIDDEN}\n", ":1:1: ak and sk of [basic] belong together, and sk is not set"),
        (f"{HIDDEN} = x\n", ":1:1: expected [section]"),
        (f"[basic]\nak = a\n{HIDDEN}\n", ":3:1: expected [section]"),
        ("[basic]\nak = a\nak = b\n", ":3:1: the name stands twice"),
        ("[basic]\nak = a\nsk = b\n[basic]\n", ":4:1: the section was begun before, in line 1"),
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


@pytest.mark.parametrize("text", ["", "[prod]\nak=P\nsk=q\n"])
def test_without_any_source_the_server_is_asked_for_its_agency(text: str, tmp_path: Path) -> None:
    write(tmp_path, text)
    assert find_identity({}, tmp_path).credentials == Metadata()
    assert find_identity({}, tmp_path / "nowhere").credentials == Metadata()


def test_an_endpoint_of_one_region_outranks_the_general_one_and_a_flag_outranks_both() -> None:
    environ = {
        "RECONCILER_ENDPOINT": "https://general.example",
        "RECONCILER_ENDPOINT_EU_WEST_101": "https://ours.example/",
        "HUAWEICLOUD_SDK_REGION_WORKSPACE_EU_WEST_101": "https://the-sdks.example",
        "HUAWEICLOUD_SDK_REGION_WORKSPACE_CN_NORTH_4": "https://north.example",
    }
    found = read_settings(environ)
    assert found.in_region("eu-west-101").endpoint == "https://ours.example"
    assert found.in_region("cn-north-4").endpoint == "https://north.example"
    assert found.in_region("ap-southeast-3").endpoint == "https://general.example"
    flagged = read_settings(environ, endpoint="https://flag.example")
    assert flagged.in_region("eu-west-101").endpoint == "https://flag.example"
