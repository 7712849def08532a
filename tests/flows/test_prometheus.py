"""A real Prometheus scrapes a real ``watch``, and its alert rules fire on what it finds."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reconciler.sandbox import seed
from reconciler.scaffolds import files
from tests import needs
from tests.flows.conftest import Run, manifest
from tests.flows.serving import serving
from tests.flows.test_watch import Watching, get, watching

MARKED = "{name: p, apply_to: all, grace: 1h, disks: [{type: SSD, size: 100}]}"


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Watching]:
    """A Prometheus that scrapes this address, with our rules."""
    (folder / "rules.yml").write_text(files("prometheus", "")["reconciler-alerts.yaml"])
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "reconciler", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    log = folder / "prometheus.log"
    flags = ("--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0")
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [needs.program("prometheus"), *flags],
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield Watching(process, log)
    finally:
        process.kill()
        process.wait()


def asked(url: str, path: str, **query: str) -> Any:
    status, text = get(f"{url}/api/v1/{path}?{urllib.parse.urlencode(query)}")
    return json.loads(text)["data"] if status == 200 else {}


def test_a_prometheus_takes_every_metric_and_an_alert_fires(run: Run, tmp_path: Path) -> None:
    needs.program("prometheus")
    world = seed.world("prometheus", [seed.pool("p", [("SAS", 50), ("SSD", 100)], 3, 2)])
    with serving(world) as served:
        path = str(manifest(tmp_path, [MARKED]))
        assert run("apply", path, "--mark", env=served.env).code == 0
        with watching(tmp_path, served, path, "--every", "1h", "--health-port", "0") as running:
            running.until(lambda: running.rounds() == 1)
            address = running.url("").removeprefix("http://")
            exposed = set(re.findall(r"^(\w+)[ {]", get(running.url("/metrics"))[1], re.M))
            with prometheus(tmp_path, address) as server:
                server.until(lambda: re.search(r"Listening on.*address=(127\.0\.0\.1:[1-9]\d*)", server.said))
                found = re.search(r"Listening on.*address=(127\.0\.0\.1:[1-9]\d*)", server.said)
                assert found
                url = f"http://{found[1]}"

                def firing() -> set[str]:
                    alerts = asked(url, "alerts").get("alerts", ())
                    return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

                server.until(lambda: firing() == {"ReconcilerDiskDueSoon"})
                [target] = asked(url, "targets")["activeTargets"]
                assert (target["health"], target["lastError"]) == ("up", "")
                kept = set(asked(url, "label/__name__/values"))
                assert exposed <= kept
                [group] = asked(url, "rules")["groups"]
                assert {each["health"] for each in group["rules"]} == {"ok"}
                [sample] = asked(url, "query", query="reconciler_pool_marked_disks")["result"]
                assert (sample["metric"]["pool"], sample["value"][1]) == ("p", "1")
