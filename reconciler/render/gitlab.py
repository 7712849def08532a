"""Renders the Terraform report that GitLab shows in a merge request; ``cli`` writes it."""

from __future__ import annotations

from reconciler.planning.plan import Plan


def terraform_report(plan: Plan) -> dict[str, int]:
    """``{"create": 0, "update": 0, "delete": 2}``, for ``artifacts:reports:terraform``."""
    totals = plan.totals
    return {"create": totals.add, "update": totals.change, "delete": totals.destroy}
