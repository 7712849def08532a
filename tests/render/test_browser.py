"""The page in a real browser: the policy lets our stylesheet in, and no name runs or overflows."""

from __future__ import annotations

import re
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

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


def test_our_stylesheet_applies_under_the_policy(tmp_path: Path) -> None:
    assert picture(tmp_path, plan_html(sample_plans.everything()), "--window-size=1100,900") == (
        (1100, 900),
        LIGHT,
    )


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


def test_the_page_prints(tmp_path: Path) -> None:
    file = tmp_path / "plan.pdf"
    _browse(tmp_path, plan_html(sample_plans.everything()), f"--print-to-pdf={file}")
    assert file.read_bytes().startswith(b"%PDF-")


NAMES = ["finance-analysts", "A" * 5_000, "x y " * 100]
WINDOWS = [("390,800", "phone"), ("1100,800", "desk")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("window", "layout"), WINDOWS)
def test_nothing_of_a_plan_is_wider_than_the_window(
    tmp_path: Path, name: str, window: str, layout: str
) -> None:
    assert width(tmp_path, plan_html(sample_plans.hostile(name)), window) == (layout, 0)


def width(folder: Path, page: str, window: str) -> tuple[str, int]:
    """The layout of a page in a window, and by how many pixels it is wider than that."""
    # The page itself runs no script, so a copy without its policy measures itself into its title.
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    measure = (
        "<script>document.title = innerWidth + ' wide, overflow '"
        " + Math.max(0, document.documentElement.scrollWidth - innerWidth)</script></body>"
    )
    shown = _browse(folder, free.replace("</body>", measure), f"--window-size={window}", "--dump-dom").stdout
    found = re.search(r"<title>(\d+) wide, overflow (\d+)</title>", shown)
    assert found
    return ("phone" if int(found[1]) <= 640 else "desk"), int(found[2])
