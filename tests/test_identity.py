"""As whom a run acts: which setting wins, and which are refused instead of being ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.credentials import AccessKeys, Agency, Container, Metadata, Oidc, Secret
from reconciler.errors import BadInput
from reconciler.identity import find_identity, whom

HIDDEN = "swordfish-4711"
HW = {"HW_ACCESS_KEY": "HWAKHWAKHWAKHWAKHWAK", "HW_SECRET_KEY": HIDDEN}
OIDC = {
    "HUAWEICLOUD_OIDC_PROVIDER_URN": "iam::acme:oidc-provider:github",
    "HUAWEICLOUD_OIDC_AGENCY_URN": "iam::acme:agency:planner",
    "HUAWEICLOUD_OIDC_TOKEN_FILE": "/run/token",
}
AGENCY = {"HW_ASSUME_ROLE_AGENCY_NAME": "operator", "HW_ASSUME_ROLE_DOMAIN_NAME": "acme"}
CONTAINER = {
    "HC_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:8080/v1/credentials",
    "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/run/token",
}


def faults(environ: dict[str, str], home: Path, profile: str = "") -> str:
    """What is said about a refused environment, which never quotes a secret."""
    with pytest.raises(BadInput) as refusal:
        find_identity(environ, home, profile)
    said = "\n".join(map(str, refusal.value.faults))
    assert HIDDEN not in said + refusal.value.message + refusal.value.hint
    return said


def home_with_keys(tmp_path: Path) -> Path:
    file = tmp_path / ".huaweicloud" / "credentials"
    file.parent.mkdir()
    file.write_text("[basic]\nak = FILE\nsk = x\n[other]\nak = O\nsk = y\nidp_id = z\n")
    return tmp_path


EVERY_NAME = (
    *(
        "HUAWEICLOUD_SDK_AK",
        "HUAWEICLOUD_SDK_SK",
        "HUAWEICLOUD_SDK_SECURITY_TOKEN",
        "HUAWEICLOUD_SDK_PROJECT_ID",
    ),
    *(
        "HUAWEICLOUD_SDK_CREDENTIALS_FILE",
        "HW_ACCESS_KEY",
        "HW_SECRET_KEY",
        "HW_SECURITY_TOKEN",
        "HW_AUTH_TOKEN",
    ),
    *(
        "HW_USER_NAME",
        "HW_USER_PASSWORD",
        "HW_DOMAIN_NAME",
        "HW_PROJECT_ID",
        "HW_REGION_NAME",
        *OIDC,
        *AGENCY,
    ),
    *("HUAWEICLOUD_OIDC_ID_TOKEN", "HW_ASSUME_ROLE_DURATION", *CONTAINER, "OS_ACCESS_KEY", "OS_PASSWORD"),
)


@pytest.mark.parametrize("name", EVERY_NAME)
@pytest.mark.parametrize("empty", ["", "  \n"])
def test_a_variable_that_is_set_but_empty_is_an_error_and_no_reason_to_look_further(
    name: str, empty: str, tmp_path: Path
) -> None:
    said = faults(HW | {name: empty}, home_with_keys(tmp_path))
    assert said == f"<environment>: {name} is set, but empty; give it its value, or unset it"


@pytest.mark.parametrize(
    "name",
    [
        *("HUAWEICLOUD_SDK_IDP_ID", "HUAWEICLOUD_SDK_ID_TOKEN_FILE", "HW_PROFILE", "HW_SHARED_CONFIG_FILE"),
        *("HW_ASSUME_ROLE_IDP_ID", "HW_ASSUME_ROLE_ID_TOKEN", "HW_ASSUME_ROLE_ID_TOKEN_FILE"),
        *("HW_ASSUME_ROLE_DOMAIN_ID", "HW_USER_ID", "OS_USER_ID", "OS_AGENCY_NAME", "OS_DELEGATED_PROJECT"),
    ],
)
def test_what_another_tool_would_act_as_is_refused_by_name_beside_keys_that_would_do(
    name: str, tmp_path: Path
) -> None:
    assert f"{name} is not supported and would be ignored" in faults(HW | {name: "x"}, tmp_path)


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    said = faults({"HW_PROFILE": "x", "HW_ACCESS_KEY": "", "HUAWEICLOUD_SDK_IDP_ID": "y"}, tmp_path)
    assert [name in said for name in ("HW_PROFILE", "HW_ACCESS_KEY", "HUAWEICLOUD_SDK_IDP_ID")] == [True] * 3


def test_a_section_with_an_identity_provider_is_refused_as_the_sdk_would_take_that(tmp_path: Path) -> None:
    home = home_with_keys(tmp_path)
    assert ":4:1: [other] has idp_id, which is not supported" in faults({}, home, "other")
    assert find_identity({}, home).credentials == AccessKeys("FILE", Secret("x"))


def test_an_agency_is_assumed_with_the_keys_that_were_found(tmp_path: Path) -> None:
    found = find_identity(HW | AGENCY | {"HW_ASSUME_ROLE_DURATION": "7200"}, tmp_path)
    base = AccessKeys(HW["HW_ACCESS_KEY"], Secret(HIDDEN))
    assert found.credentials == Agency(base, "operator", "acme", 7200)
    assert found.source == "HW_ASSUME_ROLE_AGENCY_NAME, with HW_ACCESS_KEY"
    profile = find_identity(AGENCY, home_with_keys(tmp_path))
    assert isinstance(profile.credentials, Agency)
    assert profile.credentials.base == AccessKeys("FILE", Secret("x"))


def test_a_token_of_a_provider_comes_first_as_in_the_sdk(tmp_path: Path) -> None:
    found = find_identity(HW | OIDC | {"HW_PROJECT_ID": "p"}, tmp_path)
    assert found.credentials == Oidc(
        "iam::acme:oidc-provider:github",
        "iam::acme:agency:planner",
        "oidc-sts-session",
        3600,
        None,
        Path("/run/token"),
        "",
        (),
    )
    assert (found.project_id, found.source) == ("p", "HUAWEICLOUD_OIDC_PROVIDER_URN")


def test_a_profile_that_a_manifest_names_wins_over_the_environment(tmp_path: Path) -> None:
    found = find_identity(HW | OIDC | CONTAINER, home_with_keys(tmp_path), "basic")
    assert found.credentials == AccessKeys("FILE", Secret("x"))


def test_a_container_comes_after_keys_and_before_its_server(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert find_identity({}, nowhere).credentials == Metadata()
    kept = Container("http://127.0.0.1:8080/v1/credentials", Path("/run/token"))
    assert find_identity(CONTAINER | {"RECONCILER_METADATA": "off"}, nowhere).credentials == kept
    found = find_identity(CONTAINER, home_with_keys(tmp_path))
    assert found.credentials == AccessKeys("FILE", Secret("x"))


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (AGENCY | OIDC, "chains of agencies are not supported"),
        (AGENCY | CONTAINER, "chains of agencies are not supported"),
        (AGENCY, "chains of agencies are not supported"),
        (AGENCY | {"HW_AUTH_TOKEN": HIDDEN}, "needs access keys, but HW_AUTH_TOKEN is used"),
        (HW | {"HW_ASSUME_ROLE_AGENCY_NAME": "a"}, "but HW_ASSUME_ROLE_DOMAIN_NAME not"),
        (HW | {"HW_ASSUME_ROLE_DOMAIN_NAME": "a"}, "but HW_ASSUME_ROLE_AGENCY_NAME not"),
        (HW | {"HW_ASSUME_ROLE_DURATION": "900"}, "but HW_ASSUME_ROLE_AGENCY_NAME and HW_ASSUME_ROLE_DOMAIN"),
        (HW | AGENCY | {"HW_ASSUME_ROLE_DURATION": "899"}, "from 900 to 86400"),
        (HW | {"HUAWEICLOUD_OIDC_POLICY": "{}"}, "PROVIDER_URN and HUAWEICLOUD_OIDC_AGENCY_URN and"),
        (OIDC | {"HUAWEICLOUD_OIDC_DURATION_SECONDS": "1h"}, "from 900 to 43200"),
        (OIDC | {"HUAWEICLOUD_OIDC_DURATION_SECONDS": "43201"}, "from 900 to 43200"),
        ({"HC_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/"}, "TOKEN_FILE is not set"),
        ({"HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/f"}, "FULL_URI is not set"),
        # Whichever is taken: the other was meant by somebody, and is perhaps the one to act as.
        (OIDC | {"HW_ACCESS_KEY": "a"}, "HW_SECRET_KEY is not set"),
        (
            HW | {"HUAWEICLOUD_SDK_SECURITY_TOKEN": "t"},
            "HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK are not set",
        ),
        (HW | {"HW_USER_NAME": "u", "HW_DOMAIN_NAME": "d"}, "HW_USER_PASSWORD is not set"),
        ({"HW_AUTH_TOKEN": HIDDEN, "HW_SECRET_KEY": HIDDEN}, "HW_ACCESS_KEY is not set"),
    ],
)
def test_half_an_identity_or_a_chain_is_an_error(environ: dict[str, str], words: str, tmp_path: Path) -> None:
    assert words in faults(environ, tmp_path)


@pytest.mark.parametrize(
    "uri",
    [
        "http://10.0.0.1/v1",
        "https://evil.example/v1",
        "http://127.0.0.1.evil.example/",
        "http://evil@127.0.0.1/",
        "ftp://127.0.0.1/",
        "127.0.0.1",
        "http://[::1",
        "http://127.0.0.1:99999/",
        "http://169.254.169.253/",
    ],
)
def test_the_token_of_a_container_is_sent_to_this_machine_or_the_cloud_alone(
    uri: str, tmp_path: Path
) -> None:
    environ = CONTAINER | {"HC_CONTAINER_CREDENTIALS_FULL_URI": uri}
    assert "must be an address of this machine, or 169.254.169.254" in faults(environ, tmp_path)


@pytest.mark.parametrize("uri", ["http://[::1]:80/v1", "http://localhost/v1", "http://169.254.169.254/v1"])
def test_these_addresses_are_this_machine_or_the_cloud(uri: str, tmp_path: Path) -> None:
    environ = CONTAINER | {"HC_CONTAINER_CREDENTIALS_FULL_URI": uri}
    assert find_identity(environ, tmp_path).credentials == Container(uri, Path("/run/token"))


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (HW, "access key HWAK…HWAK, from HW_ACCESS_KEY"),
        (HW | {"HW_SECURITY_TOKEN": HIDDEN}, "temporary access key HWAK…HWAK, from HW_ACCESS_KEY"),
        ({"OS_ACCESS_KEY": "SHORT", "OS_SECRET_KEY": HIDDEN}, "access key SHOR…, from OS_ACCESS_KEY"),
        (
            HW | AGENCY,
            "agency operator of acme with access key HWAK…HWAK, from HW_ASSUME_ROLE_AGENCY_NAME, with HW_ACCESS_KEY",
        ),
        (OIDC, "agency iam::acme:agency:planner, from HUAWEICLOUD_OIDC_PROVIDER_URN"),
        ({"OS_AUTH_TOKEN": HIDDEN}, "token, from OS_AUTH_TOKEN"),
        (
            {"HW_USER_NAME": "anna", "HW_USER_PASSWORD": HIDDEN, "HW_DOMAIN_NAME": "acme"},
            "user anna of acme, from HW_USER_NAME",
        ),
        (CONTAINER, "agency of this container, from HC_CONTAINER_CREDENTIALS_FULL_URI"),
        ({}, "agency of this server, from the metadata service of this server"),
    ],
)
def test_who_acts_is_said_in_words_without_a_secret(
    environ: dict[str, str], words: str, tmp_path: Path
) -> None:
    assert str(whom(find_identity(environ, tmp_path))) == words
