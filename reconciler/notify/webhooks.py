"""Delivers a message to one webhook: a JSON POST to a web address, or through ``apprise``.

What to send, and when, is left to ``cli``. An address is a secret, since everyone who knows it can post:
nothing here shows more of it than its scheme and host.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from reconciler import DISTRIBUTION
from reconciler.api.transport import ProtocolError, fetch, httpx, open_http, route
from reconciler.credentials import Secret
from reconciler.errors import BadInput, ServiceError
from reconciler.render.message import Message
from reconciler.safe_text import safe_text
from reconciler.settings import is_loopback, parts_of_address

SECONDS = 10.0
"""Seconds for the whole delivery, however slowly the other side answers."""
_WEB = ("http", "https")


@dataclass(frozen=True, slots=True)
class Webhook:
    """One address to notify."""

    url: Secret
    shown: str
    """How messages may name it: scheme and host, or the scheme alone."""
    web: bool
    """True: a JSON POST; False: a service that ``apprise`` knows."""


def webhook(text: str) -> Webhook:
    """Read an address given by a flag; raises ``BadInput``, whose message does not repeat it."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise _unreadable() from None
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*", parts.scheme) or not text.isprintable():
        raise _unreadable()
    if parts.scheme not in _WEB:
        return _through_apprise(text, parts.scheme)
    if not host:
        raise _unreadable()
    shown = f"{parts.scheme}://{safe_text(host)}"
    if parts.scheme == "http" and not is_loopback(host):
        raise BadInput(
            f"the webhook {shown}/… would be sent unencrypted",
            "use https; http is allowed only to this machine",
        )
    route(text)  # refuses network settings that cannot be used, before anything is done
    return Webhook(Secret(text, parts_of_address(text)), f"{shown}/…", web=True)


async def deliver(target: Webhook, message: Message, seconds: float = SECONDS) -> None:
    """Deliver once, within ``seconds``; raises ``ServiceError`` when the message may not have arrived."""
    if target.web:
        await _post(target, message, seconds)
        return
    # A daemon thread does not keep the process alive, so a library that hangs cannot delay a stop.
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bool] = loop.create_future()

    def arrive(arrived: bool) -> None:
        if not done.done():
            done.set_result(arrived)

    def work() -> None:
        arrived = _notify(target.url.reveal(), message)
        with suppress(RuntimeError):  # the loop has ended, so nobody waits for the answer any more
            loop.call_soon_threadsafe(arrive, arrived)

    threading.Thread(target=work, daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            arrived = await done
    except TimeoutError:
        raise _undelivered(target, f"no end after {seconds:.0f} s") from None
    if not arrived:
        raise _undelivered(target, "the service did not accept the message")


async def _post(target: Webhook, message: Message, seconds: float) -> None:
    url = target.url.reveal()
    proxy, _ = route(url)
    via = f" through the proxy {proxy.shown}" if proxy else ""
    try:
        async with open_http(url, idle_connections=0) as http:
            request = http.build_request(
                "POST",
                url,
                content=json.dumps(message.values).encode(),
                headers={"Content-Type": "application/json"},
            )
            answer = await fetch(http, request, seconds)
    except TimeoutError:
        raise _undelivered(target, f"no answer within {seconds:.0f} s{via}") from None
    except httpx.ConnectError:
        raise _undelivered(target, f"it cannot be reached{via}") from None
    except (httpx.HTTPError, httpx.InvalidURL, ProtocolError, OSError, ValueError):
        raise _undelivered(target, f"the connection failed{via}") from None
    if 300 <= answer.status < 400:
        raise _undelivered(target, f"it redirects (HTTP {answer.status}), which is not followed")
    if not 200 <= answer.status < 300:
        raise _undelivered(target, f"it answered HTTP {answer.status}")


def _through_apprise(text: str, scheme: str) -> Webhook:
    try:
        import apprise  # noqa: PLC0415 - an extra, and costly
    except ImportError:
        raise BadInput(
            f"messages to {scheme}:// need the extra 'notify', which is not installed",
            f"install reconciler again from where it came, with its extra: {DISTRIBUTION}[notify], or .[notify] in a "
            "checkout; or use an https address, which gets JSON",
        ) from None
    _quiet()
    if not apprise.Apprise().add(text):
        raise BadInput(
            f"apprise does not understand this {scheme}:// address",
            "see the apprise documentation for the form of this service's address",
        )
    return Webhook(Secret(text, parts_of_address(text)), f"{scheme}://…", web=False)


def _notify(url: str, message: Message) -> bool:
    import apprise  # noqa: PLC0415 - an extra, and costly

    service = apprise.Apprise()
    service.add(url)
    try:
        return bool(
            service.notify(title=message.title, body=message.text, body_format=apprise.NotifyFormat.TEXT)
        )
    except Exception:  # one of a hundred plugins may raise anything, and the run must not fail with it
        return False


def _quiet() -> None:
    """Silence libraries that log addresses, because an address is a secret."""
    for name in ("apprise", "urllib3"):
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.handlers[:] = [logging.NullHandler()]


def _unreadable() -> BadInput:
    return BadInput(
        "a webhook (--webhook or RECONCILER_WEBHOOK) is not an address",
        "use https://host/path, or an apprise address such as slack://… or dingtalk://…",
    )


def _undelivered(target: Webhook, why: str) -> ServiceError:
    return ServiceError(f"the webhook {target.shown} was not delivered: {why}")
