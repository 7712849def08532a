"""Twenty secrets in every setting, and all outside repeat them: none stands in an output, a file or the journal."""

from __future__ import annotations

import base64
import html
import json
import random
import re
import socket
import string
import struct
import sys
import textwrap
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reconciler import sandbox
from reconciler.sandbox.world import World
from tests.flows.conftest import FINANCE, Run, bare, manifest
from tests.flows.inside import Ran, run_inside
from tests.flows.serving import listening
from tests.flows.skipping import TIME

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

WINDOW = 8
"""Characters of a secret that must not stand together anywhere."""


def _secret(number: int) -> str:
    chance = random.Random(number)
    letters = "".join(chance.choices(string.ascii_letters + string.digits, k=24))
    return f'{letters[:8]}/{letters[8:14]}+{letters[14:]}="{number}'


SECRETS = [sandbox.SECRET_KEY, *map(_secret, range(1, 20))]
SK, SECURITY, HW_SK, HW_SECURITY, HW_TOKEN, HW_PASSWORD, OS_TOKEN, OS_SK, OS_PASSWORD, FILE_SK = SECRETS[:10]
FILE_SECURITY, JOURNAL, PG_PASSWORD, HTTPS_PROXY, ALL_PROXY, HOOK, HOOKS, HOOK_PASSWORD = SECRETS[10:18]
CI_TOKEN, IAM_TOKEN = SECRETS[18:]

FORMS: Mapping[str, Callable[[str], str]] = {
    "as it is": str,
    "percent": lambda secret: quote(secret, safe=""),
    "base64": lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
    "json": lambda secret: json.dumps(json.dumps(secret)),
    "html": html.escape,
    "html in numbers": lambda secret: "".join(f"&#{ord(each)};" for each in secret),
    "address": lambda secret: quote(secret, safe=";,/?:@&=+$-_.!~*'()#"),  # as encodeURI does
    "shell": lambda secret: re.sub(r"(\W)", r"\\\1", secret),
    "wrapped": lambda secret: "\n  ".join(textwrap.wrap(secret, 7)),
    "cut": lambda secret: secret[:17],
}
"""How those outside repeat a secret."""


IN_FILE = frozenset({FILE_SK, FILE_SECURITY})
"""Nobody can repeat these where the file is not the one that is used."""


@cache
def noise(but: frozenset[str] = IN_FILE) -> str:
    """What everybody says: all secrets in every form."""
    sent = [form(secret) for secret in SECRETS if secret not in but for form in FORMS.values()]
    return f"you sent {' '.join(sent)} (end)"


def _pieces(secret: str) -> Iterator[str]:
    """What gives a secret away: so many characters in a row, as they are and in base64."""
    forms = [secret]
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret.encode()).decode()
        forms.append(encoded[before + 1 : -4])
    for form in forms:
        yield from (form[at : at + WINDOW] for at in range(len(form) - WINDOW + 1))


PIECES = {piece: secret for secret in SECRETS for piece in _pieces(secret)}
for words in _pieces("sandbox-secret-key-not-a-secret"):  # of which texts may speak
    PIECES.pop(words, None)
PIECE_NUMBERS = {int.from_bytes(piece.encode(), sys.byteorder): secret for piece, secret in PIECES.items()}


def leaks(text: str) -> list[str]:
    """The secrets of which a piece stands in a text, however it is encoded."""
    joined = re.sub(r"\\+[rn]|\s", "", text)
    plain = {
        text,
        joined,
        unquote(joined),
        unquote_plus(text),
        html.unescape(joined),
        joined.replace("\\", ""),
    }
    return sorted(
        {PIECE_NUMBERS[each] for form in plain for each in _given_away(form.encode("ascii", "replace"))}
    )


def _given_away(text: bytes) -> Iterator[int]:
    """The pieces in a text, as numbers: a piece has as many bytes as one, and reading numbers is quick."""
    for start in range(WINDOW):
        end = start + (len(text) - start) // WINDOW * WINDOW
        yield from PIECE_NUMBERS.keys() & memoryview(text[start:end]).cast("Q")


@dataclass
class Echo:
    """The sandbox behind somebody who puts all secrets into one kind of answer."""

    kind: str
    app: Any
    said: str = field(default_factory=noise)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        post, said = scope["method"] == "POST", self.said
        error = json.dumps({"error_code": f"WKS.{said[:40]}", "error_msg": said}).encode()
        answers = {
            "every call refused": (400, error),
            "not permitted": (403, error),
            "a page of a proxy": (502, f"<html>{said}</html>".encode()),
            "no JSON": (200, f'{{"total_count": "{said}"'.encode()),
        }
        if self.kind in answers:
            await _answer(send, *answers[self.kind])
        elif self.kind == "writes refused" and post:
            await _answer(send, 409, error)
        elif self.kind == "writes unknown" and post:
            await _answer(send, 500, error)
        elif self.kind == "an odd job" and post:
            await _answer(send, 200, json.dumps({"job_id": said}).encode())
        elif self.kind == "a secret for a job id" and post:
            await _answer(send, 200, json.dumps({"job_id": SK}).encode())
        else:
            await self._spoiled(scope, receive, send)

    async def _spoiled(self, scope: Scope, receive: Receive, send: Send) -> None:
        head: MutableMapping[str, Any] = {}
        body = b""

        async def take(message: MutableMapping[str, Any]) -> None:
            nonlocal body
            head.update(message if message["type"] == "http.response.start" else {})
            body += message.get("body", b"")

        await self.app(scope, receive, take)
        document = json.loads(body)
        if self.kind == "failed jobs" and "-jobs" in scope["path"]:
            document = _with(document, {"status": "FAIL", "fail_reason": self.said})
        if self.kind == "names":
            document = _with(document, {"status": self.said, "description": self.said})
        if self.kind == "people":
            names = ("user_name", "computer_name", "attach_user_infos", "volume_id", "kms_id")
            document = _with(document, dict.fromkeys(names, self.said) | {"attach_user_infos": None})
        await _answer(send, head["status"], json.dumps(document).encode())


def _with(document: Any, texts: Mapping[str, str | None]) -> Any:
    if isinstance(document, list):
        return [_with(each, texts) for each in document]
    if isinstance(document, dict):
        return {key: texts.get(key, _with(each, texts)) for key, each in document.items()} | (
            {"fail_reason": texts["fail_reason"]} if "fail_reason" in texts and "status" in document else {}
        )
    return document


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode()), (b"x-request-id", SECURITY.encode())]
    headers += [(b"x-reconciler-sandbox", b"echo")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def planted(folder: Path, url: str, hook: str = "") -> dict[str, str]:
    """An environment with a secret in every setting; the sandbox accepts the first."""
    credentials = folder / "credentials"
    credentials.write_text(f"[basic]\nak = A\nsk = {FILE_SK}\nsecurity_token = {FILE_SECURITY}\n")
    return {
        "RECONCILER_ENDPOINT": url,
        "RECONCILER_IAM_ENDPOINT": url,
        "HUAWEICLOUD_SDK_AK": sandbox.ACCESS_KEY,
        "HUAWEICLOUD_SDK_SK": SK,
        "HW_ACCESS_KEY": "A",
        "HW_SECRET_KEY": HW_SK,
        "HW_SECURITY_TOKEN": HW_SECURITY,
        "HW_AUTH_TOKEN": HW_TOKEN,
        "HW_USER_NAME": "u",
        "HW_DOMAIN_NAME": "d",
        "HW_USER_PASSWORD": HW_PASSWORD,
        "OS_AUTH_TOKEN": OS_TOKEN,
        "OS_SECRET_KEY": OS_SK,
        "OS_PASSWORD": OS_PASSWORD,
        "HUAWEICLOUD_SDK_CREDENTIALS_FILE": str(credentials),
        "MY_SECURITY_TOKEN": SECURITY,
        "MY_JOURNAL": f"postgresql://u:{quote(JOURNAL, safe='')}@db/j",
        "PGPASSWORD": PG_PASSWORD,
        "HTTPS_PROXY": f"http://u:{quote(HTTPS_PROXY, safe='')}@127.0.0.1:9",
        "ALL_PROXY": f"socks5://u:{quote(ALL_PROXY, safe='')}@127.0.0.1:9",
        "RECONCILER_WEBHOOK": f"{hook or url}/{quote(HOOK)} {hook or url}/?key={quote(HOOKS, safe='')} "
        + (hook or url).replace("//", f"//u:{quote(HOOK_PASSWORD, safe='')}@"),
        "GITHUB_TOKEN": CI_TOKEN,
        "IAM_TOKEN": IAM_TOKEN,
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "RECONCILER_LOG": "debug",
    }


def check(folder: Path, *runs: Ran) -> str:
    """Everything that was printed or written; fails where a secret stands in it."""
    texts = {f"run {number}": ran.out + ran.err for number, ran in enumerate(runs)}
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "credentials":
            texts[str(path)] = path.read_bytes().decode("utf-8", "backslashreplace")
    assert {name: (found, text) for name, text in texts.items() if (found := leaks(text))} == {}
    return "".join(ran.out + ran.err for ran in runs)


OUT = ("--out", "plan.bin", "--out-json", "p.json", "--out-html", "p.html", "--out-markdown", "p.md")
COMMANDS = (
    ("plan", "pools.yaml", *OUT),
    ("apply", "pools.yaml", "--auto-approve", "--wait-timeout", "30s", "--format", "json"),
    ("drift", "pools.yaml", "--format", "json", "--log-file", "run.log", "--log-format=json"),
    ("resolve",),
    ("explain", "finance-analysts", "pools.yaml"),
    ("import", "--out", "imported", "--region", sandbox.REGION, "--project-id", sandbox.PROJECT_ID),
    ("report", "--out", "report.html"),
    ("history", "--format", "json"),
)


def everything(run: Run, folder: Path, env: Mapping[str, str]) -> str:
    """Run every command, and look at all that is left."""
    runs = [run(*each, env=env) for each in COMMANDS]
    for known in json.loads(runs[-1].out)["runs"]:
        runs.append(run("history", "show", known["id"], env=env))
    return check(folder, *runs)


def test_every_secret_is_another_one() -> None:
    assert len(set(SECRETS)) == 20
    for name, form in FORMS.items():
        assert [secret for secret in SECRETS[1:] if leaks(f"you sent {form(secret)}") != [secret]] == [], name


def _few_desktops() -> World:
    """The default world with two desktops in each pool: each repeats the same secrets in the same places."""
    world = sandbox.default_world()
    for pool in world["projects"][sandbox.PROJECT_ID]["pools"].values():
        del pool["desktops"][2:]
    return world


@pytest.mark.parametrize("kind", [
    "every call refused", "not permitted", "a page of a proxy", "no JSON", "writes refused", "writes unknown",
    "an odd job", "a secret for a job id", "failed jobs", "names", "people",
])  # fmt: skip
def test_a_service_that_repeats_secrets_puts_them_nowhere(run: Run, tmp_path: Path, kind: str) -> None:
    manifest(tmp_path, [FINANCE])
    app = sandbox.create_app(sandbox.Store.memory(_few_desktops()))
    with listening(Echo(kind, app)) as url:
        said = everything(run, tmp_path, planted(tmp_path, url))
    assert "***" in said or kind in ("a page of a proxy", "no JSON")


LOGINS: Mapping[str, tuple[str, ...]] = {
    "a token": ("HW_AUTH_TOKEN",),
    "a password": ("HW_USER_NAME", "HW_DOMAIN_NAME", "HW_USER_PASSWORD"),
    "a file": ("HUAWEICLOUD_SDK_CREDENTIALS_FILE",),
}


@pytest.mark.parametrize("login", LOGINS)
def test_a_login_that_repeats_secrets_puts_them_nowhere(run: Run, tmp_path: Path, login: str) -> None:
    manifest(tmp_path, [FINANCE])
    said = noise(frozenset() if login == "a file" else IN_FILE)
    with listening(Echo("every call refused", None, said)) as url:
        env = planted(tmp_path, url)
        others = [each for each in env if each.startswith(("HW_", "OS_", "HUAWEICLOUD_"))]
        for name in set(others) - set(LOGINS[login]):
            env[f"OTHER_TOOL_{name}"] = env.pop(name)  # still in the environment, but not used
        ran = run("plan", "pools.yaml", env=env)
    assert ran.code == 1, ran.err
    check(tmp_path, ran)


TEMPORARY: Mapping[str, dict[str, str]] = {
    "oidc": {
        "HUAWEICLOUD_OIDC_PROVIDER_URN": "iam::d:oidc-provider:p",
        "HUAWEICLOUD_OIDC_AGENCY_URN": "iam::d:agency:a",
        "HUAWEICLOUD_OIDC_TOKEN_FILE": "id-token",
    },
    "an agency": {
        "HW_ACCESS_KEY": "A" * 20,
        "HW_SECRET_KEY": HW_SK,
        "HW_ASSUME_ROLE_AGENCY_NAME": "a",
        "HW_ASSUME_ROLE_DOMAIN_NAME": "d",
    },
    "a container": {"HC_CONTAINER_AUTHORIZATION_TOKEN_FILE": "id-token"},
}


@pytest.mark.parametrize("kind", ["every call refused", "a page of a proxy", "no JSON"])
@pytest.mark.parametrize("identity", TEMPORARY)
def test_who_gives_temporary_keys_and_repeats_secrets_puts_them_nowhere(
    run: Run, tmp_path: Path, identity: str, kind: str
) -> None:
    manifest(tmp_path, [FINANCE])
    (tmp_path / "id-token").write_text(IAM_TOKEN)
    with listening(Echo(kind, None, noise())) as url:
        env = planted(tmp_path, url) | {"RECONCILER_STS_ENDPOINT": url}
        others = [
            each for each in env if each.startswith(("HW_", "OS_", "HUAWEICLOUD_")) or each == "IAM_TOKEN"
        ]
        for name in others:
            env[f"OTHER_TOOL_{name}"] = env.pop(name)
        del env["OTHER_TOOL_IAM_TOKEN"]  # known from the file alone
        env |= TEMPORARY[identity]
        if identity == "a container":
            env["HC_CONTAINER_CREDENTIALS_FULL_URI"] = f"{url}/keys"
        else:
            env["OTHER_TOOL_TOKEN"] = IAM_TOKEN if identity == "an agency" else "unused"
        ran = run("plan", "pools.yaml", env=env)
    assert ran.code == 1, ran.err
    (tmp_path / "id-token").unlink()
    check(tmp_path, ran)


LIBRARY: list[Callable[[str], Exception]] = [
    *(httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.LocalProtocolError, httpx.ProxyError),
    *(httpx.RemoteProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.DecodingError),
    *(httpx.PoolTimeout, httpx.ReadTimeout, OSError, RuntimeError, ValueError, UnicodeError),
]


@pytest.mark.parametrize("error", LIBRARY, ids=lambda each: each.__name__)
def test_a_library_whose_error_repeats_secrets_puts_them_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[str], Exception]
) -> None:
    async def fail(*_: object) -> None:
        raise error(f"Illegal header value {noise()!r}")

    manifest(tmp_path, [FINANCE])
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", fail)
    env = bare(tmp_path) | planted(tmp_path, "https://workspace.example.com", "https://hooks.example.com")
    env |= {"RECONCILER_DEBUG": "1"}  # which prints the traceback of an error that nobody thought of
    check(tmp_path, run_inside(("drift", "pools.yaml", "--format", "json"), env, tmp_path, "", TIME))


@contextmanager
def talking(said: bytes) -> Iterator[int]:
    """A server that says this to everybody, whatever it is asked; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with suppress(OSError), connection:
                        if connection.recv(65536)[4:8] == struct.pack("!HH", 1234, 5679):
                            connection.sendall(b"N")  # PostgreSQL without TLS
                            connection.recv(65536)
                        connection.sendall(said)
                        connection.shutdown(socket.SHUT_WR)
                        connection.recv(65536)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_a_proxy_that_repeats_secrets_puts_them_nowhere_and_is_named(run: Run, tmp_path: Path) -> None:
    manifest(tmp_path, [FINANCE])
    said = noise().replace("\n", " ").encode()
    with talking(b"HTTP/1.1 407 " + said + b"\r\nContent-Length: 0\r\n\r\n") as port:
        env = planted(tmp_path, "https://workspace.example.com")
        env["HTTPS_PROXY"] = env["HTTPS_PROXY"].replace(":9", f":{port}")
        ran = run("plan", "pools.yaml", env=env)
    assert (ran.code, f"through the proxy http://127.0.0.1:{port} (HTTPS_PROXY)" in ran.err) == (1, True), (
        ran.err
    )
    assert "***" in check(tmp_path, ran)


def test_a_database_that_repeats_secrets_puts_them_nowhere(run: Run, tmp_path: Path) -> None:
    manifest(tmp_path, [FINANCE])
    fields = b"SFATAL\0C28P01\0M" + noise().encode() + b"\0\0"
    with talking(b"E" + struct.pack("!I", len(fields) + 4) + fields) as port:
        env = planted(tmp_path, "https://workspace.example.com")
        at = f"127.0.0.1:{port}/j"
        for url in (
            f"postgresql://u:{quote(JOURNAL, safe='')}@{at}",
            f"postgresql://u@{at}?password={quote(JOURNAL, safe='')}",
        ):
            runs = [
                run("history", env=env | {"RECONCILER_JOURNAL": url}),
                run("history", "--journal", url, env=env),
                run("report", "--out", "r.html", "--journal", url, env=env),
            ]
            assert [each.code for each in runs] == [10, 10, 10], runs[0].err
            assert "***" in check(tmp_path, *runs)


@pytest.mark.parametrize("status", [200, 302, 500])
def test_a_webhook_that_repeats_secrets_puts_them_nowhere(run: Run, tmp_path: Path, status: int) -> None:
    async def repeat(_: Request) -> Response:
        said = noise()
        return Response(
            said, status, {"Location": f"https://elsewhere/{quote(said)}", "X-Request-Id": SECURITY}
        )

    manifest(tmp_path, [FINANCE])
    hooks = Starlette(routes=[Route("/{path:path}", repeat, methods=["POST"])])
    service = sandbox.create_app(sandbox.Store.memory(sandbox.default_world()))
    with listening(hooks) as hook, listening(service) as url:
        ran = run("drift", "pools.yaml", env=planted(tmp_path, url, hook))
    assert ran.code == 2, ran.err
    assert ran.err.count("was not delivered") == (0 if status == 200 else 3)
    check(tmp_path, ran)


@pytest.mark.parametrize("name", [
    "HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN", "HW_REGION_NAME", "HW_PROJECT_ID",
    "RECONCILER_ENDPOINT", "RECONCILER_IAM_ENDPOINT", "RECONCILER_JOURNAL", "RECONCILER_CONCURRENCY", "ALL_PROXY",
    "HTTPS_PROXY", "RECONCILER_WEBHOOK", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE",
])  # fmt: skip
def test_a_secret_in_the_wrong_place_or_with_a_line_break_is_refused_and_not_repeated(
    run: Run, tmp_path: Path, name: str
) -> None:
    manifest(tmp_path, [FINANCE])
    env = planted(tmp_path, "https://workspace.example.com") | {
        "RECONCILER_IAM_ENDPOINT": "",
        "RECONCILER_WEBHOOK": "",
    }
    env |= {"HTTPS_PROXY": ""} if name == "ALL_PROXY" else {}
    ran = run("drift", "pools.yaml", env=env | {name: f"{SECURITY}\n{CI_TOKEN}"})
    assert ran.code == 9, ran.err
    check(tmp_path, ran)
