"""What a submission would do, shown."""

import json

from ddcal.cli.output import print_facts, print_json, say, size
from ddcal.progress import duration
from ddcal.records import PlanRecord


def show_plan(plan: PlanRecord, *, as_json: bool) -> None:
    """What a submission would do."""
    if as_json:
        print_json(plan)
        return
    kinds = ", ".join(f"{n} {kind}" for kind, n in plan.jobs.items())
    known = plan.n_jobs - plan.n_without_estimate
    costs = f"about {duration(plan.estimated_seconds)}, {size(plan.estimated_bytes)}"
    print_facts(
        [
            ("kind", plan.kind),
            ("cells", plan.n_cells if plan.kind == "study" else None),
            ("jobs", f"{plan.n_jobs}: {kinds}"),
            ("one after the other", f"{costs}, for the {known} like others" if known else None),
            ("without estimate", f"{plan.n_without_estimate} jobs, none like them has been run"
             if plan.n_without_estimate else None),
            ("refused", f"{len(plan.refused)} cells" if plan.refused else None),
        ]
    )  # fmt: skip
    for cell in plan.refused:
        where = ", ".join(f"{name} {json.dumps(value)}" for name, value in cell.settings.items())
        say(f"  {where}: {'; '.join(problem['detail'] for problem in cell.errors)}")
