"""The example of the README, held to its types here and run by ``test_library``."""

from reconciler import Place, Plan, apply_manifests, load_manifests, make_plan, render_plan

place = Place(sandbox=True, log=print)
manifests = load_manifests("manifests/", pools=["finance-*"])
plan = make_plan(manifests, place)
print(render_plan(plan, anonymise=True))


def approve(plan: Plan) -> str | None:
    """The digest of the plan that may be carried out; None refuses it."""
    return plan.digest if plan.totals.copies <= 20 else None


report = apply_manifests(manifests, approve, place)
for pool in report.results:
    print(pool.pool, pool.status, pool.done, pool.message)
print(int(report.exit_code))
