"""Decides which proxy and which certificates a connection uses, as the environment says.

A setting that cannot be used is refused by its name; its value, which may hold a password, is never repeated.
``api`` opens the connections.
"""

from __future__ import annotations

import functools
import importlib.util
import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from reconciler.errors import BadInput, Fault
from reconciler.files import is_regular
from reconciler.values import Struct

_PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""In the order of curl; plain http goes to this machine only, and through no proxy."""
_EXCEPTIONS = ("no_proxy", "NO_PROXY")
_SCHEMES = ("http", "https", "socks5", "socks5h")
_HOW_PROXY = (
    "write http://host:port or http://user:password@host:port, and in the password @ as %40 and / as %2F"
)
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Red Hat
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)
"""Where systems keep their certificates, for a Python that was built elsewhere and looks elsewhere."""


class Proxy(Struct, frozen=True):
    """A proxy and the variable that names it."""

    url: str
    """With its password, if it has one."""
    shown: str
    """For messages: without user and password, and with the variable."""

    def __repr__(self) -> str:
        return f"Proxy({self.shown})"


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for this address, or None; raises ``BadInput`` for settings that cannot be used."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    name, text = _first(environ, _PROXIES)
    if parts.scheme != "https" or not text or _goes_direct(host, parts.port or 443, environ):
        return None
    return _proxy(name, text)


def _proxy(name: str, text: str) -> Proxy:
    address = text if "://" in text else f"http://{text}"  # as curl reads it
    try:
        parts = urlsplit(address)
        port = "" if parts.port is None else f":{parts.port}"
        host = parts.hostname or ""
    except ValueError:
        _refuse(name, f"is not the address of a proxy; {_HOW_PROXY}")
    if parts.scheme not in _SCHEMES:
        _refuse(name, f"is for a kind of proxy that is not supported; use {', '.join(_SCHEMES)}")
    odd = parts.path not in ("", "/") or parts.query or parts.fragment or parts.netloc.count("@") > 1
    if (
        odd
        or not re.fullmatch(r"[A-Za-z0-9._:-]+", host)
        or not (address.isascii() and address.isprintable())
    ):
        _refuse(name, f"is not the address of a proxy; {_HOW_PROXY}")
    if parts.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        _refuse(name, "is a SOCKS proxy, which needs the extra 'socks'; install reconciler with it")
    shown = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"
    return Proxy(address, f"{shown} ({name})")


def _goes_direct(host: str, port: int, environ: Mapping[str, str]) -> bool:
    name, text = _first(environ, _EXCEPTIONS)
    entries = [each for each in re.split(r"[,\s]+", text) if each]
    direct = [_fits(name, each, host, port) for each in entries]  # all of them: any may be one to refuse
    return any(direct)


def _fits(name: str, entry: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY means this host: a domain, an address or a network, perhaps with a port."""
    if entry == "*":
        return True
    address = _address(host)
    text = entry.partition("://")[2] or entry
    if "/" in text.rstrip("/"):
        try:
            network = ipaddress.ip_network(text.replace("[", "").replace("]", ""), strict=False)
        except ValueError:
            _refuse(name, "has an entry with a slash that is not a network; write 10.0.0.0/8 or fd00::/8")
        return address is not None and address in network
    wanted, only = _with_port(text.rstrip("/"))
    if only and only != str(port):
        return False
    if (single := _address(wanted)) is not None or address is not None:
        return single == address
    domain = wanted.removeprefix("*").removeprefix(".").lower()
    return host == domain or host.endswith(f".{domain}")


def _with_port(text: str) -> tuple[str, str]:
    """Host and port of an entry; an IPv6 address may stand in brackets or without."""
    if found := re.fullmatch(r"\[(.*)\](?::(\d+))?", text):
        return found[1], found[2] or ""
    host, _, port = text.partition(":")
    return (text, "") if ":" in port else (host, port)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def trusted(environ: Mapping[str, str]) -> ssl.SSLContext:
    """What is trusted: the system's certificates, or those that the environment names; raises ``BadInput``."""
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
    return _context(*(environ.get(name, "") for name in names))


def certificates(environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The file and the folder of the certificates that are trusted; raises ``BadInput``."""
    file, folder = environ.get("SSL_CERT_FILE", ""), environ.get("SSL_CERT_DIR", "")
    if file or folder:
        _check_file(file)
        for each in folder.split(os.pathsep) if folder else ():
            if not Path(each).is_dir():
                _refuse("SSL_CERT_DIR", "names a folder that does not exist; correct or unset it")
        return file or None, folder or None
    paths = ssl.get_default_verify_paths()
    found_file = next(filter(os.path.isfile, (paths.openssl_cafile, *_BUNDLES)), None)
    found_folder = paths.openssl_capath if os.path.isdir(paths.openssl_capath) else None
    if found_file or (found_folder and os.listdir(found_folder)):
        return found_file, found_folder
    import certifi  # noqa: PLC0415 - only where the system has no certificates

    return certifi.where(), None


@functools.cache
def _context(file: str, folder: str, keys: str) -> ssl.SSLContext:
    """Cached, because reading the certificates takes 25 ms."""
    if keys:
        try:
            if os.path.exists(keys) and not is_regular(Path(keys)):
                raise OSError
            with open(keys, "ab"):
                pass
        except OSError:
            _refuse("SSLKEYLOGFILE", "names a file that cannot be written; correct or unset it")
    named = certificates({"SSL_CERT_FILE": file, "SSL_CERT_DIR": folder})
    return ssl.create_default_context(cafile=named[0], capath=named[1])


def _check_file(file: str) -> None:
    """``ssl.create_default_context`` would take a missing file in silence, and trust nobody."""
    if not file:
        return
    try:
        if not is_regular(Path(file)):
            _refuse("SSL_CERT_FILE", "does not name a file; write the path of a file with certificates (PEM)")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError:
        _refuse("SSL_CERT_FILE", "names a file without certificates; it must hold them as PEM")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        _refuse("SSL_CERT_FILE", f"names a file that cannot be read ({reason}); correct or unset it")


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    """Name and text of the first of these variables that is set."""
    return next(((name, text) for name in names if (text := environ.get(name, "").strip())), ("", ""))


def _refuse(name: str, problem: str) -> NoReturn:
    raise BadInput(
        "a network setting cannot be used", faults=(Fault("<environment>", 0, 0, f"{name} {problem}"),)
    )
