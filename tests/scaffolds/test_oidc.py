"""The GitHub and GitLab files act with temporary keys: a token of the platform buys them at the sandbox, over TCP."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconciler import sandbox
from reconciler.sandbox.agencies import agency_urn
from tests import needs
from tests.flows.conftest import FINANCE, manifest
from tests.flows.serving import Served, listening
from tests.flows.skipping import TIME
from tests.scaffolds.installing import Installer, files
from tests.scaffolds.shell import Step, bash, resolved, with_python


def token() -> str:
    """What a platform gives to a job: it lives for five minutes."""
    payload = base64.urlsafe_b64encode(json.dumps({"exp": TIME.time() + 300}).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


@pytest.fixture
def env(tmp_path: Path, served: Served) -> dict[str, str]:
    """The addresses of the sandbox, and no key."""
    manifest_folder = tmp_path / "manifests"
    manifest_folder.mkdir()
    manifest(manifest_folder, [FINANCE])
    return {
        "RECONCILER_ENDPOINT": served.url,
        "RECONCILER_IAM_ENDPOINT": served.url,
        "RECONCILER_STS_ENDPOINT": served.url,
        "RECONCILER_METADATA": "off",
    }


def test_the_token_of_a_github_job_plans_applies_and_looks_for_drift(
    tmp_path: Path, served: Served, env: dict[str, str], installer: Installer
) -> None:
    needs.program("curl")

    async def give(_: Request) -> Response:
        return JSONResponse({"value": token()})

    def job(workflow: str, **context: str) -> Step:
        told = yaml.safe_load(files("github")[f".github/workflows/reconciler-{workflow}.yml"])
        steps = next(iter(told["jobs"].values()))["steps"]
        named: dict[str, dict[str, Any]] = {each.get("name", ""): each for each in steps}
        programs = (installer.environment(named["Install"]["run"]) / "bin", with_python(tmp_path / "bin"))
        own = env | {"RUNNER_TEMP": str(tmp_path), "GITHUB_OUTPUT": str(tmp_path / "output")}
        known = {
            "runner.temp": str(tmp_path),
            "vars.RECONCILER_PROVIDER_URN": "iam::x:oidc-provider:github",
            "vars.RECONCILER_AGENCY_URN": agency_urn(served.world()["accounts"][0]),
            "vars.RECONCILER_PROJECT_ID": sandbox.PROJECT_ID,
            "secrets.RECONCILER_JOURNAL": f"sqlite:///{tmp_path}/shared.db",
            **context,
        }
        with listening(Starlette(routes=[Route("/token", give)])) as url:
            asking = {
                "ACTIONS_ID_TOKEN_REQUEST_URL": f"{url}/token?v=2",
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-job",
            }
            done = bash(named["Identity"]["run"], tmp_path, own | asking, *programs)
        assert done.code == 0, done.out
        step = named[workflow.capitalize()]
        given = {name: resolved(value, known) for name, value in step["env"].items()}
        return bash(step["run"], tmp_path, own | given, *programs)

    planned = job("plan")
    outputs = dict(line.split("=") for line in (tmp_path / "output").read_text().splitlines())
    assert outputs["exit_code"] == "0", planned.out
    applied = job("apply", **{"steps.approved.outputs.digest": outputs["digest"]})
    assert applied.code == 0, applied.out
    assert len(served.posts()) == 1
    assert job("drift").code == 0


def test_the_token_of_a_gitlab_job_plans_and_applies(
    tmp_path: Path, served: Served, env: dict[str, str], installer: Installer
) -> None:
    pipeline: Mapping[str, Any] = yaml.safe_load(files("gitlab")[".gitlab-ci.yml"])
    install = "\n".join(pipeline["default"]["before_script"]) + "\ncommand -v reconciler"
    programs = (installer.environment(install) / "bin", with_python(tmp_path / "bin"))
    digest = ""
    for name in ("plan", "apply"):
        [variable] = pipeline[name]["id_tokens"]
        given = pipeline["variables"] | {
            variable: token(),
            "HUAWEICLOUD_OIDC_PROVIDER_URN": "iam::x:oidc-provider:gitlab",
            "HUAWEICLOUD_OIDC_AGENCY_URN": agency_urn(served.world()["accounts"][0]),
            "HUAWEICLOUD_SDK_PROJECT_ID": sandbox.PROJECT_ID,
            "RECONCILER_JOURNAL": f"sqlite:///{tmp_path}/shared.db",
            "DIGEST": digest,
        }
        done = bash("\n".join(pipeline[name]["script"]), tmp_path, env | given, *programs)
        assert done.code == 0, done.out
        digest = "".join(re.findall(r"\b[0-9a-f]{64}\b", done.out)[:1])
    assert len(served.posts()) == 1
