"""A study taken apart: its cells, each a pipeline checked by itself, and the jobs they share."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from app.shared.errors import FieldProblem, NotFoundError
from app.shared.store.job_queries import find_job
from app.shared.store.job_records import NewJob
from app.shared.store.kinds import KINDS, NO_QUEUE
from app.submission.field_problems import problems_of
from app.submission.kind_checks import check_request
from app.submission.pipeline import children_of_pipeline
from app.submission.pointers import json_pointer
from app.submission.references import CheckContext
from app.submission.requests import PipelineRequest, StudyRequest
from app.submission.rule_checks import check_rules
from app.submission.suggestions import did_you_mean
from ddcal_core.specs.decision_rules import SettingValue
from ddcal_core.specs.kinds.compare import ComparedReport, CompareParams
from ddcal_core.specs.kinds.pipeline import PipelineParams
from ddcal_core.specs.kinds.study import OF_NAMED, StudyParams
from ddcal_core.specs.named_studies.definitions import NAMED_STUDIES
from ddcal_core.specs.named_studies.named_study import SEEDS, Budget
from ddcal_core.specs.study_cells import Cell, StudyError, cells_of, with_added

BELOW_SINGLE_JOBS = 1
"""By how much the jobs of a study rank lower than the study says."""
MAX_PROBLEMS = 20
_JOB_ID = re.compile(r"\bjob_[0-9a-z]{26}\b")


@dataclass(frozen=True, kw_only=True)
class CheckedCell:
    """A cell that has been looked at.

    Attributes:
        settings: what sets it apart.
        request: its pipeline; None where its params are none.
        intake: the jobs that its first jobs wait for.
        problems: why it would be refused, with pointers into the study's params.
    """

    settings: Mapping[str, SettingValue]
    request: PipelineRequest | None
    intake: tuple[str, ...]
    problems: tuple[FieldProblem, ...]


def checked_study(
    context: CheckContext, request: StudyRequest
) -> tuple[StudyRequest, list[CheckedCell]]:
    """Fill in what a study leaves to another one, and check each of its cells as a pipeline.

    Whatever is wrong is noted in the context; where it is the same in several cells, once.

    Returns:
        The request with its params filled in, and its cells in order.
    """
    params = _filled_in(context, request.params)
    if params is None:
        return request, []
    # A list of studies says which is which.
    name = request.name or params.named
    request = request.model_copy(update={"params": params, "name": name})
    try:
        cells = cells_of(params)
    except StudyError as error:
        context.refuse(json_pointer(("params", *error.path)), "invalid_study", str(error))
        return request, []
    checked = [_checked(context, cell) for cell in cells]
    for problem in _once_each(checked)[:MAX_PROBLEMS]:
        context.refuse(problem.pointer, problem.code, problem.detail)
    whole = [cell.request.params for cell in checked if cell.request is not None]
    if len(whole) == len(checked):
        check_rules(context, params.rules, whole)
    return request, checked


def dataset_of(cells: Sequence[CheckedCell]) -> str | None:
    """The data set that all cells are about, if it is one."""
    names = {cell.request.params.dataset for cell in cells if cell.request is not None}
    return names.pop() if len(names) == 1 else None


def children_of_study(
    request: StudyRequest, study: NewJob, cells: Sequence[CheckedCell]
) -> list[NewJob]:
    """The jobs of all cells, each once, in an order that respects their needs; the last compares.

    Cells share what is the same by itself and in all that it is made from: experts, sets, networks,
    baselines.

    Args:
        request: of the study, filled in.
        study: the composite job, whose settings the children share.
        cells: none of which was refused.
    """
    low = replace(study, priority=study.priority - BELOW_SINGLE_JOBS)
    shared = _SharedJobs()
    compared = []
    for number, cell in enumerate(cells, start=1):
        assert cell.request is not None
        jobs = children_of_pipeline(cell.request, low, cell.intake)
        measured = [shared.kept(job, number) for job in jobs][-1]
        compared.append(ComparedReport(report=measured, settings=dict(cell.settings)))
    params = request.params
    of_all = CompareParams(reports=compared, base=params.reference, rules=params.rules)
    compare = replace(
        low,
        id=NewJob(kind="compare", params={}).id,
        kind="compare",
        role="compare",
        params=of_all.model_dump(mode="json"),
        queue=KINDS["compare"].queue or NO_QUEUE,
        retry_of=None,
        needs=(),
        waits_for=tuple(dict.fromkeys(one.report for one in compared)),
        start_at=None,
        expires_at=None,
    )
    return [*shared.jobs, compare]


class _SharedJobs:
    """The jobs of a study so far, by all that sets each apart."""

    def __init__(self) -> None:
        self.jobs: list[NewJob] = []
        self._ids: dict[str, str] = {}
        self._by_content: dict[tuple[str, str], str] = {}

    def kept(self, job: NewJob, number: int) -> str:
        """The id of a cell's job: its own, or that of one that another cell has already."""
        text = json.dumps(job.params, sort_keys=True)
        params = _JOB_ID.sub(lambda found: self._ids.get(found[0], found[0]), text)
        known = self._by_content.setdefault((job.kind, params), job.id)
        self._ids[job.id] = known
        if known == job.id:
            needs = tuple(self._ids.get(needed, needed) for needed in job.needs)
            role = f"{number}-{job.role}"
            self.jobs.append(replace(job, params=json.loads(params), needs=needs, role=role))
        return known


def _filled_in(context: CheckContext, params: StudyParams) -> StudyParams | None:
    if params.named is not None:
        return _named(context, params, params.named)
    # With a base it is whole: a retry of an extended study has all that it went on from.
    if params.extends is None or params.base is not None:
        return params
    return _extended(context, params, params.extends)


def _named(context: CheckContext, params: StudyParams, name: str) -> StudyParams | None:
    """The study of a name; whatever is given of it besides has to be as it is defined."""
    study = NAMED_STUDIES.get(name)
    if study is None:
        meant = did_you_mean(name, NAMED_STUDIES)
        detail = f"wanted one of {', '.join(NAMED_STUDIES)}; got {name!r}{meant}"
        context.refuse("/params/named", "unknown_study", detail)
        return None
    budget = Budget(preset=params.preset or "smoke", published_for=params.published_for)
    whole = study.params(params.dataset or "", budget, params.seeds or SEEDS)
    fixed = True
    for field in sorted(params.model_fields_set - {"named"}):
        given = getattr(params, field)
        if given is not None and given != getattr(whole, field):
            detail = (
                f"{name} is fixed: version {study.version} has another {field}; leave it out, or "
                "submit a study of your own without a name"
            )
            context.refuse(f"/params/{field}", "named_study_is_fixed", detail)
            fixed = False
    return whole if fixed else None


def _extended(context: CheckContext, params: StudyParams, job_id: str) -> StudyParams | None:
    """What a study goes on from, with the values given added to its own."""
    pointer = "/params/extends"
    try:
        job = find_job(context.connection, context.owner_id, job_id)
    except NotFoundError:
        detail = f"wanted a study of yours; there is no {job_id}"
        context.refuse(pointer, "unknown_reference", detail)
        return None
    if job.kind != "study":
        detail = f"wanted a study, got {job_id}, which is a {job.kind} job"
        context.refuse(pointer, "wrong_kind", detail)
        return None
    try:
        former = StudyParams.model_validate_json(json.dumps(job.params))
    except ValidationError:
        detail = f"{job_id} asks for what this version does not take: submit it with base and vary"
        context.refuse(pointer, "not_extendable", detail)
        return None
    try:
        vary = with_added(former.vary, params.vary)
    except StudyError as error:
        context.refuse(json_pointer(("params", *error.path)), "invalid_study", str(error))
        return None
    given = {name: getattr(params, name) for name in params.model_fields_set - {"vary"}}
    # The rules of a named study hold for its own cells: more of them make it another study.
    no_name = dict.fromkeys(("named", *OF_NAMED))
    return former.model_copy(update={**no_name, **given, "vary": vary, "extends": job_id})


def _checked(context: CheckContext, cell: Cell) -> CheckedCell:
    try:
        params = PipelineParams.model_validate(cell.params)
    except ValidationError as error:
        found = problems_of(error, PipelineParams, (), at_most=MAX_PROBLEMS)
        problems = [_placed(cell, one) for one in found]
        return CheckedCell(
            settings=cell.settings, request=None, intake=(), problems=tuple(problems)
        )
    own = replace(context, problems=[])
    request = PipelineRequest(kind="pipeline", params=params)
    _, intake = check_request(own, request)
    problems = [
        _placed(cell, replace(one, pointer=one.pointer.removeprefix("/params")))
        for one in own.problems
    ]
    return CheckedCell(
        settings=cell.settings, request=request, intake=intake, problems=tuple(problems)
    )


def _placed(cell: Cell, problem: FieldProblem) -> FieldProblem:
    """A problem of a cell's params, where what makes it stands in the study's."""
    path = tuple(
        part.replace("~1", "/").replace("~0", "~") for part in problem.pointer.split("/")[1:]
    )
    met = [own for own in cell.origins if own[: len(path)] == path[: len(own)]]
    if not met:
        return replace(problem, pointer=json_pointer(("params", "base", *path)))
    own = max(met, key=len)
    pointer = json_pointer(("params", *cell.origins[own], *path[len(own) :]))
    return replace(problem, pointer=pointer)


def _once_each(cells: Sequence[CheckedCell]) -> list[FieldProblem]:
    """The problems of all cells, each once, with the first cell that has it and how many have."""
    found: dict[tuple[str, str], list[tuple[CheckedCell, FieldProblem]]] = {}
    for cell in cells:
        for problem in cell.problems:
            found.setdefault((problem.pointer, problem.code), []).append((cell, problem))
    told = []
    for met in found.values():
        cell, problem = met[0]
        where = ", ".join(f"{name} {json.dumps(value)}" for name, value in cell.settings.items())
        words = f"{problem.detail} (in {len(met)} of {len(cells)} cells, first with {where})"
        told.append(replace(problem, detail=words))
    return told
