"""Golden outputs of the sample plans, as text and as a review comment.

After a wanted change: ``RECONCILER_GOLDEN=rewrite python -m pytest tests/render/test_golden.py``, then
read the difference before committing it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.planning.plan import Plan
from reconciler.render.markdown import plan_markdown
from reconciler.render.text import plan_lines
from tests import sample_plans

GOLDEN = Path(__file__).parent / "golden"
SCENES: tuple[Callable[[], Plan], ...] = (
    sample_plans.resize,
    sample_plans.tie,
    sample_plans.over_limit,
    sample_plans.no_changes,
    sample_plans.two_removals,
    sample_plans.waiting,
    sample_plans.target_failed,
    sample_plans.sandbox,
    sample_plans.everything,
)


def _compare(name: str, shown: str) -> None:
    file = GOLDEN / name
    if os.environ.get("RECONCILER_GOLDEN") == "rewrite":
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_the_text_is_the_golden_one(scene: Callable[[], Plan]) -> None:
    _compare(f"{scene.__name__}.txt", "".join(f"{line.text}\n" for line in plan_lines(scene())))


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_the_markdown_is_the_golden_one(scene: Callable[[], Plan]) -> None:
    _compare(f"{scene.__name__}.md", plan_markdown(scene()))


def test_every_golden_file_belongs_to_a_scene() -> None:
    names = {file.stem for file in GOLDEN.iterdir()}
    assert names == {scene.__name__ for scene in SCENES}
