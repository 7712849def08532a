"""The page of drift over time: sums that hold between readings, and a page that no name can break."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.journal.records import DriftPoint, Mark, MarkKey, Operation, PoolKey, SentDisk
from reconciler.journal.states import State
from reconciler.planning.drift import MEMORY
from reconciler.render.trend import (
    Span,
    Trend,
    curve,
    pool_trends,
    spans,
    total,
    trend_html,
)
from reconciler.values import replace
from tests import documents
from tests.render.hostile import HOSTILE
from tests.render.test_browser import DARK, LIGHT, WINDOWS, picture, widths

SINCE = datetime(2026, 3, 1, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=30)
DAY = timedelta(days=1)


def reading(day: float, pool: str, gigabytes: int, surplus: int = 1, missing: int = 0) -> DriftPoint:
    key = PoolKey("ap-southeast-3/p", "workspace", f"key-{pool}")
    return DriftPoint("run-1", SINCE + day * DAY, key, pool, surplus, missing, gigabytes)


def happened(pool: str, target: str, disk: str, state: State, run: str) -> Operation:
    whole = documents.operation(pool)
    key = replace(whole.intent.pool, target=target)
    intent = replace(whole.intent, pool=key, disks=(SentDisk("disk-1", disk, 50),), run_id=run)
    return replace(whole, intent=intent, state=state, opened=SINCE + DAY)


def marked(pool: str, target: str, disk: str, shape: str, since: datetime, due: datetime) -> Mark:
    return Mark(MarkKey(PoolKey(target, "workspace", "pool-1"), disk), pool, since, due - since, shape=shape)


def looked(*days: float) -> tuple[Span, ...]:
    return tuple(Span(SINCE + day * DAY, SINCE + day * DAY) for day in days)


def trend(*readings: DriftPoint, sandboxes: tuple[str, ...] = ()) -> Trend:
    gone = happened("finance", "ap-southeast-3/p", "SAS", State.DONE, "run-1")
    opened = happened("trading", "ap-southeast-3/p", "SSD", State.UNKNOWN, "run-2")
    whole = (Span(SINCE, UNTIL),)
    return Trend(SINCE, UNTIL, readings, 12, whole, (opened,), (gone,), sandboxes)


def levels(*readings: DriftPoint) -> list[tuple[float, int]]:
    return [((at - SINCE) / DAY, value) for at, value in total(trend(*readings), "surplus_gb")]


def test_a_value_holds_until_the_next_reading_and_pools_add_up() -> None:
    found = levels(reading(1, "a", 100), reading(2, "a", 0), reading(1.5, "b", 30), reading(3, "b", 0))
    assert found == [(0, 0), (1, 100), (1.5, 130), (2, 30), (3, 0)]


def test_what_held_before_the_page_begins_is_where_it_begins() -> None:
    assert levels(reading(-1, "a", 100), reading(0.5, "a", 0)) == [(0, 0), (0, 100), (0.5, 0)]


def test_a_pool_that_nobody_reads_any_more_ends_and_can_come_back() -> None:
    days = MEMORY / DAY
    assert levels(reading(1, "a", 100), reading(9, "a", 70)) == [
        (0, 0),
        (1, 100),
        (1 + days, 0),
        (9, 70),
        (9 + days, 0),
    ]


def test_a_reading_of_now_is_the_value_now() -> None:
    assert levels(reading(29.5, "a", 100)) == [(0, 0), (29.5, 100)]


def test_a_curve_ends_at_its_last_value_and_peaks_at_the_top() -> None:
    page = trend(reading(15, "a", 50), reading(16, "a", 100), reading(17, "a", 25), reading(18, "a", 50))
    drawn = curve(spans(page), total(page, "surplus_gb")[:-1])
    assert (drawn.now, drawn.peak) == (50, 100)
    assert drawn.line == "M0.00 40.00H50.00V20.00H53.33V0.00H56.67V30.00H60.00V20.00H100"
    assert drawn.area == f"{drawn.line}V40H0.00Z"


def test_a_long_unrest_is_drawn_whole_and_in_moderation() -> None:
    unrest = [reading(minute / 1440, "a", minute % 7 + 1) for minute in range(0, 30 * 1440, 5)]
    page = trend_html(trend(*unrest, reading(29.999, "a", 3)))
    paths = re.findall(r'<path class="(area|edge)" d="([^"]*)"', page)
    assert {kind for kind, _ in paths} == {"area", "edge"}
    for kind, path in paths:
        assert re.fullmatch(
            r"M0.00 [\d.]+(H[\d.]+V[\d.]+)*H100" + ("V40H0.00Z" if kind == "area" else ""), path
        )
    assert max(len(path) for _, path in paths) > 1000  # longer than any name may be
    assert len(page) < 60_000


def test_pools_with_most_surplus_now_come_first() -> None:
    page = trend(reading(1, "past", 900), reading(29, "small", 10), reading(29, "large", 500))
    assert [each.pool for each in pool_trends(page)] == ["large", "small", "past"]


def test_a_month_of_a_thousand_pools_is_a_page_of_moderate_size() -> None:
    readings = [reading(hour / 24, f"pool-{n}", n) for n in range(1000) for hour in range(0, 720, 24)]
    assert len(trend_html(trend(*readings))) < 200_000


def test_the_policy_allows_our_stylesheet_and_nothing_else() -> None:
    page = trend_html(trend(reading(29, "a", 5)))
    [style] = re.findall(r"<style>(.*?)</style>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in page
    assert not re.search(r"<script|<link|<img|style=|\son\w+=|url\(|https?://", page)


def test_an_operation_says_what_it_was_about_and_how_it_ended() -> None:
    rows = re.findall(r'<td class="when">2026-03-02 00:00.*?</tr>', trend_html(trend()), re.S)
    plain = [" ".join(re.sub("<[^>]*>", " ", each).split()) for each in rows]
    assert plain == [
        "2026-03-02 00:00 trading ap-southeast-3/p remove SSD 50 GB unknown run-2",
        "2026-03-02 00:00 finance ap-southeast-3/p remove SAS 50 GB done run-1",
    ]


def full_of(text: str) -> str:
    operations = (happened(text, text, text, State.NOT_SENT, text),)
    marks = (replace(marked(text, text, text, text, SINCE, UNTIL), extended_until=UNTIL, extended_by=text),)
    readings = (DriftPoint(text, UNTIL, PoolKey(text, text, text), text, 1, 1, 1),)
    return trend_html(Trend(SINCE, UNTIL, readings, 1, (), operations, operations, (text,), marks=marks))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup(text: str) -> None:
    page = full_of(text)
    assert re.findall(r"<[^<>]*>", page) == re.findall(r"<[^<>]*>", full_of("x"))
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00-\x08\x1b]", page)


def test_nothing_yet_says_what_to_run() -> None:
    page = trend_html(Trend(SINCE, UNTIL, (), 0))
    assert "<h1>Nothing looked at</h1>" in page
    assert "No drift now" not in page
    assert "No drift check ran in this period" in page
    assert "<svg" not in page


def test_a_chart_begins_with_the_first_look_and_fits_it() -> None:
    page = Trend(SINCE, UNTIL, (reading(29.5, "a", 100),), 3, looked(29, 29.5, 29.9))
    assert spans(page) == (Span(SINCE + 29 * DAY, UNTIL),)
    assert curve(spans(page), total(page, "surplus_gb")).line == "M0.00 40.00H50.00V0.00H100"
    text = trend_html(page)
    assert "2026-03-30 00:00 to 2026-03-31 00:00 UTC, 3 drift checks" in text
    assert (
        text.count("<span>2026-03-30 00:00</span>") == 3
    )  # an hour that is looked at closely has its times of day
    assert "2026-03-01" not in text.split("<h2>Unresolved", 1)[0]


def test_a_chart_has_a_gap_where_nobody_looked_and_ends_with_what_the_last_look_still_says() -> None:
    page = Trend(SINCE, UNTIL, (reading(4, "a", 100), reading(12, "a", 50)), 4, looked(2, 4, 12, 14))
    assert spans(page) == tuple(Span(SINCE + a * DAY, SINCE + b * DAY) for a, b in ((2, 6), (12, 16)))
    drawn = curve(spans(page), total(page, "surplus_gb"))
    assert drawn.line == "M0.00 40.00H14.29V0.00H28.57M71.43 20.00H85.71V40.00H100"
    assert drawn.area == "M0.00 40.00H14.29V0.00H28.57V40H0.00ZM71.43 20.00H85.71V40.00H100V40H71.43Z"
    text = trend_html(page)
    assert "<h1>Not looked at since 2026-03-15 00:00 UTC</h1>" in text
    assert "No drift now" not in text
    assert "Where nothing is drawn, no pool was read for longer." in text


def test_a_look_of_this_very_moment_is_a_flat_line() -> None:
    page = Trend(SINCE, UNTIL, (reading(30, "a", 70),), 1, (Span(UNTIL, UNTIL),))
    assert curve(spans(page), total(page, "surplus_gb")).line == "M0.00 0.00H100"


def test_marks_are_listed_with_their_due_dates_the_next_first_and_no_mark_is_no_section() -> None:
    rows = (
        replace(marked("trading", "t", "late", "SSD 100 GB", SINCE, UNTIL), extended_until=UNTIL + DAY),
        marked("finance", "t", "soon", "SAS 50 GB", SINCE + DAY, UNTIL - DAY),
    )
    text = trend_html(Trend(SINCE, UNTIL, (), 0, marks=rows)).split("<h2>Marked disks</h2>")[1]
    listed = re.findall(r"<tr>\n(.*?)</tr>", text.split("</table>")[0], re.S)
    plain = [" ".join(re.sub("<[^>]*>", " ", each).split()) for each in listed]
    assert plain == [
        "finance t soon SAS 50 GB 2026-03-02 00:00 2026-03-30 00:00 due now",
        "trading t late SSD 100 GB 2026-03-01 00:00 2026-04-01 00:00 extended",
    ]
    assert "Marked disks" not in trend_html(trend(reading(29, "a", 5)))


@pytest.mark.parametrize(
    ("flags", "color"), [((), LIGHT), (("--blink-settings=preferredColorScheme=0",), DARK)]
)
def test_a_browser_shows_the_page_under_its_policy(
    flags: tuple[str, ...], color: tuple[int, int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    page = trend_html(trend(reading(3, "finance-analysts", 2400), reading(9, "trading", 900)))
    _, found = picture(tmp_path_factory.mktemp("trend"), page, "--window-size=1200,1400", *flags)
    assert found == color


def test_nothing_of_a_report_is_wider_than_the_window(tmp_path: Path) -> None:
    page = full_of("A" * 5_000)
    assert widths(tmp_path, [(page, width) for width in WINDOWS.values()]) == [(each, 0) for each in WINDOWS]
