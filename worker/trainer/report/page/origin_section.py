"""The page's last part: job, data set, results, downloads, request and lineage."""

from collections.abc import Mapping
from urllib.parse import quote

from markupsafe import Markup

from ddcal_core.formats.reports import KnownTrainingSet, Report
from worker.trainer.report.page.captions import is_of_rows
from worker.trainer.report.page.notes import lineage_details
from worker.trainer.report.page.origin import Origin
from worker.trainer.report.page.templates import render


def origin_section(report: Report, origin: Origin | None) -> Markup:
    """Say where the numbers come from, with links for whoever has the service at hand.

    Args:
        report: what its report.json holds.
        origin: which job made the page; None where nobody knows.
    """
    return render(
        "origin.html",
        dataset=report.dataset,
        data=_data(report),
        origin=origin,
        links=_links(report),
        lineage=lineage_details(report),
    )


def _data(report: Report) -> Mapping[str, str]:
    name, collection = ("logits", "logits") if is_of_rows(report) else ("data set", "datasets")
    return {"name": name, "url": f"/{collection}/{quote(report.dataset, safe='')}"}


def _links(report: Report) -> list[Mapping[str, object]]:
    known = [one for one in report.training_sets if isinstance(one, KnownTrainingSet)]
    sets = dict.fromkeys(one.distilled_set_id for one in known if one.distilled_set_id)
    models = [id_ for one in known for id_ in one.model_ids]
    links = {"distilled sets": list(sets), "networks": models}
    return [{"name": name, "ids": ids} for name, ids in links.items() if ids]
