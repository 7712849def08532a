"""A network setting that cannot be used ends a command with exit 9 and its name; one that can be does its work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows.conftest import FINANCE, Run, manifest
from tests.flows.serving import Served

FAR = {
    "RECONCILER_ENDPOINT": "https://workspace.example.com",
    "HUAWEICLOUD_SDK_AK": "A",
    "HUAWEICLOUD_SDK_SK": "swordfish-4711",
}
PROXY = {"HTTPS_PROXY": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    "env",
    [
        {"HTTPS_PROXY": "http://u:swordfish-4711@proxy:port"},
        {"HTTPS_PROXY": "http://u:swordfish-4711@proxy:99999"},
        {"ALL_PROXY": "http://[::1"},
        {"all_proxy": "socks4://proxy:1080"},
        {"https_proxy": "http://u:sword@fish-4711@proxy:1"},
        {"NO_PROXY": "10.0.0.0/99"} | PROXY,
        {"SSL_CERT_FILE": "missing.pem"},
        {"SSL_CERT_FILE": "."},
        {"SSL_CERT_FILE": "pools.yaml"},
        {"SSL_CERT_DIR": "missing"},
        {"SSLKEYLOGFILE": "missing/log"},
    ],
    ids=lambda env: " ".join(f"{name}={text}" for name, text in env.items()),
)
def test_a_broken_setting_is_exit_9_and_named(run: Run, tmp_path: Path, env: dict[str, str]) -> None:
    manifest(tmp_path, [FINANCE])
    for command in ("plan", "drift"):
        ran = run(command, "pools.yaml", env=FAR | env)
        assert (ran.code, next(iter(env)) in ran.err) == (9, True), ran.err
        assert "fish-4711" not in ran.err


def test_a_broken_setting_for_webhooks_is_refused_before_anything_is_done(
    run: Run, served: Served, tmp_path: Path
) -> None:
    manifest(tmp_path, [FINANCE])
    env = served.env | {"RECONCILER_WEBHOOK": "https://hooks.example.com/x", "HTTPS_PROXY": "proxy:port"}
    ran = run("drift", "pools.yaml", env=env)
    assert (ran.code, "HTTPS_PROXY" in ran.err, ran.out) == (9, True, "")
    # What needs neither proxy nor certificates is not held up by them.
    assert run("plan", "pools.yaml", env=env).code == 0
    assert run("plan", "--sandbox", "pools.yaml", env={"HTTPS_PROXY": "proxy:port"}).code == 0


def test_a_failure_through_a_proxy_says_through_which_without_its_password(run: Run, tmp_path: Path) -> None:
    manifest(tmp_path, [FINANCE])
    for scheme in ("http", "socks5"):
        env = FAR | {"ALL_PROXY": f"{scheme}://u:swordfish-4711@127.0.0.1:9"}
        ran = run("plan", "pools.yaml", env=env | {"NO_PROXY": "fd00::/8,::1,10.0.0.0/8"})
        assert (ran.code, f"through the proxy {scheme}://127.0.0.1:9 (ALL_PROXY)" in ran.err) == (1, True), (
            ran.err
        )
        assert "swordfish" not in ran.err


def test_a_misplaced_address_of_a_webhook_is_not_repeated(run: Run, tmp_path: Path) -> None:
    hook = "https://hooks.example.com/services/T0/swordfish-4711"
    for arguments in (
        ("drift", hook),
        ("plan", "x", "--out", hook),
        ("show", "a", hook),
        (hook,),
        ("drift", f"--webhok={hook}"),
    ):
        ran = run(*arguments)
        assert ran.code == 9
        assert "swordfish" not in ran.err + ran.out
