"""Delivers a message to one webhook: a JSON POST to a web address, or through ``apprise``.

What to send, and when, is left to ``cli``. An address is a secret, since everyone who knows it can post:
nothing here shows more of it than its scheme and host. What may pass by itself is tried again, a few times; a message
may therefore arrive twice, which is better than not at all.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from reconciler import DISTRIBUTION
from reconciler.api.outcome import retry_after
from reconciler.api.transport import ProtocolError, fetch, httpx, open_http, route
from reconciler.clock import Clock
from reconciler.credentials import Secret
from reconciler.errors import BadInput, ServiceError
from reconciler.redaction import redact
from reconciler.render.message import EVERYBODY, Message
from reconciler.safe_text import safe_text
from reconciler.settings import is_loopback, parts_of_address
from reconciler.values import Struct

SECONDS = 10.0
"""Seconds for one try, however slowly the other side answers."""
WAITS = (1.0, 3.0)
"""Seconds before the second try and the third, which is the last."""
LONGEST_WAIT = 15.0
"""Seconds that a ``Retry-After`` is waited for; who asks for more gets no other try."""
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be others a moment later (RFC 9110 and 6585)."""
_WEB = ("http", "https")
_JSON = ("json", "jsons")
"""Services of apprise that take JSON: they get the values next to title and text."""
# What the plugins of apprise log: "…, error=503." with the status, or "A Connection error occurred …".
_PASSING = re.compile(rf"error={'|error='.join(map(str, sorted(TRANSIENT)))}|connection error", re.IGNORECASE)


class Webhook(Struct, frozen=True):
    """One address to notify."""

    url: Secret
    shown: str
    """How messages may name it: scheme and host, or the scheme alone."""
    web: bool
    """True: a JSON POST; False: a service that ``apprise`` knows."""
    owner: str = EVERYBODY
    """Whose pools it hears of."""


class Undelivered(ServiceError):
    """The message may not have arrived."""

    def __init__(self, message: str, *, transient: bool, wait: float = 0.0) -> None:
        super().__init__(message)
        self.transient = transient
        """True where another try may succeed."""
        self.wait = wait
        """Seconds that the other side asks to wait."""


def webhook(text: str, owner: str = EVERYBODY) -> Webhook:
    """Read an address given by a flag or a variable; raises ``BadInput``, whose message does not repeat it."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise _unreadable() from None
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*", parts.scheme) or not text.isprintable():
        raise _unreadable()
    if parts.scheme not in _WEB:
        return _through_apprise(text, parts.scheme, owner)
    if not host:
        raise _unreadable()
    shown = f"{parts.scheme}://{safe_text(host)}"
    if parts.scheme == "http" and not is_loopback(host):
        raise BadInput(
            f"the webhook {shown}/… would be sent unencrypted",
            "use https; http is allowed only to this machine",
        )
    route(text)  # refuses network settings that cannot be used, before anything is done
    return Webhook(Secret(text, parts_of_address(text)), f"{shown}/…", True, owner)


async def deliver(target: Webhook, message: Message, clock: Clock, seconds: float = SECONDS) -> None:
    """Deliver, with a few tries of ``seconds`` each; raises ``Undelivered`` when the message may not have arrived."""
    tried = 1
    while True:
        try:
            return await _once(target, message, clock, seconds)
        except Undelivered as error:
            if not error.transient or tried > len(WAITS) or error.wait > LONGEST_WAIT:
                again = f" (tried {tried} times)" if tried > 1 else ""
                raise Undelivered(f"{error.message}{again}", transient=error.transient) from None
            await clock.sleep(max(WAITS[tried - 1], error.wait))
        tried += 1


async def _once(target: Webhook, message: Message, clock: Clock, seconds: float) -> None:
    if target.web:
        await _post(target, message, clock, seconds)
        return
    # A daemon thread does not keep the process alive, so a library that hangs cannot delay a stop.
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_Answer] = loop.create_future()

    def arrive(answer: _Answer) -> None:
        if not done.done():
            done.set_result(answer)

    def work() -> None:
        answer = _notify(target, message)
        with suppress(RuntimeError):  # the loop has ended, so nobody waits for the answer any more
            loop.call_soon_threadsafe(arrive, answer)

    threading.Thread(target=work, daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            answer = await done
    except TimeoutError:
        raise _undelivered(target, f"no end after {seconds:.0f} s", transient=True) from None
    if not answer.arrived:
        why = "the service did not accept the message"
        raise _undelivered(target, why, transient=answer.transient)


async def _post(target: Webhook, message: Message, clock: Clock, seconds: float) -> None:
    url = target.url.reveal()
    proxy, _ = route(url)
    via = f" through the proxy {proxy.shown}" if proxy else ""
    try:
        async with open_http(url, idle_connections=0) as http:
            request = http.build_request(
                "POST",
                url,
                content=json.dumps(_redacted(message.values)).encode(),
                headers={"Content-Type": "application/json"},
            )
            answer = await fetch(http, request, seconds)
    except TimeoutError:
        raise _undelivered(target, f"no answer within {seconds:.0f} s{via}", transient=True) from None
    except httpx.ConnectError:
        raise _undelivered(target, f"it cannot be reached{via}", transient=True) from None
    except (httpx.InvalidURL, ProtocolError, ValueError):
        raise _undelivered(target, f"the connection failed{via}") from None
    except (httpx.HTTPError, OSError):
        raise _undelivered(target, f"the connection failed{via}", transient=True) from None
    if 300 <= answer.status < 400:
        raise _undelivered(target, f"it redirects (HTTP {answer.status}), which is not followed")
    if not 200 <= answer.status < 300:
        raise _undelivered(
            target,
            f"it answered HTTP {answer.status}",
            transient=answer.status in TRANSIENT,
            wait=retry_after(answer.headers, clock.now()) or 0.0,
        )


def _through_apprise(text: str, scheme: str, owner: str) -> Webhook:
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
    return Webhook(Secret(text, parts_of_address(text)), f"{scheme}://…", False, owner)


class _Answer(Struct, frozen=True):
    """What apprise says of a message."""

    arrived: bool
    transient: bool = False


class _Ear(logging.Handler):
    """Hears in what the plugins log whether a failure may pass; keeps no word of it.

    They log in threads of their own, so another webhook's failure is heard as well: that costs a try too many at most.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.transient = False

    def emit(self, record: logging.LogRecord) -> None:
        """Note what a record means."""
        self.transient |= _PASSING.search(record.getMessage()) is not None


def _notify(target: Webhook, message: Message) -> _Answer:
    import apprise  # noqa: PLC0415 - an extra, and costly

    logger, ear = logging.getLogger("apprise"), _Ear()
    logger.addHandler(ear)
    try:
        service = apprise.Apprise.instantiate(target.url.reveal())
        resolve = getattr(
            service, "resolve_format", None
        )  # since apprise 2: a service may take several forms
        form = resolve() if resolve else getattr(service, "notify_format", None)
        marked = form in (apprise.NotifyFormat.MARKDOWN, apprise.NotifyFormat.HTML)
        extras = getattr(service, "payload_extras", None)
        if target.url.reveal().partition("://")[0] in _JSON and isinstance(extras, dict):
            extras.setdefault("reconciler", _redacted(message.values))
        sender = apprise.Apprise()
        sender.add(service or [])
        arrived = sender.notify(
            title=redact(message.title),
            body=redact(message.markdown if marked else message.text),
            body_format=apprise.NotifyFormat.MARKDOWN if marked else apprise.NotifyFormat.TEXT,
            notify_type=apprise.NotifyType(message.level.value),
        )
        return _Answer(bool(arrived), ear.transient)
    except Exception:  # one of a hundred plugins may raise anything, and the run must not fail with it
        return _Answer(False)
    finally:
        logger.removeHandler(ear)


def _redacted(value: Any) -> Any:
    """The value without a known secret in any of its texts: a message is an output like any other."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {name: _redacted(each) for name, each in value.items()}
    return [_redacted(each) for each in value] if isinstance(value, list | tuple) else value


def _quiet() -> None:
    """Silence libraries that log addresses, because an address is a secret."""
    for name in ("apprise", "urllib3"):
        logger = logging.getLogger(name)
        logger.propagate = False
        logger.handlers[:] = [logging.NullHandler()]


def _unreadable() -> BadInput:
    return BadInput(
        "a webhook (--webhook, RECONCILER_WEBHOOK or RECONCILER_WEBHOOK_OWNER) is not an address",
        "use https://host/path, or an apprise address such as slack://… or dingtalk://…",
    )


def _undelivered(target: Webhook, why: str, *, transient: bool = False, wait: float = 0.0) -> Undelivered:
    whose = f" of {target.owner}" if target.owner else ""
    return Undelivered(
        f"the webhook {target.shown}{whose} was not delivered: {why}", transient=transient, wait=wait
    )
