"""Requests to a simulated service in this process, with a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from reconciler import sandbox
from reconciler.sandbox.store import Store
from reconciler.sandbox.world import Pool, World

START = 1_800_000_000.0
JOB_SECONDS = 10.0
JSON = {"Content-Type": "application/json"}
TOKEN = {"X-Auth-Token": sandbox.TOKEN}


@dataclass
class Asked:
    """One service; ``now`` moves only when a test says so."""

    world: World = field(default_factory=sandbox.default_world)
    now: float = START
    budget: int | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: TOKEN)

    def __post_init__(self) -> None:
        self.store = Store.memory(self.world)
        self.app: Any = sandbox.create_app(
            self.store, clock=lambda: self.now, job_seconds=JOB_SECONDS, budget=self.budget
        )

    def ask(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Any request, below the root."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(
                transport=transport, base_url=sandbox.IN_PROCESS_BASE_URL, headers=self.headers
            ) as http:
                return await http.request(method, url, **options)

        return asyncio.run(send())

    def get(self, path: str, **query: Any) -> httpx.Response:
        """A read of the built-in project."""
        return self.ask("GET", f"/v2/{sandbox.PROJECT_ID}{path}", params=query)

    def read(self, path: str, **query: Any) -> Any:
        """The document of a read that must succeed."""
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, pool: Pool, verb: str, body: object) -> httpx.Response:
        """``batch-delete``, ``batch-add`` or ``batch-expand`` of a pool."""
        path = f"/v2/{sandbox.PROJECT_ID}/desktop-pools/{pool['id']}/volumes/{verb}"
        return self.ask("POST", path, json=body)

    def job(self, pool: Pool, verb: str, body: object) -> str:
        """The id of the job that an accepted change made."""
        answer = self.post(pool, verb, body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["job_id"])

    def pool(self, name: str) -> Pool:
        """The service's own pool of that name, not what it shows."""
        pools = self.world["projects"][sandbox.PROJECT_ID]["pools"].values()
        return next(pool for pool in pools if pool["name"] == name)

    def shown(self, pool: Pool) -> Any:
        """The pool as the detail call shows it."""
        return self.read(f"/desktop-pools/{pool['id']}")


def code(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, answer.json()["error_code"]
