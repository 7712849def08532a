"""The page in a real browser: the policy lets our stylesheet in, and no name runs or overflows."""

from __future__ import annotations

import html
import re
import struct
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path

from reconciler.render.html import plan_html
from tests import needs, sample_plans
from tests.render.hostile import HOSTILE

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)
LIGHT, DARK = (0xF6, 0xF6, 0xF3), (0x14, 0x17, 0x1B)


def _browse(folder: Path, page: str, *flags: str) -> subprocess.CompletedProcess[str]:
    file = folder / "plan.html"
    file.write_text(page, encoding="utf-8")
    return subprocess.run(
        [needs.program("chromium"), *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, file.as_uri()],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )


def picture(folder: Path, page: str, *flags: str) -> tuple[tuple[int, int], tuple[int, int, int]]:
    """Size of a screenshot and its first pixel; a PNG filter leaves the very first one as it is."""
    file = folder / "plan.png"
    done = _browse(folder, page, f"--screenshot={file}", *flags)
    assert "Content Security Policy" not in done.stderr
    data = file.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    body, at = b"", 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body += data[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += length + 12
    first = zlib.decompress(body)[1:4]
    return (width, height), (first[0], first[1], first[2])


def test_our_stylesheet_applies_under_the_policy_and_the_page_prints(tmp_path: Path) -> None:
    printed = tmp_path / "plan.pdf"
    flags = ("--window-size=1100,900", f"--print-to-pdf={printed}")
    assert picture(tmp_path, plan_html(sample_plans.everything()), *flags) == ((1100, 900), LIGHT)
    assert printed.read_bytes().startswith(b"%PDF-")


def test_a_reader_who_prefers_dark_gets_it_dark(tmp_path: Path) -> None:
    flags = ("--window-size=1100,900", "--blink-settings=preferredColorScheme=0")
    assert picture(tmp_path, plan_html(sample_plans.everything()), *flags) == ((1100, 900), DARK)


def test_the_policy_refuses_any_other_style(tmp_path: Path) -> None:
    spoiled = plan_html(sample_plans.everything()).replace(":root {", ":root { --other: 1px;", 1)
    done = _browse(tmp_path, spoiled, "--dump-dom")
    assert "Content Security Policy" in done.stderr


def test_no_name_runs_as_script(tmp_path: Path) -> None:
    page = plan_html(sample_plans.hostile(" ".join(HOSTILE[6:20])[:900]))
    title = re.search(r"<title>.*?</title>", page)
    assert title
    assert title[0] in _browse(tmp_path, page, "--dump-dom").stdout


NAMES = ["finance-analysts", "A" * 5_000, "x y " * 100]
WINDOWS = {"phone": 390, "desk": 1100}


def test_nothing_of_a_plan_is_wider_than_the_window(tmp_path: Path) -> None:
    cases = [(name, window) for name in NAMES for window in WINDOWS]
    shown = widths(tmp_path, [(plan_html(sample_plans.hostile(name)), WINDOWS[at]) for name, at in cases])
    assert list(zip(cases, shown, strict=True)) == [((name, window), (window, 0)) for name, window in cases]


def widths(folder: Path, pages: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """The layout of each page in a window of that width, and by how many pixels it is wider than that."""
    # A frame is a window of its own to the page in it. The pages run no script and may not be framed, so copies
    # without their policy are measured by the page around them.
    frames = "".join(
        f'<iframe width="{width}" height="800" style="border: 0" srcdoc="{html.escape(_free(page))}"></iframe>'
        for page, width in pages
    )
    measure = (
        "<script>onload = () => document.title = Array.from(frames, each => each.innerWidth + ' '"
        " + Math.max(0, each.document.documentElement.scrollWidth - each.innerWidth)).join()</script>"
    )
    shown = _browse(folder, f"<title></title>{measure}{frames}", "--dump-dom").stdout
    found = re.search(r"<title>([\d ,]+)</title>", shown)
    assert found
    numbers = [tuple(map(int, each.split())) for each in found[1].split(",")]
    return [("phone" if inner <= 640 else "desk", over) for inner, over in numbers]


def _free(page: str) -> str:
    return re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
