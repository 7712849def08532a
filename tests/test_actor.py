"""Who decided is named as the environment names them."""

from __future__ import annotations

import pytest

from reconciler.cli.actor import actor


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"RECONCILER_ACTOR": "ann", "GITHUB_ACTOR": "robot"}, "ann"),
        ({"RECONCILER_ACTOR": "", "GITHUB_ACTOR": "octo"}, "octo"),
        ({"GITLAB_USER_LOGIN": "lab"}, "lab"),
        ({"RECONCILER_ACTOR": "a\x1b[2Jb"}, "a\\x1b[2Jb"),
    ],
)
def test_the_environment_names_who_decides(environ: dict[str, str], name: str) -> None:
    assert actor(environ) == name


def test_without_a_name_it_is_the_user_on_this_machine() -> None:
    user, _, host = actor({}).partition("@")
    assert user
    assert host
