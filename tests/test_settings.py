from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.errors import BadInput
from reconciler.settings import (
    Settings,
    backup_endpoint,
    default_endpoint,
    owner_variable,
    owners_webhooks,
    read_settings,
    secrets_of,
    webhooks,
)

HIDDEN = "swordfish-4711"


def fault(refusal: pytest.ExceptionInfo[BadInput]) -> str:
    (only,) = refusal.value.faults
    return str(only)


def test_settings_do_not_show_the_password_of_the_journal() -> None:
    settings = read_settings({"RECONCILER_JOURNAL": f"postgresql://u:{HIDDEN}@db/x"})
    assert settings.journal is not None
    assert HIDDEN not in repr(settings)


def test_nothing_set_gives_the_defaults() -> None:
    assert read_settings({}) == Settings(concurrency=12)


def test_flags_win_over_the_environment() -> None:
    environ = {
        "RECONCILER_ENDPOINT": "https://a",
        "RECONCILER_JOURNAL": "sqlite:///a",
        "RECONCILER_CONCURRENCY": "3",
    }
    settings = read_settings(environ, endpoint="https://b", journal="sqlite:///b")
    assert (settings.endpoint, settings.journal, settings.concurrency) == ("https://b", "sqlite:///b", 3)


@pytest.mark.parametrize(("text", "days"), [("30d", 30), (" 400d ", 400), ("99999d", 99_999)])
def test_how_long_the_journal_keeps_is_a_number_of_days(text: str, days: int) -> None:
    assert read_settings({"RECONCILER_KEEP": text}).keep == timedelta(days=days)


@pytest.mark.parametrize("text", ["29d", "0d", "400", "1y", "-30d", "030d", "\u0664\u0660d", "100000d"])
def test_what_is_no_number_of_days_or_too_few_is_refused(text: str) -> None:
    with pytest.raises(BadInput) as refusal:
        read_settings({"RECONCILER_KEEP": text})
    assert "RECONCILER_KEEP must be a number of days from 30d on, such as 400d" in fault(refusal)


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


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, "https://cbr.ap-southeast-3.myhuaweicloud.com"),
        (
            {"RECONCILER_ENDPOINT": "https://workspace.ap-southeast-3.example.com:8443"},
            "https://cbr.ap-southeast-3.example.com:8443",
        ),
        (
            {"RECONCILER_ENDPOINT": "https://gateway.example.com"},
            "https://cbr.ap-southeast-3.myhuaweicloud.com",
        ),
        ({"RECONCILER_ENDPOINT": "http://127.0.0.1:8080"}, "http://127.0.0.1:8080"),
        (
            {
                "RECONCILER_CBR_ENDPOINT": "https://backup.example.com/",
                "RECONCILER_ENDPOINT": "http://[::1]:1",
            },
            "https://backup.example.com",
        ),
    ],
    ids=["region", "domain of the service", "gateway", "this machine", "as set"],
)
def test_the_backup_service_is_beside_the_service_unless_it_is_set(
    environ: dict[str, str], address: str
) -> None:
    assert backup_endpoint(read_settings(environ), "ap-southeast-3") == address


def test_a_bad_address_of_the_backup_service_is_refused_by_its_name() -> None:
    with pytest.raises(BadInput) as refusal:
        read_settings({"RECONCILER_CBR_ENDPOINT": f"https://u:{HIDDEN}@backup.example.com"})
    assert "RECONCILER_CBR_ENDPOINT must not contain" in fault(refusal)
    assert HIDDEN not in fault(refusal)


@pytest.mark.parametrize("region", ["", "evil.example/", "a@b", "A", "a--b", "-a"])
def test_a_region_cannot_choose_another_host(region: str) -> None:
    with pytest.raises(BadInput):
        default_endpoint("workspace", region)


def test_an_endpoint_of_one_region_outranks_the_general_one_and_a_flag_outranks_both() -> None:
    environ = {
        "RECONCILER_ENDPOINT": "https://general.example",
        "RECONCILER_ENDPOINT_EU_WEST_101": "https://ours.example/",
        "HUAWEICLOUD_SDK_REGION_WORKSPACE_EU_WEST_101": "https://the-sdks.example",
        "HUAWEICLOUD_SDK_REGION_WORKSPACE_CN_NORTH_4": "https://north.example, https://other.example",
    }
    found = read_settings(environ)
    assert found.in_region("eu-west-101").endpoint == "https://ours.example"
    assert found.in_region("cn-north-4").endpoint == "https://north.example"
    assert found.in_region("ap-southeast-3").endpoint == "https://general.example"
    flagged = read_settings(environ, endpoint="https://flag.example")
    assert flagged.in_region("eu-west-101").endpoint == "https://flag.example"


# --- settings that are secrets ------------------------------------------------------------------


def test_each_owner_has_a_variable_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "hook"
    file.write_text("https://b.example.com/2 https://c.example.com/3\n", encoding="utf-8")
    environ = {
        owner_variable("finance"): "https://a.example.com/1",
        owner_variable("team-4-east"): f"@{file}",
        owner_variable("nobody"): "",
        "RECONCILER_WEBHOOK": "https://all.example.com",
    }
    assert set(environ) >= {"RECONCILER_WEBHOOK_FINANCE", "RECONCILER_WEBHOOK_TEAM_4_EAST"}
    assert owners_webhooks(environ) == {
        "finance": ("https://a.example.com/1",),
        "team-4-east": ("https://b.example.com/2", "https://c.example.com/3"),
    }


@pytest.mark.parametrize("name", ["finance", "A__B", "_A", "A_", "", "4"])
def test_a_variable_that_no_owner_can_have_is_refused(name: str) -> None:
    with pytest.raises(BadInput) as refused:
        owners_webhooks({f"RECONCILER_WEBHOOK_{name}": "https://a.example.com/T0PSECRET"})
    [fault] = refused.value.faults
    assert "is the variable of no owner" in fault.what
    assert "T0PSECRET" not in fault.what


def test_the_address_of_an_owner_is_a_secret() -> None:
    assert "/T0PSECRET" in set(secrets_of({"RECONCILER_WEBHOOK_FINANCE": "https://a.example.com/T0PSECRET"}))


def test_webhooks_come_from_flags_or_the_environment_several_at_a_time_or_from_files(tmp_path: Path) -> None:
    file = tmp_path / "hooks"
    file.write_text("https://c.example.com/3\nslack://d\n")
    environ = {"RECONCILER_WEBHOOK": " https://a.example.com/1\n  https://b.example.com/2 "}
    assert webhooks(environ, []) == ("https://a.example.com/1", "https://b.example.com/2")
    assert webhooks({"RECONCILER_WEBHOOK": f"@{file}"}, []) == ("https://c.example.com/3", "slack://d")
    assert webhooks(environ, [f"@{file}", "https://e"]) == (
        "https://c.example.com/3",
        "slack://d",
        "https://e",
    )
    assert webhooks({}, []) == ()


def test_the_journal_can_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(f"postgresql://u:{HIDDEN}@db/x\n")
    for settings in (
        read_settings({"RECONCILER_JOURNAL": f"@{file}"}),
        read_settings({}, journal=f"@{file}"),
    ):
        assert settings.journal == f"postgresql://u:{HIDDEN}@db/x"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "No such file"),
        (b"", "empty"),
        (b"\xff\xfe" + HIDDEN.encode(), "not a text"),
        (HIDDEN.encode() * 10_000, "more than"),
    ],
)
def test_a_file_that_holds_no_setting_is_refused_by_its_name_alone(
    tmp_path: Path, data: bytes | None, why: str
) -> None:
    file = tmp_path / "url"
    if data is not None:
        file.write_bytes(data)
    for act in (
        lambda: read_settings({"RECONCILER_JOURNAL": f"@{file}"}),
        lambda: webhooks({"RECONCILER_WEBHOOK": f"@{file}"}, []),
        lambda: webhooks({}, [f"@{file}"]),
    ):
        with pytest.raises(BadInput) as refusal:
            act()
        assert str(file) in fault(refusal)
        assert why in fault(refusal)
        assert HIDDEN not in fault(refusal)


# --- what can be sent, and what is secret -------------------------------------------------------


@pytest.mark.parametrize("name", ["HW_REGION_NAME", "OS_REGION_NAME", "HW_PROJECT_ID", "OS_PROJECT_ID"])
def test_a_setting_that_no_header_can_hold_is_refused_without_its_value(name: str) -> None:
    with pytest.raises(BadInput) as refusal:
        read_settings({name: f"{HIDDEN}\n{HIDDEN}"})
    assert name in fault(refusal)
    assert HIDDEN not in fault(refusal)


def test_what_is_secret_in_an_environment_is_found_by_name_and_in_addresses() -> None:
    environ = {
        "HW_SECRET_KEY": "one-one",
        "HW_ACCESS_KEY": "public",
        "OS_AUTH_TOKEN": " two-two\n",
        "PGPASSWORD": "three-three",
        "AWS_SECRET_ACCESS_KEY": "four-four",
        "TOKEN_FILE": "/run/token",
        "PRIVATE_KEY": "/home/me/.ssh/id",
        "CACHE_KEY": "finance-analysts",
        "HTTPS_PROXY": "http://me:five%2Ffive@proxy:1",
        "PATH": "/usr/bin",
    }
    found = set(secrets_of(environ))
    assert {
        "one-one",
        "two-two",
        "three-three",
        "four-four",
        "five%2Ffive",
        "five/five",
        "me:five/five",
    } <= found
    assert not found & {"public", "finance-analysts", "/run/token", "/home/me/.ssh/id", "/usr/bin"}
