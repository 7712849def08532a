"""GitLab's Terraform report."""

from __future__ import annotations

from reconciler.render.gitlab import terraform_report
from tests import sample_plans


def test_the_report_counts_what_would_be_carried_out() -> None:
    assert terraform_report(sample_plans.two_removals()) == {"create": 0, "update": 0, "delete": 2}
    assert terraform_report(sample_plans.resize()) == {"create": 0, "update": 1, "delete": 0}
    assert terraform_report(sample_plans.everything()) == {"create": 0, "update": 0, "delete": 1}
