"""What a submission would do: its jobs, what they cost, and what of it would be refused."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from app.shared.errors import FieldProblem
from app.shared.settings import Settings
from app.shared.store.database import Connection
from app.shared.store.former_costs import Costs, costs_of
from app.shared.store.job_records import NewJob, new_id
from app.shared.store.kinds import KINDS, Kind
from app.submission.kind_checks import check_request
from app.submission.pipeline import children_of_pipeline
from app.submission.references import CheckContext
from app.submission.requests import JobRequest, PipelineRequest, StudyRequest
from app.submission.study import CheckedCell, checked_study, children_of_study
from ddcal_core.specs.decision_rules import SettingValue


@dataclass(frozen=True, kw_only=True)
class RefusedCell:
    """A cell of a study that could not be submitted, and why.

    Attributes:
        settings: what sets it apart.
        problems: with pointers into the study's request.
    """

    settings: Mapping[str, SettingValue]
    problems: tuple[FieldProblem, ...]


@dataclass(frozen=True, kw_only=True)
class SubmissionPlan:
    """What a submission would do; nothing of it is written.

    Attributes:
        kind: of the submission.
        n_cells: of a study, those that could be submitted; else 1.
        jobs: how many jobs of each kind would run, what cells share counted once.
        costs: what these take, as far as others like them have been run.
        refused: the cells that could not be submitted; with any, the study would be refused.
    """

    kind: Kind
    n_cells: int
    jobs: Mapping[Kind, int]
    costs: Costs
    refused: tuple[RefusedCell, ...]


def plan_of(
    connection: Connection, settings: Settings, owner_id: str, request: JobRequest
) -> SubmissionPlan:
    """Check a request as `submit` does, and tell what it would do.

    Raises:
        InvalidRequestError: it cannot be carried out, whichever cell of a study it is.
    """
    context = CheckContext(connection=connection, owner_id=owner_id, settings=settings)
    whole = NewJob(kind=request.kind, params={}, id=new_id("job"))
    refused: tuple[RefusedCell, ...] = ()
    n_cells = 1
    if isinstance(request, StudyRequest):
        request, cells = checked_study(context, request)
        sound = [cell for cell in cells if not cell.problems]
        refused = tuple(_refused(cell) for cell in cells if cell.problems)
        if not sound:
            context.close()
        n_cells = len(sound)
        jobs = children_of_study(request, whole, sound)
    else:
        _, intake = check_request(context, request)
        context.close()
        params = request.params.model_dump(mode="json")
        jobs = [NewJob(kind=request.kind, params=params)]
        if isinstance(request, PipelineRequest):
            jobs = children_of_pipeline(request, whole, intake)
    counts = Counter(job.kind for job in jobs)
    return SubmissionPlan(
        kind=request.kind,
        n_cells=n_cells,
        jobs={kind: counts[kind] for kind in KINDS if kind in counts},
        costs=costs_of(connection, owner_id, jobs),
        refused=refused,
    )


def _refused(cell: CheckedCell) -> RefusedCell:
    return RefusedCell(settings=cell.settings, problems=cell.problems)
