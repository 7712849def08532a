"""The review comment: it fits, it leads with what is lost, and no name becomes markup.

Parsed back by two engines, GitHub's own (cmark-gfm) and markdown-it in its GFM-like mode.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import cmarkgfm  # type: ignore[import-untyped]
import pytest
from markdown_it import MarkdownIt

from reconciler.model import Limit
from reconciler.planning.manifest_changes import Direction, ManifestChange
from reconciler.planning.plan import Loss, Plan
from reconciler.render import words
from reconciler.render.markdown import LIMIT, MARKER, code, hidden_losses, plan_markdown, prose
from reconciler.values import replace
from tests import sample_plans
from tests.render.hostile import HOSTILE

OURS = frozenset(
    [
        "h2",
        "p",
        "strong",
        "blockquote",
        "ul",
        "li",
        "code",
        "pre",
        "details",
        "summary",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "sub",
    ]
)
COLUMNS = 8
# What a sentence of ours never holds, and what mentions, links, references and markup are made of.
AWAKE = re.compile(r"[@#<>\[\]`*|\\$~&!%{}^]|://|www\.|GH-\d|[0-9a-f]{7}")


def _github(text: str) -> str:
    return str(cmarkgfm.github_flavored_markdown_to_html(text, cmarkgfm.Options.CMARK_OPT_UNSAFE))


def _markdown_it(text: str) -> str:
    return str(MarkdownIt("gfm-like").render(text))


ENGINES: tuple[Callable[[str], str], ...] = (_github, _markdown_it)


class Rendered(HTMLParser):
    """Collects what a rendered comment consists of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[tuple[str, str | None]] = set()
        self.comments: list[str] = []
        self.spoken: list[str] = []
        self.coded: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update(attrs)
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        (self.coded if {"code", "pre"} & set(self._open) else self.spoken).append(data)


def _check(rendered: Rendered, plan: Plan) -> None:
    assert set(rendered.tags) <= OURS
    assert {name for name, _ in rendered.attributes} <= {"align", "style"}
    assert {value for _, value in rendered.attributes} <= {"right", "text-align:right"}
    assert rendered.comments == [MARKER.removeprefix("<!--").removesuffix("-->")]
    pools = [pool for pool in plan.pools if pool.drift or pool.ties]
    assert rendered.tags.count("details") == rendered.tags.count("table") == len(pools)
    rows = sum(len(list(words.settled(pool))) + len(list(words.candidates(pool))) for pool in pools)
    assert rendered.tags.count("td") == COLUMNS * rows
    assert rendered.tags.count("h2") == 1
    assert not [text for text in rendered.spoken if AWAKE.search(text)]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.__name__)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_becomes_markup(text: str, engine: Callable[[str], str]) -> None:
    plan = sample_plans.hostile(text)
    _check(Rendered(engine(plan_markdown(plan))), plan)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.__name__)
def test_the_check_sees_markup_that_comes_through(engine: Callable[[str], str]) -> None:
    plan = sample_plans.two_removals()
    good = plan_markdown(plan)
    for bad in ("[x](http://evil.example)", "www.evil.example", "@octocat", "<b>x</b>", "| more |", "# head"):
        spoiled = good.replace("**Users who", f"{bad}\n\n**Users who")
        with pytest.raises(AssertionError):
            _check(Rendered(engine(spoiled)), plan)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_starts_a_line(text: str) -> None:
    shown = plan_markdown(sample_plans.hostile(text))
    assert not re.search(r"^\s*(?:/[a-z]|::|##\[)", shown, re.MULTILINE)
    assert len(shown) <= LIMIT


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.__name__)
def test_names_come_through_readable(engine: Callable[[str], str]) -> None:
    rendered = Rendered(engine(plan_markdown(sample_plans.two_removals())))
    assert {"finance-analysts", "ann", "bob", "chen", sample_plans.disk(2, "SAS", 50).id} <= set(
        rendered.coded
    )


def test_totals_and_loss_come_before_everything_else() -> None:
    plan = sample_plans.over_limit()
    lines = [line for line in plan_markdown(plan).split("\n") if line]
    assert lines[0] == MARKER
    assert lines[1] == f"## {words.summary(plan.totals)}"
    assert lines[2] == "Target: region `ap-southeast-3`, project `0123456789abcdef0123456789abcdef`"
    assert lines[3].startswith("Acting as")
    assert lines[4] == f"**{words.destruction(plan)}**"
    assert lines[5].startswith("**Blocked")


def test_the_approve_command_carries_the_digest() -> None:
    plan = sample_plans.two_removals()
    assert f"\n```\nreconciler apply PATH… --approve {plan.digest}\n```\n" in plan_markdown(plan)


def test_a_blocked_run_offers_no_approve_command() -> None:
    plan = sample_plans.over_limit()
    assert "--approve" not in plan_markdown(plan)
    assert plan.digest in plan_markdown(plan)


@pytest.mark.parametrize("limit", [2_000, 5_000, 20_000, LIMIT])
def test_what_does_not_fit_is_dropped_by_whole_pools_and_counted(limit: int) -> None:
    plan = sample_plans.many(300)
    shown = plan_markdown(plan, limit)
    rendered = Rendered(_github(shown))
    hidden = hidden_losses(plan, limit)
    left = re.search(r"\*\*(\d+) more pools? not shown\.\*\*", shown)
    assert len(shown) <= limit
    assert bool(left) != bool(hidden)
    if left:
        assert rendered.tags.count("details") + int(left[1]) == 300
    assert plan.digest in shown
    # A loss is never left out in silence: each pool is named, or the comment says that it must not be approved.
    assert len({each.label for each in plan.pools if f"- `{each.label}`: " in shown}) == 300 - hidden
    assert (
        f"**{hidden} more pools lose disks than fit into this comment. Do not approve it.**" in shown
    ) == bool(hidden)
    assert bool(hidden) == (limit < LIMIT)


def test_findings_that_do_not_fit_are_counted_and_leave_room_for_pools() -> None:
    plan = sample_plans.whole(*(sample_plans.tie().pools[0] for _ in range(400)))
    shown = plan_markdown(plan)
    left = re.search(r"\*\*(\d+) more findings not shown\.\*\*", shown)
    assert left
    assert shown.count("- **blocked**") + int(left[1]) == len(plan.all_findings)
    assert len(shown) <= LIMIT
    assert "<details>" in shown


def test_what_fits_is_shown_without_a_remark() -> None:
    assert "not shown" not in plan_markdown(sample_plans.everything())


def test_pools_that_lose_data_come_first() -> None:
    shown = plan_markdown(sample_plans.everything())
    assert shown.index("<code>trading</code>") < shown.index("<code>finance-analysts</code>")


def test_an_undecided_disk_is_not_shown_as_kept() -> None:
    shown = plan_markdown(sample_plans.tie())
    assert shown.count(f"| `{sample_plans.disk(1, 'SAS', 50).id}` |") == 1


def test_a_sandbox_plan_says_so() -> None:
    assert "> **SANDBOX** `default`" in plan_markdown(sample_plans.sandbox())


def test_a_sentence_keeps_its_words_and_codes_the_rest() -> None:
    text = prose("the disk (d-1), see a@b.c: {type: SAS, size: 10} or on_tie: oldest, 12 GB.")
    assert text == "the disk (`d-1`), see `a@b.c: {type: SAS, size: 10}` or `on_tie:` oldest, 12 GB."


def test_an_empty_name_is_still_visible() -> None:
    assert code("") == "`(empty)`"
    assert code("  ") == "`(empty)`"


def test_the_approve_command_repeats_the_limits_of_flags() -> None:
    plan = sample_plans.two_removals()
    wide = replace(plan, limits=replace(plan.limits, disks=Limit(20, "--limit-disks")))
    assert f"reconciler apply PATH… --limit-disks 20 --approve {wide.digest}\n" in plan_markdown(wide)


def test_ten_thousand_permissions_leave_room_for_the_losses_and_for_what_widens() -> None:
    plan = sample_plans.many(20)
    allowing = [replace(each, desired=replace(each.desired, allow_live_sessions=True)) for each in plan.pools]
    quiet = [replace(allowing[0], changes=(), loss=Loss(), disk_losses=())] * 2_000
    widened = (ManifestChange("limits.disks raised from 10 to 9999", Direction.WIDENS, "pools.yaml:3:10"),)
    shown = plan_markdown(replace(plan, pools=(*allowing, *quiet), manifest_changes=widened))
    assert len(shown) <= LIMIT
    left = re.search(r"\*\*(\d+) more permissions not shown\.\*\*", shown)
    assert left
    assert shown.count("allow_live_sessions: true") + int(left[1]) == 2_020
    assert "**widens**: `limits.disks` raised from 10 to 9999" in shown
    assert all(f"<code>{each.label}</code>" in shown or f"- `{each.label}`: " in shown for each in allowing)


def test_what_a_comment_cannot_name_is_counted_with_the_command_that_stands_in_it() -> None:
    plan, apply = replace(sample_plans.many(30), findings=()), f"reconciler apply {'long/' * 200}"
    limit = next(limit for limit in range(2_000, 20_000, 100) if not hidden_losses(plan, limit))
    assert hidden_losses(plan, limit, apply) > 0
    assert f"**{hidden_losses(plan, limit, apply)} more pools lose disks" in plan_markdown(plan, limit, apply)
    assert "Do not approve it" not in plan_markdown(plan, limit)
