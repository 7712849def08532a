"""Proxies and certificates of the environment: used as curl does, or refused by name and without their value."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import os
import ssl
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from reconciler.api.transport import fetch, httpx, open_http, through
from reconciler.errors import BadInput, ExitCode
from reconciler.network import certificates, proxy_for, trusted
from tests.api.fake_servers import answer, listening, read_request, script
from tests.certificates import authority_for

SERVICE = "https://workspace.example.com"
PROXY = {"HTTPS_PROXY": "http://user:swordfish@proxy.example.com:3128"}


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(BadInput) as caught:
        act()
    assert caught.value.exit_code is ExitCode.BAD_INPUT
    (fault,) = caught.value.faults
    assert "swordfish" not in str(fault)
    return fault.what


def test_a_proxy_is_found_as_curl_finds_it_and_shown_without_its_password() -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        found = proxy_for(SERVICE, {name: PROXY["HTTPS_PROXY"]})
        assert found is not None
        assert found.shown == f"http://proxy.example.com:3128 ({name})"
        assert "swordfish" not in repr(found)
    both = proxy_for(SERVICE, {"HTTPS_PROXY": "http://upper:1", "https_proxy": "lower:2"})
    assert both is not None
    assert both.url == "http://lower:2"
    assert proxy_for("http://169.254.169.254", PROXY) is None
    assert proxy_for(SERVICE, {}) is None


@pytest.mark.parametrize(
    ("host", "entry", "direct"),
    [
        ("workspace.example.com", "*", True),
        ("workspace.example.com", "example.com", True),
        ("workspace.example.com", ".example.com", True),
        ("workspace.example.com", "*.example.com", True),
        ("workspace.example.com", "EXAMPLE.com", True),
        ("workspace.example.com", "https://example.com", True),
        ("workspace.example.com", "ample.com", False),
        ("workspace.example.com", "example.com:443", True),
        ("workspace.example.com", "example.com:8443", False),
        ("workspace.example.com:8443", "example.com:8443", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8, 11.1.2.3", True),
        ("12.1.2.3", "10.0.0.0/8 11.1.2.3", False),
        ("[fd00::17]", "fd00::/8", True),
        ("[fd00::17]", "[fd00::]/8", True),
        ("[fe80::17]", "fd00::/8", False),
        ("[fd00::17]", "fd00:0::17", True),
        ("[fd00::17]", "[fd00::17]", True),
        ("[fd00::17]", "[fd00::17]:443", True),
        ("[fd00::17]", "[fd00::17]:8443", False),
        ("[fd00::17]", "::1,example.com", False),
        ("workspace.example.com", "::1,fd00::/8,10.0.0.0/8", False),
        ("workspace.example.com", "", False),
    ],
)
def test_no_proxy_takes_domains_addresses_and_networks_of_both_kinds(
    host: str, entry: str, direct: bool
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        assert (proxy_for(f"https://{host}", PROXY | {name: entry}) is None) is direct


@pytest.mark.parametrize(
    "text",
    [
        "http://swordfish:port",
        "http://user:swordfish@proxy:99999",
        "http://user:swordfish@",
        "http://",
        "http://[::1",
        "http://user:sword@fish@proxy:3128",
        "http://proxy:3128/path/swordfish",
        "http://proxy:3128?swordfish",
        "http://pro xy:3128",
        "http://prоxy:3128",
        "ftp://user:swordfish@proxy:21",
        "socks4://swordfish:1080",
        "://swordfish",
    ],
)
def test_a_proxy_that_cannot_be_one_is_refused_by_the_name_of_its_variable(text: str) -> None:
    for name in ("HTTPS_PROXY", "all_proxy"):
        assert refused(lambda: proxy_for(SERVICE, {name: text})).startswith(f"{name} is ")  # noqa: B023


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "fd00::/129", "fd00::/x", "example.com/8"])
def test_a_network_that_is_none_is_refused(entry: str) -> None:
    what = refused(lambda: proxy_for(SERVICE, PROXY | {"NO_PROXY": f"example.com,{entry}"}))
    assert what.startswith("NO_PROXY has an entry")


def test_a_socks_proxy_without_the_extra_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_for(SERVICE, {"ALL_PROXY": "socks5://proxy:1080"}) is not None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "the extra 'socks'" in refused(lambda: proxy_for(SERVICE, {"ALL_PROXY": "socks5://proxy:1080"}))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("SSL_CERT_FILE", lambda path: None),
        ("SSL_CERT_FILE", lambda path: path.mkdir()),
        ("SSL_CERT_FILE", lambda path: path.write_text("")),
        ("SSL_CERT_FILE", lambda path: path.write_text("swordfish")),
        ("SSL_CERT_FILE", os.mkfifo),
        ("SSL_CERT_DIR", lambda path: None),
        ("SSL_CERT_DIR", lambda path: path.write_text("")),
        ("SSLKEYLOGFILE", lambda path: path.mkdir()),
        ("SSLKEYLOGFILE", os.mkfifo),
    ],
)
def test_files_of_certificates_that_cannot_serve_are_refused_by_name(
    tmp_path: Path, name: str, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "place")
    assert (
        refused(lambda: trusted({name: str(tmp_path / "place")})).startswith(f"{name} names a f")
        or name == "SSL_CERT_FILE"
    )
    assert refused(lambda: trusted({name: str(tmp_path / "place")})).startswith(name)


def test_a_key_log_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert refused(lambda: trusted({"SSLKEYLOGFILE": str(tmp_path / "no" / "log")})).startswith(
        "SSLKEYLOGFILE"
    )


def test_the_systems_certificates_are_trusted_and_those_of_the_environment_take_their_place(
    tmp_path: Path,
) -> None:
    file, folder = certificates({})
    assert file or folder
    authority = authority_for(tmp_path, "company")
    assert certificates({"SSL_CERT_FILE": str(authority)}) == (str(authority), None)
    found = trusted({"SSL_CERT_FILE": str(authority)})
    assert found.verify_mode is ssl.CERT_REQUIRED
    assert found.check_hostname
    assert len(found.get_ca_certs()) == 1


def test_a_companys_authority_is_trusted_once_the_environment_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = authority_for(tmp_path, "company")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(authority, tmp_path / "company.key")

    async def ask() -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(answer(200, {}))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=serving)
        base = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        async with server, open_http(base) as http:
            return (await fetch(http, http.build_request("GET", base), 5)).status

    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        asyncio.run(ask())
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert asyncio.run(ask()) == 200


def test_a_proxy_that_speaks_something_else_is_a_failure_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(3)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async def run() -> str:
        async with listening(babble) as at:
            monkeypatch.setenv("ALL_PROXY", at.replace("http://", "socks5://user:swordfish@"))
            async with open_http(SERVICE) as http:
                with pytest.raises(httpx.ProxyError):
                    await fetch(http, http.build_request("GET", SERVICE), 5)
                return through(http)

    for name in ("NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the library leaves such a connection open
        words = asyncio.run(run())
        gc.collect()
    assert words.startswith(" through the proxy socks5://127.0.0.1:")
    assert words.endswith(" (ALL_PROXY)")
    assert "swordfish" not in words


async def _tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Carry bytes both ways between a client and a port of this machine."""
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()

    try:
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer), return_exceptions=True)
    finally:
        far_writer.close()
        with contextlib.suppress(OSError):
            await far_writer.wait_closed()


async def _connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """An HTTP proxy's part of the conversation; returns what it was told."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    credentials = head.partition("Proxy-Authorization: Basic ")[2].split("\r\n")[0]
    return f"{head.split()[1]} {base64.b64decode(credentials).decode()}"


async def _socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """A SOCKS5 proxy's part (RFC 1928, RFC 1929); returns what it was told."""
    _, methods = await reader.readexactly(2)
    assert 2 in await reader.readexactly(methods)
    writer.write(b"\x05\x02")
    _, length = await reader.readexactly(2)
    user = await reader.readexactly(length)
    password = await reader.readexactly((await reader.readexactly(1))[0])
    writer.write(b"\x01\x00")
    kind, length = (await reader.readexactly(5))[3:]
    assert kind == 3
    host = await reader.readexactly(length)
    port = int.from_bytes(await reader.readexactly(2))
    writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
    return f"{host.decode()}:{port} {user.decode()}:{password.decode()}"


@pytest.mark.parametrize(("scheme", "greet"), [("http", _connect), ("socks5", _socks)])
def test_a_proxy_of_either_kind_carries_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, greet: Callable[..., Awaitable[str]]
) -> None:
    certificate = authority_for(tmp_path, "workspace.example.com")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, certificate.with_suffix(".key"))
    for name in ("NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    told: list[str] = []

    async def ask() -> int:
        service = script(answer(200, {}))
        async with listening(service.handle, tls=serving) as behind:
            port = int(behind.rsplit(":", 1)[1])

            async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                told.append(await greet(reader, writer))
                await _tunnel(reader, writer, port)

            async with listening(proxy) as at:
                monkeypatch.setenv("ALL_PROXY", at.replace("http://", f"{scheme}://user:sword%40fish@"))
                async with open_http(SERVICE) as http:
                    return (await fetch(http, http.build_request("GET", SERVICE), 10)).status

    assert asyncio.run(ask()) == 200
    assert told == ["workspace.example.com:443 user:sword@fish"]
