"""The page: self-contained under a strict policy, the same structure whatever the names say."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from reconciler.model import Limit, Limits
from reconciler.planning.plan import Plan
from reconciler.render import words
from reconciler.render.html import DiskStyle, bars, lanes, meters, plan_html
from tests import sample_plans
from tests.render.hostile import HOSTILE
from tests.render.test_golden import SCENES

# Every element of ours with every attribute it may carry: none loads, links, submits or runs anything.
OURS: dict[str, frozenset[str]] = {
    "html": frozenset({"lang"}),
    "meta": frozenset({"charset", "http-equiv", "content", "name"}),
    "svg": frozenset({"class", "viewbox", "preserveaspectratio", "aria-hidden", "aria-label", "role"}),
    "rect": frozenset({"class", "x", "width", "height"}),
    "line": frozenset({"class", "x1", "x2", "y1", "y2"}),
    "th": frozenset({"scope"}),
    "td": frozenset({"class", "data-label"}),
    **dict.fromkeys(
        [
            "head",
            "title",
            "style",
            "body",
            "main",
            "header",
            "section",
            "footer",
            "h1",
            "h2",
            "h3",
            "bdi",
            "code",
            "strong",
            "small",
            "dt",
            "table",
            "thead",
            "tbody",
            "li",
        ],
        frozenset[str](),
    ),
    **dict.fromkeys(("div", "p", "span", "dl", "dd", "article", "tr", "ul", "pre"), frozenset({"class"})),
}


class Page(HTMLParser):
    """Collects what a page consists of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.text: list[str] = []
        self.style = ""
        self.policy = ""
        self._last = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(attrs)))
        self._last = tag
        given = dict(attrs)
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""

    def handle_data(self, data: str) -> None:
        if self._last == "style" and not self.style:
            self.style = data
        self.text.append(data)

    @property
    def structure(self) -> list[tuple[str, tuple[tuple[str, str | None], ...]]]:
        """The elements without the labels that speak names."""
        return [
            (tag, tuple((name, value) for name, value in attrs if name != "aria-label"))
            for tag, attrs in self.elements
        ]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_changes_the_structure_of_the_page(text: str) -> None:
    page, harmless = (
        Page(plan_html(sample_plans.hostile(text))),
        Page(plan_html(sample_plans.hostile("harmless"))),
    )
    assert page.structure == harmless.structure


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_the_page_holds_only_our_own_elements(scene: Callable[[], Plan]) -> None:
    for tag, attrs in Page(plan_html(scene())).elements:
        assert {name for name, _ in attrs} <= OURS[tag], tag


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_brings_an_element_or_an_invisible_character(text: str) -> None:
    shown = plan_html(sample_plans.hostile(text))
    for tag, attrs in Page(shown).elements:
        assert {name for name, _ in attrs} <= OURS[tag], tag
    assert shown.replace("\n", "").isprintable()


def test_the_policy_allows_our_stylesheet_and_nothing_else() -> None:
    page = Page(plan_html(sample_plans.everything()))
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert page.policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert "url(" not in page.style
    assert "@import" not in page.style


def test_the_page_tells_summary_loss_findings_and_digest() -> None:
    plan = sample_plans.everything()
    text = " ".join(" ".join(Page(plan_html(plan)).text).split())
    sentences = (words.summary(plan.totals), words.destruction(plan), words.held_back(plan))
    for told in (*sentences, words.approval(plan)):
        assert told in text
    for finding in plan.all_findings:
        assert finding.message in text
    for pool in plan.pools:
        assert pool.label in text


def test_a_blocked_run_shows_its_digest_but_no_command() -> None:
    shown = plan_html(sample_plans.over_limit())
    assert sample_plans.over_limit().digest in shown
    assert "--approve" not in shown


def test_a_sandbox_page_says_so_in_banner_and_title() -> None:
    shown = plan_html(sample_plans.sandbox())
    assert "SANDBOX (<bdi>default</bdi>)" in shown
    assert "<title>SANDBOX: " in shown
    assert "SANDBOX" not in plan_html(sample_plans.two_removals())


def test_a_meter_over_its_limit_marks_the_limit_inside_the_bar() -> None:
    by_label = {meter.label: meter for meter in meters(sample_plans.over_limit())}
    copies = by_label["copies"]
    assert (copies.measured, copies.limit, copies.fill) == (30, 20, 100.0)
    assert copies.mark == pytest.approx(66.67)
    assert copies.over
    assert not by_label["GB"].over
    assert by_label["GB"].mark == 100.0


@pytest.mark.parametrize(("limit", "over"), [(1, True), (2, False), (3, False)])
def test_a_meter_is_over_only_above_its_limit(limit: int, over: bool) -> None:
    plan = sample_plans.whole(*sample_plans.two_removals().pools, limits=Limits(disks=Limit(limit)))
    assert next(iter(meters(plan))).over is over


def test_a_blocked_pool_does_not_count_in_the_meters() -> None:
    by_label = {meter.label: meter.measured for meter in meters(sample_plans.everything())}
    assert by_label["GB"] == 160


def test_bars_are_relative_to_the_pool_that_loses_most() -> None:
    drawn = [(bar.pool.label, bar.width) for bar in bars(sample_plans.everything())]
    assert drawn == [("design-studio", 100.0), ("trading", 2.96)]


def test_a_removed_disk_is_hollow_after_and_a_kept_one_stays_in_place() -> None:
    now, after = lanes(sample_plans.two_removals().pools[0])
    assert [each.kind for each in now.segments] == [DiskStyle.KEEP, DiskStyle.REMOVE, DiskStyle.REMOVE]
    assert [each.kind for each in after.segments] == [DiskStyle.KEEP, DiskStyle.NONE, DiskStyle.NONE]
    assert [(each.x, each.width) for each in now.segments] == [
        (each.x, each.width) for each in after.segments
    ]
    assert (now.gigabytes, after.gigabytes) == (350, 100)


def test_an_expansion_grows_and_one_that_is_only_shown_does_not() -> None:
    managed, shown = sample_plans.resize().pools
    now, after = lanes(managed)
    assert after.segments[0].kind is DiskStyle.EXPAND
    assert after.segments[0].width > now.segments[0].width
    assert lanes(shown)[0].segments == lanes(shown)[1].segments


@pytest.mark.parametrize("scene", [*SCENES, lambda: sample_plans.hostile("x")])
def test_no_lane_is_wider_than_its_drawing(scene: Callable[[], Plan]) -> None:
    for pool in scene().pools:
        for lane in lanes(pool):
            assert all(each.x + each.width <= 100 for each in lane.segments)


def test_drawings_need_no_style_attribute() -> None:
    assert not re.search(r"\sstyle=", plan_html(sample_plans.everything()))
