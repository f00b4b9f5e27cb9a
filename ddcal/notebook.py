"""How notebooks show what a client gives."""

from ddcal import html
from ddcal.progress import duration
from ddcal.records import Child, DatasetRecord, JobRecord, ResultRecord


def job_html(job: JobRecord) -> str:
    """A job for notebooks, with its parts."""
    took = None
    if job.started_at and job.ended_at:
        took = duration((job.ended_at - job.started_at).total_seconds())
    facts = html.pairs(
        [
            ("state", job.state),
            ("kind", job.kind),
            ("data set", job.dataset),
            ("created", job.created_at),
            ("took", took),
            ("error", job.error),
        ]
    )
    parts = [(child.role or child.kind, child.state, _share(child)) for child in job.children]
    table = html.table(("part", "state", "done"), parts) if parts else ""
    return html.heading(f"{job.title} {job.id}") + facts + table


def result_html(result: ResultRecord, preview: bytes | None) -> str:
    """A result for notebooks; of a distilled set, with its images."""
    plain = [
        (name.replace("_", " "), value)
        for name, value in result.details.items()
        if isinstance(value, str | int | float)
    ]
    facts = html.pairs([("data set", result.dataset), ("job", result.job_id), *plain])
    words = f"{result.resource.replace('_', ' ')} {result.id}"
    picture = html.picture(preview, "its images") if preview else ""
    return html.heading(words) + picture + facts


def dataset_html(dataset: DatasetRecord) -> str:
    """A data set for notebooks."""
    shown = ("image_shape", "n_classes", "n_train", "n_validation", "n_test", "n_fit")
    facts = [(name.replace("_", " "), (dataset.facts or {}).get(name)) for name in shown]
    problem = dataset.problem.detail if dataset.problem else dataset.why_not
    rows = [("state", dataset.state), ("problem", problem), *facts]
    return html.heading(dataset.name) + html.pairs(rows)


def _share(child: Child) -> str:
    return f"{child.progress.fraction:.0%}" if child.progress else ""
