"""The Kubernetes files keep their promises: valid by schema, without privileges, and run over TCP to a sandbox."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from reconciler.scaffolds import files
from tests.flows.conftest import CALLS, FINANCE, STUDIO, bare, manifest
from tests.flows.serving import Served
from tests.scaffolds.shell import Step, bash, programs

DOCUMENTS: dict[str, dict[str, Any]] = {
    path: yaml.safe_load(text) for path, text in files("kubernetes").items() if path.endswith(".yaml")
}


def pod(path: str) -> dict[str, Any]:
    """The pod's specification, wherever the kind of the document keeps it."""
    spec = DOCUMENTS[path]["spec"]
    found: dict[str, Any] = spec.get("jobTemplate", DOCUMENTS[path])["spec"]["template"]["spec"]
    return found


def script(path: str, manifests: Path) -> str:
    """What the only container runs, with the mounted manifests where the test has them."""
    [container] = pod(path)["containers"]
    command = [*container.get("command", ["reconciler"]), *container["args"]]
    return " ".join(map(shlex.quote, command)).replace("/manifests", str(manifests))


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """Manifests as a ConfigMap is mounted: links to a folder behind a link."""
    folder = tmp_path / "mounted"
    (folder / "..2026_01_01").mkdir(parents=True)
    (folder / "..data").symlink_to("..2026_01_01")
    manifest(folder / "..2026_01_01", [FINANCE, STUDIO, CALLS])
    (folder / "pools.yaml").symlink_to("..data/pools.yaml")
    return folder


@pytest.mark.parametrize("path", DOCUMENTS)
@pytest.mark.parametrize("version", ["1.30", "1.35"])
def test_every_file_fits_the_schema(path: str, version: str) -> None:
    kubernetes_validate.validate(DOCUMENTS[path], version, strict=True)


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_pod_fits_the_restricted_security_standard(path: str) -> None:
    spec = pod(path)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")] == [
        "/tmp"
    ]


def test_only_the_apply_gets_what_can_change_pools_and_secrets_are_only_referred_to() -> None:
    named = {
        path: [each["secretRef"]["name"] for each in pod(path)["containers"][0]["envFrom"]]
        for path in DOCUMENTS
    }
    assert named == {
        "apply-sharded-job.yaml": ["reconciler-apply"],
        "drift-cronjob.yaml": ["reconciler-plan"],
        "drift-watch.yaml": ["reconciler-plan"],
    }
    assert not any(document["kind"] == "Secret" for document in DOCUMENTS.values())


def test_all_shares_together_do_the_whole_work_and_share_the_limits(
    tmp_path: Path, mounted: Path, served: Served
) -> None:
    bin_folder = programs(tmp_path)
    spec = DOCUMENTS["apply-sharded-job.yaml"]["spec"]
    [n] = [
        each["value"] for each in pod("apply-sharded-job.yaml")["containers"][0]["env"] if each["name"] == "N"
    ]
    assert spec["completions"] == spec["parallelism"] == int(n)
    env = served.env | {"N": n, "RECONCILER_RUN_GROUP": "reconciler-apply-x7k2p"}

    def share(index: int) -> Step:
        folder = tmp_path / f"pod-{index}"
        folder.mkdir()
        own = {
            "HOME": str(folder),
            "JOB_COMPLETION_INDEX": str(index),
            "RECONCILER_JOURNAL": f"sqlite:///{tmp_path}/shared.db",
            "RECONCILER_STATE_FOLDER": str(folder / "state"),
        }
        return bash(script("apply-sharded-job.yaml", mounted), folder, env | own, bin_folder)

    forgotten = bash(
        script("apply-sharded-job.yaml", mounted), tmp_path, env | {"JOB_COMPLETION_INDEX": "0"}, bin_folder
    )
    assert forgotten.code != 0
    assert "RECONCILER_JOURNAL: is not set" in forgotten.out
    looked = bash(script("drift-cronjob.yaml", mounted), tmp_path, served.env, bin_folder)
    assert looked.code == 2, looked.out
    assert served.posts() == []

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(share, range(int(n))))
    assert [each.code for each in done] == [0] * int(n), "\n".join(each.out for each in done)
    changed = [entry["path"] for entry in served.posts()]
    assert len(changed) == len(set(changed)) > 1
    looked = bash(script("drift-cronjob.yaml", mounted), tmp_path, served.env, bin_folder)
    assert looked.code == 0, looked.out


def test_the_probes_of_the_watcher_are_answered_and_it_stops_when_told(
    tmp_path: Path, mounted: Path, served: Served
) -> None:
    [container] = pod("drift-watch.yaml")["containers"]
    probes = [container[kind]["httpGet"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")]
    [port] = container["ports"]
    assert all(each == {"path": "/healthz", "port": port["name"]} for each in probes)
    arguments = shlex.split(script("drift-watch.yaml", mounted))[1:]
    assert arguments[arguments.index("--health-address") + 1] == "0.0.0.0"
    assert arguments[arguments.index("--health-port") + 1] == str(port["containerPort"])
    # Only on this machine, and on whatever port is free.
    arguments[arguments.index("--health-address") + 1] = "127.0.0.1"
    arguments[arguments.index("--health-port") + 1] = free = str(_free_port())
    process = subprocess.Popen(
        [programs(tmp_path) / "reconciler", *arguments],
        env=bare(tmp_path) | served.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        gauges = _answer(f"http://127.0.0.1:{free}/metrics", "reconciler_")
        assert re.search(r"^reconciler_\w+.* \d", gauges, re.M), gauges
        assert _answer(f"http://127.0.0.1:{free}/healthz", "last round")
    finally:
        process.terminate()
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert served.posts() == []


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answer(url: str, wanted: str) -> str:
    for _ in range(3000):
        try:
            with urlopen(url) as answer:
                text: str = answer.read().decode()
            if wanted in text:
                return text
        except (HTTPError, URLError, ConnectionError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"{url} never answered with {wanted!r}")
