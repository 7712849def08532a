"""The Kubernetes files keep their promises: valid by schema, without privileges, and run over TCP to a sandbox."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from reconciler import sandbox
from tests.flows.conftest import CALLS, FINANCE, ROOT, STUDIO, Run, bare, manifest
from tests.flows.serving import Served
from tests.flows.skipping import TIME
from tests.scaffolds.installing import Installer, files
from tests.scaffolds.shell import Step, bash, with_python
from tests.scaffolds.test_github import ssh_key

DOCUMENTS: dict[str, dict[str, Any]] = {
    path: yaml.safe_load(text) for path, text in files("kubernetes").items() if path.endswith(".yaml")
}
WITH_PODS = {path: document for path, document in DOCUMENTS.items() if document["kind"] != "NetworkPolicy"}
DOCKERFILE = files("kubernetes")["Dockerfile"]
BASE_CHECK, INSTALL = (
    line.replace(" && ", "\n") for line in re.findall(r"^RUN (.+)", DOCKERFILE.replace("\\\n    ", ""), re.M)
)


def pod(path: str) -> dict[str, Any]:
    """The pod's specification, wherever the kind of the document keeps it."""
    spec = DOCUMENTS[path]["spec"]
    found: dict[str, Any] = spec.get("jobTemplate", DOCUMENTS[path])["spec"]["template"]["spec"]
    return found


def script(path: str, mounted: Path) -> str:
    """What the only container runs, with what is mounted where the test has it."""
    [container] = pod(path)["containers"]
    text = " ".join(map(shlex.quote, [*container["command"], *container["args"]]))
    places = [mount["mountPath"] for mount in container["volumeMounts"] if mount.get("readOnly")]
    for place in places:
        text = re.sub(rf"{place}\b", f"{mounted}{place}", text)
    return text


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """Manifests and secrets as ConfigMaps and Secrets are mounted: links to a folder behind a link."""
    folder = tmp_path / "mounted"
    for name in ("manifests", "secrets", "approval", "policy"):
        (folder / name / "..2026_01_01").mkdir(parents=True)
        (folder / name / "..data").symlink_to("..2026_01_01")
    manifest(folder / "manifests" / "..data", [FINANCE, STUDIO, CALLS])
    (folder / "manifests" / "pools.yaml").symlink_to("..data/pools.yaml")
    keys = f"ak = {sandbox.ACCESS_KEY}\nsk = {sandbox.SECRET_KEY}\nproject_id = {sandbox.PROJECT_ID}\n"
    (folder / "secrets" / "credentials").write_text(f"[basic]\n{keys}")
    (folder / "policy" / "..data" / "policy.yaml").write_text("version: 1\nceilings: {disks: 9}\n")
    (folder / "policy" / "policy.yaml").symlink_to("..data/policy.yaml")
    (folder / "secrets" / "journal").write_text(f"sqlite:///{tmp_path}/shared.db")
    return folder


def environment(path: str, mounted: Path, served: Served) -> dict[str, str]:
    """What the container's environment is, with what is mounted where the test has it, and no secret."""
    [container] = pod(path)["containers"]
    own = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    for name in ("HUAWEICLOUD_SDK_CREDENTIALS_FILE", "RECONCILER_POLICY"):
        own[name] = str(mounted) + own[name]
    del own["RECONCILER_STATE_FOLDER"]
    return own | {name: value for name, value in served.env.items() if not name.startswith("HUAWEICLOUD_")}


@pytest.mark.parametrize("path", DOCUMENTS)
@pytest.mark.parametrize("version", ["1.30", "1.35"])
def test_every_file_fits_the_schema(path: str, version: str) -> None:
    kubernetes_validate.validate(DOCUMENTS[path], version, strict=True)


@pytest.mark.parametrize("path", WITH_PODS)
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


def test_only_the_apply_gets_what_can_change_pools_and_secrets_are_files() -> None:
    named = {}
    for path in WITH_PODS:
        [container] = pod(path)["containers"]
        assert "envFrom" not in container
        assert not [each for each in container["env"] if "secretKeyRef" in each.get("valueFrom", {})]
        mounts = {each["name"] for each in container["volumeMounts"] if each.get("readOnly")}
        volumes = {each["name"]: each for each in pod(path)["volumes"]}
        assert {name for name, each in volumes.items() if "emptyDir" not in each} == mounts
        named[path] = {
            each.get("configMap", {}).get("name") or each["secret"]["secretName"]
            for name, each in volumes.items()
            if name in mounts
        }
    manifests, approval, policy = "reconciler-manifests", "reconciler-approval", "reconciler-policy"
    assert named == {
        "apply-sharded-job.yaml": {manifests, approval, policy, "reconciler-apply"},
        "drift-cronjob.yaml": {manifests, policy, "reconciler-plan"},
        "drift-watch.yaml": {manifests, policy, "reconciler-plan"},
        "due-cronjob.yaml": {manifests, policy, "reconciler-plan"},
    }
    for path in WITH_PODS:  # each a folder of its own, as whoever may change one may not change another
        volumes = pod(path)["volumes"]
        assert len({str(each) for each in volumes}) == len(volumes)
    assert not any(document["kind"] == "Secret" for document in DOCUMENTS.values())


def test_every_object_passes_the_validator_by_its_own_name() -> None:
    folder = ROOT / "reconciler" / "scaffolds" / "kubernetes"
    program = Path(sys.executable).parent / "kubernetes-validate"
    command = [str(program), "--strict", *(str(folder / path) for path in DOCUMENTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(set(document["metadata"]) == {"name"} for document in DOCUMENTS.values())


def test_the_network_policy_selects_every_pod_and_opens_only_the_metrics() -> None:
    spec = DOCUMENTS["network-policy.yaml"]["spec"]
    selected = spec["podSelector"]["matchLabels"].items()
    for path, document in WITH_PODS.items():
        template = document["spec"].get("jobTemplate", document)["spec"]["template"]
        assert selected <= template["metadata"]["labels"].items(), path
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    [port] = pod("drift-watch.yaml")["containers"][0]["ports"]
    [ingress] = spec["ingress"]
    assert [each["port"] for each in ingress["ports"]] == [port["containerPort"]]
    assert ingress["from"]
    assert {each["port"] for rule in spec["egress"] for each in rule["ports"]} == {53, 443, 5432}


@pytest.mark.parametrize(
    ("base", "code"), [("python:3.12@sha256:" + "0" * 64, 0), ("python:3.12", 1), ("", 1)]
)
def test_the_image_is_built_only_from_a_base_with_a_digest_and_runs_without_root(
    base: str, code: int, tmp_path: Path
) -> None:
    done = bash(BASE_CHECK.partition("\n")[0], tmp_path, {"BASE": base})
    assert done.code == code
    assert not code or "BASE must carry a digest" in done.out
    lines = [line for line in DOCKERFILE.splitlines() if not line.startswith("#")]
    assert lines[:3] == ["ARG BASE", "FROM ${BASE}", "ARG BASE"], "no default"
    user = next(number for number, line in enumerate(lines) if line.startswith("USER"))
    assert lines[user] == "USER {0}:{0}".format(pod("drift-watch.yaml")["securityContext"]["runAsUser"])
    assert not [line for line in lines[user:] if line.startswith("RUN")]


def test_all_shares_together_do_the_whole_reviewed_work_and_share_the_limits(
    tmp_path: Path, mounted: Path, served: Served, installer: Installer
) -> None:
    text = files("kubernetes")["apply-sharded-job.yaml"]
    spec = DOCUMENTS["apply-sharded-job.yaml"]["spec"]
    own = environment("apply-sharded-job.yaml", mounted, served)
    all_shards = " ".join(str(number + 1) for number in range(int(own["N"])))
    assert spec["completions"] == spec["parallelism"] == int(own["N"])
    assert text.count(f"for i in {all_shards};") == 2
    # Three shares for the three pools: the header says how to change their number.
    own |= {"N": "3", "RECONCILER_RUN_GROUP": "cd3f8b1e"}
    text = text.replace(all_shards, "1 2 3").replace(f"$i/{all_shards[-1]}", "$i/3")
    lines = re.findall(r"^#   (mkdir .+|for [\s\S]+?done)$", text, re.M)
    programs = (installer.environment(INSTALL) / "bin", with_python(tmp_path / "bin"))

    def share(index: int) -> Step:
        folder = tmp_path / f"pod-{index}"
        folder.mkdir(exist_ok=True)
        variables = {
            "HOME": str(folder),
            "JOB_COMPLETION_INDEX": str(index),
            "RECONCILER_STATE_FOLDER": str(folder / "state"),
        }
        return bash(script("apply-sharded-job.yaml", mounted), folder, own | variables, *programs)

    unread = share(0)
    assert (unread.code, served.posts()) == (1, []), unread.out
    assert "approval/1" in unread.out
    assert "#   export RECONCILER_POLICY=policy.yaml\n" in text
    planned = bash("\n".join(re.sub("(?m)^#   ", "", each) for each in lines), mounted, own, *programs)
    assert planned.code == 0, planned.out
    assert len(list((mounted / "plans").glob("*.html"))) == 3
    journal = (mounted / "secrets" / "journal").read_text()
    (mounted / "secrets" / "journal").write_text("\n")
    forgotten = share(0)
    assert forgotten.code != 0
    assert "RECONCILER_JOURNAL: is not set" in forgotten.out
    (mounted / "secrets" / "journal").write_text(journal)
    drift = environment("drift-cronjob.yaml", mounted, served)
    looked = bash(script("drift-cronjob.yaml", mounted), tmp_path, drift, *programs)
    assert looked.code == 2, looked.out
    assert served.posts() == []

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(share, range(3)))
    assert [each.code for each in done] == [0] * 3, "\n".join(each.out for each in done)
    changed = [entry["path"] for entry in served.posts()]
    assert len(changed) == len(set(changed)) > 1
    looked = bash(script("drift-cronjob.yaml", mounted), tmp_path, drift, *programs)
    assert looked.code == 0, looked.out


def shared(path: str, mounted: Path, served: Served, folder: Path, **more: str) -> dict[str, str]:
    """What a pod with a fresh /tmp has."""
    folder.mkdir(exist_ok=True)
    own = {"HOME": str(folder), "TMPDIR": str(folder), "RECONCILER_STATE_FOLDER": str(folder / "state")}
    return environment(path, mounted, served) | own | more


def test_from_a_mark_to_its_removal_what_is_due_is_in_the_log_and_goes_only_by_an_approval_of_its_digests(
    tmp_path: Path, mounted: Path, served: Served, installer: Installer
) -> None:
    assert (
        environment("due-cronjob.yaml", mounted, served)["N"]
        == environment("apply-sharded-job.yaml", mounted, served)["N"]
    )
    programs = (installer.environment(INSTALL) / "bin", with_python(tmp_path / "bin"))
    manifest(mounted / "manifests" / "..data", [FINANCE.replace("{name", "{grace: 7d, name")])

    def pod_of(path: str, days: float, **more: str) -> Step:
        TIME.skipped = days * 86400
        own = shared(path, mounted, served, tmp_path / "pod", N="2", RECONCILER_RUN_GROUP="one", **more)
        return bash(script(path, mounted), tmp_path, own, *programs)

    marked = pod_of("due-cronjob.yaml", 0)
    assert (marked.code, served.posts()) == (0, []), marked.out
    assert "marked 1 disk" in marked.out
    assert "No disk is due to be removed now." in marked.out
    [disk] = set(re.findall(r"to object: reconciler marks extend (finance-analysts/\S+)", marked.out))
    until = f"{TIME.now() + timedelta(days=9):%Y-%m-%d}"
    objected = pod_of("due-cronjob.yaml", 5, DISK=disk, UNTIL=until)
    assert objected.code == 0, objected.out
    assert "waits at least until" in objected.out

    listed = pod_of("due-cronjob.yaml", 10)
    assert (listed.code, served.posts()) == (0, []), listed.out
    assert "Disks that are due to be removed: 1. Nothing removes them without a person." in listed.out
    assert f"# {disk} will be destroyed" in listed.out
    assert "To object: reconciler marks extend POOL/ID --until DATE" in listed.out
    [command] = re.findall("kubectl create configmap reconciler-approval (.+)", listed.out)
    digests = dict(re.findall(r"--from-literal=(\d)=([0-9a-f]{64})", command))
    assert list(digests) == ["1", "2"]

    def share(number: str) -> Step:
        return pod_of("apply-sharded-job.yaml", 10, JOB_COMPLETION_INDEX=str(int(number) - 1))

    owner = "1" if "1 to destroy" in listed.out.split("Share 2 of 2:")[0].split("Share 1 of 2:")[1] else "2"
    assert f"Digest: {digests[owner]}\n" in listed.out
    assert (share(owner).code, served.posts()) == (1, []), "the marking alone approves nothing"
    (mounted / "approval" / owner).write_text("0" * 64)
    assert (share(owner).code, served.posts()) == (4, [])
    for number, digest in digests.items():
        (mounted / "approval" / number).write_text(digest)
        done = share(number)
        assert done.code == 0, done.out
    assert len(served.posts()) == 1
    assert "No disk is due" in pod_of("due-cronjob.yaml", 11).out


@pytest.mark.parametrize("webhook", [True, False])
def test_webhooks_hear_of_what_is_due_where_there_are_any_and_a_blocked_plan_fails_the_job(
    webhook: bool, tmp_path: Path, mounted: Path, served: Served
) -> None:
    if webhook:
        (mounted / "secrets" / "webhook").write_text("https://hooks.invalid/secret\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "reconciler").write_text(
        '#!/bin/sh\necho "ran $1 [$*] [${RECONCILER_WEBHOOK-}]"\n[ "$1" = plan ] || exit 0\n'
        'printf "digest=d%s\\ndestroy=1\\n" "$6" >> "$GITHUB_OUTPUT"\nexit 3\n'
    )
    (tmp_path / "bin" / "reconciler").chmod(0o755)
    own = shared("due-cronjob.yaml", mounted, served, tmp_path / "pod", N="1")
    done = bash(script("due-cronjob.yaml", mounted), tmp_path, own, tmp_path / "bin")
    assert done.code == 3, done.out
    marked, planned = re.findall(r"^ran .+$", done.out, re.M)
    assert marked.endswith("--mark] []"), "what was marked is no news for a webhook"
    assert planned.endswith(f"--notify] [@{mounted}/secrets/webhook]" if webhook else "--shard 1/1] []")
    assert "Disks that are due to be removed: 1." in done.out


def test_signatures_count_for_the_share_that_their_file_names(
    tmp_path: Path, mounted: Path, served: Served, installer: Installer, run: Run
) -> None:
    keys = {name: ssh_key(tmp_path, name) for name in ("alice", "bob")}
    policy = mounted / "policy" / "..data"
    (policy / "policy.yaml").write_text("version: 1\napprovals: {required: 2, signers: allowed_signers}\n")
    (policy / "allowed_signers").write_text("".join(f"{line}\n" for _, line in keys.values()))
    (mounted / "policy" / "allowed_signers").symlink_to("..data/allowed_signers")
    manifest(mounted / "manifests" / "..data", [FINANCE])
    programs = (installer.environment(INSTALL) / "bin", with_python(tmp_path / "bin"))
    path = "apply-sharded-job.yaml"
    own = shared(path, mounted, served, tmp_path / "pod", N="1", RECONCILER_RUN_GROUP="one")
    given = {"GITHUB_OUTPUT": str(tmp_path / "outputs")}
    planned = bash(f"reconciler plan {mounted}/manifests --shard 1/1", tmp_path, own | given, *programs)
    assert planned.code == 0, planned.out
    [digest] = re.findall(r"^digest=(.+)$", (tmp_path / "outputs").read_text(), re.M)
    (mounted / "approval" / "1").write_text(f"{digest}\n")

    def share() -> Step:
        return bash(script(path, mounted), tmp_path, own | {"JOB_COMPLETION_INDEX": "0"}, *programs)

    def sign(name: str, file: str) -> None:
        signed = run("approve", "--digest", digest, "--key", str(keys[name][0]))
        assert signed.code == 0, signed.err
        (mounted / "approval" / file).write_text(signed.out)

    sign("alice", "signed-1-alice.json")
    sign("bob", "signed-10-bob.json")  # of another share
    few = share()
    assert (few.code, served.posts()) == (3, []), few.out
    assert "1 of the 2 people who must sign have approved" in few.out
    assert "signed-10-bob" not in few.out
    sign("bob", "signed-1-bob.json")
    done = share()
    assert (done.code, len(served.posts())) == (0, 1), done.out


def test_the_probes_of_the_watcher_are_answered_and_it_stops_when_told(
    tmp_path: Path, mounted: Path, served: Served, installer: Installer
) -> None:
    [container] = pod("drift-watch.yaml")["containers"]
    probes = [container[kind]["httpGet"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")]
    [port] = container["ports"]
    assert all(each == {"path": "/healthz", "port": port["name"]} for each in probes)
    text = script("drift-watch.yaml", mounted)
    public, free = f"--health-address 0.0.0.0 --health-port {port['containerPort']}", _free_port()
    assert text.count(public) == 1
    # Only on this machine, and on whatever port is free.
    text = text.replace(public, f"--health-address 127.0.0.1 --health-port {free}")
    programs = installer.environment(INSTALL) / "bin"
    path = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": ""}
    process = subprocess.Popen(
        shlex.split(text),
        env=bare(tmp_path) | environment("drift-watch.yaml", mounted, served) | path,
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
