"""What a submission refers to, looked up and checked: data sets, results, and jobs that make them.

Every check adds what it finds to the context's problems, so that one answer names them all.
"""

from dataclasses import dataclass, field
from datetime import datetime

from app.shared.errors import FieldProblem, InvalidRequestError, NotFoundError
from app.shared.inputs.datasets import (
    LOGITS,
    Dataset,
    dataset_names,
    find_dataset,
    upload_names,
)
from app.shared.inputs.logits import Logits, find_logits
from app.shared.settings import Settings
from app.shared.store.catalog import find_result
from app.shared.store.database import Connection
from app.shared.store.job_queries import find_job
from app.shared.store.job_records import Job
from app.shared.store.job_states import JobState
from app.shared.store.kinds import IMPORTS, MAKERS
from app.submission.suggestions import did_you_mean
from ddcal_core.specs.results import Resource

LOST_STATES: tuple[JobState, ...] = ("cancelling", "failed", "cancelled", "expired")


@dataclass(frozen=True, kw_only=True)
class CheckContext:
    """Where one submission is checked: what to look things up with, and what was found wrong."""

    connection: Connection
    owner_id: str
    settings: Settings
    problems: list[FieldProblem] = field(default_factory=list)

    def refuse(self, pointer: str, code: str, detail: str) -> None:
        """Note an invalid field."""
        self.problems.append(FieldProblem(pointer, code, detail))

    def close(self) -> None:
        """Let the submission pass.

        Raises:
            InvalidRequestError: something was found wrong.
        """
        if self.problems:
            first = self.problems[0]
            raise InvalidRequestError(first.code, first.detail, self.problems)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What stands behind a reference.

    Attributes:
        dataset: name of the data set it was, or will be, made from.
        maker: id of the job that makes it.
        training_set: of a model: distilled, random, taught, herding, full or unknown.
        created_at: when it, or the job that makes it, was written.
        is_imported: whether it was made elsewhere.
        distilled_set_id: of a model, where it was trained on one that is known by its id.
    """

    dataset: str | None
    maker: str
    training_set: str | None
    created_at: datetime
    is_imported: bool = False
    distilled_set_id: str | None = None


def known_dataset(context: CheckContext, name: str, pointer: str) -> Dataset | None:
    """A data set of this name, in whatever state; refused where there is none."""
    try:
        return find_dataset(context.connection, context.owner_id, name, context.settings)
    except NotFoundError:
        known = dataset_names(context.connection, context.owner_id)
        meant = did_you_mean(name, known)
        detail = f"wanted the name of a data set that GET /v1/datasets lists, got {name!r}{meant}"
        context.refuse(pointer, "unknown_dataset", detail)
        return None


def usable_dataset(context: CheckContext, name: str, pointer: str) -> Dataset | None:
    """A data set that jobs may name: ready, or an upload still being checked; else refused."""
    dataset = known_dataset(context, name, pointer)
    if dataset is None:
        return None
    if dataset.state == "unavailable":
        words = (dataset.problem or {}).get("detail", "")
        context.refuse(pointer, "dataset_unavailable", words)
        return None
    return (
        dataset if _is_usable(context, dataset, pointer, "a usable data set", "dataset") else None
    )


def usable_logits(context: CheckContext, name: str, pointer: str) -> Logits | None:
    """Uploaded logits that jobs may name: ready, or still being checked; else refused."""
    try:
        logits = find_logits(context.connection, context.owner_id, name)
    except NotFoundError:
        known = upload_names(context.connection, context.owner_id, LOGITS)
        meant = did_you_mean(name, known)
        detail = f"wanted the name of logits that GET /v1/logits lists, got {name!r}{meant}"
        context.refuse(pointer, "unknown_logits", detail)
        return None
    return logits if _is_usable(context, logits, pointer, "usable logits", "logits") else None


def _is_usable(
    context: CheckContext, upload: Dataset | Logits, pointer: str, wanted: str, code: str
) -> bool:
    """May jobs name it?  If not, say why."""
    if upload.state == "rejected":
        words = (upload.problem or {}).get("detail", "")
        detail = f"wanted {wanted}, got {upload.name!r}, rejected when it was checked: {words}"
        context.refuse(pointer, f"{code}_rejected", detail)
        return False
    if upload.state == "checking" and _is_check_lost(context, upload):
        detail = f"wanted {wanted}, got {upload.name!r}, whose check did not end: upload it again"
        context.refuse(pointer, f"{code}_unchecked", detail)
        return False
    return True


def intake_of(upload: Dataset | Logits | None) -> tuple[str, ...]:
    """The job that a job on this upload has to wait for, if its check has not ended."""
    if upload is None or upload.state != "checking" or upload.job_id is None:
        return ()
    return (upload.job_id,)


def origin_of(
    context: CheckContext, resource: Resource, reference: str, pointer: str
) -> Origin | None:
    """What a reference to a result, or to the job that makes it, stands for; else refused."""
    words = resource.replace("_", " ")
    wanted = f"wanted a {words} of yours, or a {MAKERS[resource]} job that makes one"
    try:
        if reference.startswith("job_"):
            job = find_job(context.connection, context.owner_id, reference)
            return _origin_in_job(context, resource, job, pointer)
        return _origin_in_result(context, resource, reference, pointer)
    except NotFoundError:
        context.refuse(pointer, "unknown_reference", f"{wanted}; there is no {reference}")
        return None


def common_dataset(
    context: CheckContext, resource: Resource, references: list[str], pointer: str
) -> tuple[list[Origin], Dataset | None]:
    """The origins of several references, which have to come from one usable data set."""
    places = [(f"{pointer}/{k}", reference) for k, reference in enumerate(references)]
    found = [
        (place, origin)
        for place, reference in places
        if (origin := origin_of(context, resource, reference, place)) is not None
    ]
    origins = [origin for _, origin in found]
    names = sorted({origin.dataset for origin in origins if origin.dataset is not None})
    if len(names) > 1:
        detail = f"wanted {resource}s of one data set, got {', '.join(names)}"
        context.refuse(pointer, "mixed_datasets", detail)
    if len(names) != 1:
        return origins, None
    dataset = usable_dataset(context, names[0], pointer)
    for place, origin in found:
        refuse_replaced(context, dataset, origin.created_at, place)
    return origins, dataset


def facts_source(context: CheckContext, origin: Origin | None) -> Dataset | None:
    """The data set behind an origin where it still exists; none of it is needed to go on."""
    if origin is None or origin.dataset is None:
        return None
    try:
        return find_dataset(context.connection, context.owner_id, origin.dataset, context.settings)
    except NotFoundError:
        return None


def _is_check_lost(context: CheckContext, upload: Dataset | Logits) -> bool:
    if upload.job_id is None:
        return True
    return find_job(context.connection, context.owner_id, upload.job_id).state in LOST_STATES


def _origin_in_job(
    context: CheckContext, resource: Resource, job: Job, pointer: str
) -> Origin | None:
    maker, content = MAKERS[resource], job.upload_content
    is_import = content is not None and IMPORTS.get(content) == resource
    if is_import and job.params.get("n_sets", 1) > 1:
        detail = f"wanted one distilled set, got {job.id}, which takes in {job.params['n_sets']}"
        context.refuse(pointer, "several_sets", f"{detail}: name one of them")
        return None
    if job.kind != maker and not is_import:
        detail = f"wanted a {maker} job, got {job.id}, which is a {job.kind} job"
        context.refuse(pointer, "wrong_kind", detail)
        return None
    if resource == "calibration" and "logits" in job.params:
        _refuse_logits(context, job.id, pointer)
        return None
    if job.state in LOST_STATES:
        detail = f"wanted a job that succeeds, got {job.id}, which is {job.state}"
        context.refuse(pointer, "reference_ended", detail)
        return None
    training_set = job.params.get("training_set", {}).get("source")
    set_id = job.params.get("options", {}).get("distilled_set") if is_import else None
    if is_import and resource == "model":
        training_set = "unknown" if set_id is None else "distilled"
    return Origin(
        dataset=job.dataset,
        maker=job.id,
        training_set=training_set,
        created_at=job.created_at,
        is_imported=is_import,
        distilled_set_id=set_id,
    )


def _refuse_logits(context: CheckContext, reference: str, pointer: str) -> None:
    detail = (
        "wanted a calibration of a network made here, to measure it on test images; got "
        f"{reference}, of uploaded logits, whose own job has written their report"
    )
    context.refuse(pointer, "no_network", detail)


def _origin_in_result(
    context: CheckContext, resource: Resource, reference: str, pointer: str
) -> Origin | None:
    result = find_result(context.connection, context.owner_id, resource, reference)
    columns = result.columns
    if resource == "calibration" and columns["model_id"] is None:
        _refuse_logits(context, reference, pointer)
        return None
    if resource == "calibration":
        model = find_result(context.connection, context.owner_id, "model", columns["model_id"])
        columns = model.columns
    return Origin(
        dataset=columns["dataset"],
        maker=result.job_id,
        training_set=columns.get("training_set"),
        created_at=result.created_at,
        is_imported=result.details.get("imported") is not None,
        distilled_set_id=columns.get("distilled_set_id"),
    )


def refuse_replaced(
    context: CheckContext, dataset: Dataset | None, made_at: datetime, pointer: str
) -> None:
    """An upload deleted and made anew under its old name is another data set.

    Args:
        context: of the submission.
        dataset: of that name, as it is now.
        made_at: when what comes from it, or the job that makes that, was written.
        pointer: to the field that names it.
    """
    if dataset is None or dataset.created_at is None or made_at >= dataset.created_at:
        return
    detail = f"it was made from an older upload than the present data set {dataset.name!r}"
    context.refuse(pointer, "dataset_replaced", detail)
