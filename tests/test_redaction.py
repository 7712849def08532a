"""A known secret stands in no text from outside, however the text shows it, and nothing else is changed."""

from __future__ import annotations

import base64
import json
import re
import textwrap
from time import process_time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given

from reconciler.credentials import Secret
from reconciler.redaction import SHORTEST, forget, know, redact
from reconciler.safe_text import safe_text
from tests.texts import texts

SECRET = 'q/Zx+7"é w&9<K\\4=Tt0uRm2'
TOKEN = "MIIFbwYJKoZIhvcNAQcCoIIFYDCCBVwCAQExDTALBglghkgBZQMEAgEwggOBBgkqhkiG9w0BBwGgggNyBIIDbnsidG9rZW4iOns"


def core(text: str) -> list[str]:
    """Runs of the secret that would give it away, of which none may be left."""
    return [text[at : at + 12] for at in range(len(text) - 11)]


@pytest.mark.parametrize(
    "shown",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        re.sub("%..", lambda found: found[0].lower(), quote(SECRET, safe="")),
        json.dumps(SECRET),
        json.dumps(SECRET).replace("/", "\\/"),
        json.dumps(SECRET)
        .replace("&", "\\u0026")
        .replace("<", "\\u003c")
        .replace("=", "\\u003d")
        .replace("+", "\\u002b"),
        quote(quote(SECRET, safe=""), safe=""),
        json.dumps(json.dumps(SECRET, ensure_ascii=False), ensure_ascii=False).strip('"\\'),
        repr(SECRET),
        repr(SECRET.encode()),
        SECRET.encode().hex(),
        *(base64.b64encode(b"u" * before + SECRET.encode() + b"!" * 5).decode() for before in range(4)),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_an_encoded_secret_is_replaced(shown: str) -> None:
    know(SECRET)
    left = redact(f"the proxy says: {shown} is not right")
    assert left.startswith("the proxy says: ")
    assert left.endswith(" is not right")
    assert "***" in left
    assert not any(run in left for run in core(shown)), left


def _each(form: str, which: str) -> str:
    return "".join(form.format(each, ord(each)) if re.match(which, each) else each for each in SECRET)


@pytest.mark.parametrize(
    "shown",
    [
        quote(SECRET, safe=";,/?:@&=+$-_.!~*'()#"),  # as encodeURI does
        quote(SECRET, safe="="),
        _each("%{1:02X}", r"[ -~]"),
        _each("%{1:02x}", r"[/+=]"),
        _each("&#x{1:X};", r"\W"),
        _each("&#{1};", r"."),
        _each("&#x2F;", r"/").replace("=", "&#x3D;").replace('"', "&quot;").replace("&9", "&amp;9"),
        _each("\\x{1:02x}", r"[^\w\s]"),
        _each("\\u{1:04X}", r"."),
        _each("\\{0}", r"[^\w\s]"),  # as a shell does
        _each("%25{1:02X}", r"[^\w\s]"),
        json.dumps(_each("&#{1};", r"\W")),
    ],
)
def test_a_secret_is_replaced_whichever_of_its_characters_are_escaped(shown: str) -> None:
    know(SECRET)
    assert re.fullmatch(
        r'the proxy says: "?\*\*\*"? is not right', redact(f"the proxy says: {shown} is not right")
    )


@pytest.mark.parametrize(
    "mark",
    [
        "=\n",
        "=\r\n",
        "\\\n",
        "\u200b",
        "\xad",
        "&shy;",
        "\n",
        "\r\n",
        "\n    ",
        "\\n",
        "\\\\n",
        "\\r\\n",
        "\u2028",
        "%0A",
        "\\u000a",
        "   ",
    ],
)
def test_a_secret_that_a_message_wraps_is_replaced(mark: str) -> None:
    know(TOKEN)
    for width in (3, 8, 40):
        left = redact(f"got: {mark.join(textwrap.wrap(TOKEN, width))} end")
        assert left == "got: *** end"


@pytest.mark.parametrize(
    "shown", ["first-half", "second-half", "first-half\nsecond-half", "first-halfsecond-half"]
)
def test_each_line_of_a_secret_with_a_line_break_is_replaced(shown: str) -> None:
    know("first-half\nsecond-half")
    assert "half" not in redact(f"Illegal header value b'{shown}'")


def test_a_piece_of_a_secret_that_was_cut_is_replaced() -> None:
    know(TOKEN)
    assert redact(f"token {TOKEN[30:60]}…") == "token ***…"
    assert safe_text("x" * 980 + TOKEN).endswith("***")


def test_every_secret_value_is_known_from_its_making() -> None:
    Secret("swordfish-4711")
    assert safe_text("wrong password: swordfish-4711") == "wrong password: ***"
    Secret("https://hooks.example.com/T0/B0/XyZ1", parts=["/T0/B0/XyZ1"])
    assert redact("https://hooks.example.com/T0/B0/XyZ1") == "https://hooks.example.com***"


def test_what_is_too_short_to_be_a_secret_garbles_nothing() -> None:
    know("x" * (SHORTEST - 1), "")
    assert redact("xxxxxxxxxxxxxxxx") == "xxxxxxxxxxxxxxxx"


@given(texts(max_size=60), texts(min_size=SHORTEST, max_size=60), texts(max_size=60))
def test_no_text_around_a_secret_hides_it(before: str, secret: str, after: str) -> None:
    forget()
    know(secret)
    left = redact(before + secret + after)
    assert secret not in left or secret in "***"


@given(texts(max_size=200))
def test_a_text_without_secrets_is_left_alone(text: str) -> None:
    forget()
    know("\U0001f511\U0001f511\U0001f511\U0001f511\U0001f511\U0001f511\U0001f511")
    assert redact(text) == text


def test_a_secret_that_is_known_later_is_replaced_in_a_text_that_came_before() -> None:
    know("swordfish-4711")
    text = f"you sent swordfish-4711 and {SECRET}"
    assert redact(text) == f"you sent *** and {SECRET}"
    know(SECRET)
    assert redact(text) == "you sent *** and ***"
    forget()
    know(SECRET)
    assert redact(text) == "you sent swordfish-4711 and ***"


@pytest.mark.parametrize("made_of", ["\\", " ", "\t ", " =", "%41", "&amp;", "&#", "\\\\x", "swordf"])
def test_a_text_made_to_fill_time_costs_as_much_as_it_is_long(made_of: str) -> None:
    def cost(size: int) -> float:
        forget()  # also what was remembered of the last time
        know("swordfish-4711", SECRET)
        text = (made_of * size)[:size] + "%"
        start = process_time()
        redact(text)
        return process_time() - start

    # Ten times as long: a hundred times the work for each place from which all the rest is tried.
    assert min(cost(20_000) for _ in range(3)) < 40 * max(min(cost(2000) for _ in range(3)), 0.001)
