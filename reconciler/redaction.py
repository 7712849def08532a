"""Replaces known secrets in texts from outside: of libraries, the service, proxies and databases.

``Secret`` and ``settings`` say what is secret; ``safe_text`` applies this to every text that it makes safe.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from urllib.parse import quote, quote_plus

from reconciler.values import Struct, field

SHOWN = "***"
"""What stands in place of a secret."""
SHORTEST = 6
"""Characters from which a secret is replaced: a shorter one is none, and would garble every message."""
WINDOW = 12
"""Characters of a longer secret that are replaced wherever they stand together, so that a text that was cut,
or that shows one line of several, gives nothing away."""
HALF = WINDOW // 2

# Patterns as text are compiled when they are first used: few texts need them, and a start needs none.

# A line break inside a text, and what escapes and indentation make of it.
_BREAK = (
    r"(?i:(?:(?<![ \t])[ \t]++)?"  # a run of spaces is tried once, not from each of its places
    r"[=\\]?"  # as mails and shells mark a line that goes on
    r"(?:\\{1,8}(?:[rn]|x0[ad]|u000[ad])|%0[ad]|&#(?:10|13|xa|xd);|&shy;"
    r"|[\r\n\x0b\x0c\x85\xad\u200b\u2028\u2029])[ \t]*)"
)
# The same, and the spaces into which some fold it: only for long pieces, as words stand between spaces too.
_FOLD = rf"(?:{_BREAK}|[ \t]++)+"
_MAY_BREAK = re.compile(r"[\\%&\r\n\x0b\x0c\x85\xad\u200b\u2028\u2029]")
"""What every break holds: cheap to look for in the names of ten thousand pools."""
_ESCAPE = (
    r"(?ai:(?P<bytes>%[c-f][0-9a-f](?:%[89ab][0-9a-f]){1,3}|%[0-9a-f]{2}"
    r"|\\{1,8}x[c-f][0-9a-f](?:\\{1,8}x[89ab][0-9a-f]){1,3}|\\{1,8}x[0-9a-f]{2})"
    r"|\\{1,8}u(?P<code>[0-9a-f]{4})|\\(?P<mark>[^\w\s])|&(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8}[0-9]?);)"
)
"""One character as URLs, JSON, JavaScript, shells and HTML escape it."""
_HEX = "[%xX]([0-9a-fA-F]{2})"
NESTED = 3
"""How often one escape may stand in another."""
_HTML_IN_JSON = re.compile("[<>&='+]")
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})
"""As ``html.escape``, whose module is imported only where a text needs it."""
REMEMBERED = 20_000
"""Characters up to which a text and what became of it are kept: a whole report would fill the memory."""
_LONGEST_HEX = 200
"""Characters of a secret beyond which nobody writes it in hexadecimal."""


Span = tuple[int, int]
"""Where a secret begins and ends."""


class _Known(Struct):
    """The secrets of this process, in every form that is looked for."""

    secrets: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    """Forms that are shorter than a window, looked for one by one."""
    windows: set[str] = field(default_factory=set)
    """Every ``WINDOW`` characters in a row of the longer forms."""
    blocks: set[str] = field(default_factory=set)
    """Every half window of the longer forms: any window in a text has one at a place that halves divide."""
    shortest: int = 0
    """Characters of the shortest form; 0 while nothing is known."""


_known = _Known()


def know(*secrets: str) -> None:
    """Replace these from now on in every text from outside."""
    for secret in secrets:
        if len(secret) >= SHORTEST and secret not in _known.secrets:
            known = _learned(secret)
            _known.whole |= known.whole
            _known.windows |= known.windows
            _known.blocks |= known.blocks
            _known.shortest = min(_known.shortest or known.shortest, known.shortest)
            _known.secrets.add(secret)


def forget() -> None:
    """Know no secret any more: a new command line begins."""
    for each in (_known.secrets, _known.whole, _known.windows, _known.blocks):
        each.clear()
    _remembered.cache_clear()
    _known.shortest = 0


def redact(text: str) -> str:
    """The text with ``***`` in place of every known secret, also where it is encoded, wrapped or cut."""
    if not _known.shortest or len(text) < _known.shortest:
        return text
    return _remembered(text, len(_known.secrets)) if len(text) <= REMEMBERED else _replaced(text)


@lru_cache(maxsize=256)
def _remembered(text: str, _secrets: int) -> str:
    """The same, kept for as long as no more secrets are known.

    A text comes often: from two readings of a pool, at each retry, and on its way to the screen and to the log.
    """
    return _replaced(text)


def _replaced(text: str) -> str:
    may_break = _MAY_BREAK.search(text) is not None
    spans = _shown(text, may_break=may_break)
    if may_break:
        plain, places = _unescaped(text)
        if plain != text:
            found = _shown(plain, may_break=_MAY_BREAK.search(plain) is not None)
            spans += [(places[start], places[end]) for start, end in found]
    for start, end in reversed(_merged(spans)):
        text = text[:start] + SHOWN + text[end:]
    return text


def _shown(text: str, *, may_break: bool) -> list[Span]:
    """Where known secrets stand, also where breaks and spaces part them."""
    spans = [*_whole(text), *_windows(text)]
    if may_break:
        spans += _without(_BREAK, text, _whole)
    if may_break or (" " in text and _windows("".join(text.split()))):
        spans += _without(_FOLD, text, _windows)
    return spans


def _unescaped(text: str) -> tuple[str, list[int]]:
    """The text with each escape as its character, and where each character, and the end, was in the text.

    Whoever escapes chooses which characters: no list of forms has every choice.
    """
    places = list(range(len(text) + 1))
    for _ in range(NESTED):
        parts: list[str] = []
        now: list[int] = []
        start = 0
        for found in re.finditer(_ESCAPE, text):
            parts += text[start : found.start()], _character(found)
            now += places[start : found.start() + 1]
            start = found.end()
        if not parts:
            break
        text, places = "".join((*parts, text[start:])), now + places[start:]
    return text, places


def _character(found: re.Match[str]) -> str:
    if found["bytes"]:
        return bytes.fromhex("".join(re.findall(_HEX, found["bytes"]))).decode("utf-8", "replace")[0]
    if found["code"]:
        return chr(int(found["code"], 16))
    if found["mark"]:
        return found["mark"]
    import html  # noqa: PLC0415 - it has two thousand names of characters

    return (html.unescape(found[0]) or "\ufffd")[0]


@lru_cache(maxsize=64)
def _learned(secret: str) -> _Known:
    """One secret alone, of which much is made: kept, as the next command line of a process mostly has the same."""
    known = _Known({secret}, shortest=WINDOW)
    for form in {form for part in _parts(secret) for form in _forms(part)}:
        if len(form) < SHORTEST:
            continue
        if len(form) <= WINDOW:
            known.whole.add(form)
        else:
            known.windows.update([form[at : at + WINDOW] for at in range(len(form) - WINDOW + 1)])
            known.blocks.update([form[at : at + HALF] for at in range(len(form) - HALF + 1)])
        known.shortest = min(known.shortest, len(form))
    return known


def _parts(secret: str) -> Iterator[str]:
    """The secret as it is, without its line breaks, and each of its lines."""
    yield secret
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1 or lines[0] != secret:
        yield "".join(lines)
        yield from lines


def _forms(part: str) -> set[str]:
    """How a secret may stand in a message: as it is, or encoded as in a URL, a header, JSON, HTML or ``repr``."""
    data = part.encode("utf-8", "surrogateescape")
    percent = {
        quote(part, safe="", errors="replace"),
        quote(part, errors="replace"),
        quote_plus(part, errors="replace"),
    }
    json_once = {json.dumps(part, ensure_ascii=each)[1:-1] for each in (True, False)}
    # As PHP and others write it, and as Java's Gson and Go do.
    json_once |= {each.replace("/", "\\/") for each in json_once}
    json_once |= {_HTML_IN_JSON.sub(lambda found: f"\\u00{ord(found[0]):02x}", each) for each in json_once}
    json_twice = {json.dumps(each, ensure_ascii=False)[1:-1] for each in json_once}
    escaped = {*json_once, *json_twice, repr(part)[1:-1], repr(data)[2:-1]}
    percent |= {quote(each, safe="") for each in percent}
    lowered = {re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), each) for each in percent}
    binary = {*_base64(data), *((data.hex(), data.hex().upper()) if len(data) <= _LONGEST_HEX else ())}
    return {part, part.translate(_HTML), *percent, *lowered, *escaped, *binary}


def _base64(data: bytes) -> Iterator[str]:
    """The base64 of anything that contains this: for each place in a group of three, what does not vary."""
    for before in range(3):
        padded = bytes(before) + data + bytes(-(before + len(data)) % 3)
        first, last = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        yield base64.b64encode(padded).decode()[first:last]
        yield base64.urlsafe_b64encode(padded).decode()[first:last]


def _without(gap: str, text: str, find: Callable[[str], Iterable[Span]]) -> Iterator[Span]:
    """What is found in a text whose gaps are left out, by its places in the whole text."""
    spans = list(find(re.sub(gap, "", text)))
    if not spans:
        return
    places: list[int] = []
    start = 0
    for found in re.finditer(gap, text):
        places.extend(range(start, found.start()))
        start = found.end()
    places.extend(range(start, len(text)))
    for begin, end in spans:
        yield places[begin], places[end - 1] + 1


def _whole(text: str) -> Iterator[Span]:
    for form in _known.whole:
        at = text.find(form)
        while at >= 0:
            yield at, at + len(form)
            at = text.find(form, at + 1)


def _windows(text: str) -> list[Span]:
    # A sixth of the places tells whether to look at all of them: names come by the ten thousand.
    if _known.blocks.isdisjoint([text[at : at + HALF] for at in range(0, len(text) - HALF + 1, HALF)]):
        return []
    windows = _known.windows
    return [(at, at + WINDOW) for at in range(len(text) - WINDOW + 1) if text[at : at + WINDOW] in windows]


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, those that touch as one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged
