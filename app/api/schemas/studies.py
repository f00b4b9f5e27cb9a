"""What a submission would do, and the studies that have a name."""

from pydantic import Field

from app.api.schemas.bodies import Body, JobKind
from app.api.schemas.service import FieldProblemBody
from app.submission.plan import SubmissionPlan
from ddcal_core.specs.decision_rules import DecisionRule, SettingValue
from ddcal_core.specs.named_studies.named_study import SEEDS, Budget, Group, NamedStudy


class RefusedCellBody(Body):
    """A cell of a study that could not be submitted."""

    settings: dict[str, SettingValue] = Field(description="What sets it apart.")
    errors: list[FieldProblemBody] = Field(description="Why it would be refused.")


class PlanBody(Body):
    """What a submission would do."""

    kind: JobKind = Field(description="Of the submission.")
    n_cells: int = Field(
        description="Of a study, the cells that could be submitted; else 1.", examples=[12]
    )
    n_jobs: int = Field(description="Jobs that would run, what cells share counted once.")
    jobs: dict[JobKind, int] = Field(description="How many of each kind.")
    estimated_seconds: float = Field(
        description="What the jobs of which others like them have been run will take, one after "
        "the other."
    )
    estimated_bytes: int = Field(description="Likewise, of their results.")
    n_without_estimate: int = Field(
        description="Jobs of which none like it has been run: in neither sum."
    )
    refused: list[RefusedCellBody] = Field(
        description="The cells that could not be submitted; with any, the study would be refused."
    )


class NamedStudyBody(Body):
    """A study under a name."""

    name: str = Field(description="What to ask for, as `named` of a study.")
    version: int = Field(description="Of its definition: of what varies and what decides.")
    group: Group = Field(description="Where the question stands in the plan of the field.")
    question: str = Field(description="In one sentence.")
    seeds: int = Field(description="How many it takes unless told otherwise.")
    varies: list[str] = Field(description="Paths in the params of a pipeline, or named variants.")
    rules: list[DecisionRule] = Field(description="What decides, fixed beforehand.")


class NamedStudyList(Body):
    """Every study under a name."""

    items: list[NamedStudyBody] = Field(description="In the order of their questions.")


def plan_body(plan: SubmissionPlan) -> PlanBody:
    """A plan, shown."""
    return PlanBody(
        kind=plan.kind,
        n_cells=plan.n_cells,
        n_jobs=sum(plan.jobs.values()),
        jobs=dict(plan.jobs),
        estimated_seconds=plan.costs.seconds,
        estimated_bytes=plan.costs.n_bytes,
        n_without_estimate=plan.costs.n_unknown,
        refused=[
            RefusedCellBody(
                settings=dict(cell.settings),
                errors=[FieldProblemBody(**vars(one)) for one in cell.problems],
            )
            for cell in plan.refused
        ],
    )


_ANY_DATASET = "digits"
"""What varies and what decides is the same on every data set."""


def named_study_body(study: NamedStudy) -> NamedStudyBody:
    """A named study, shown."""
    params = study.params(_ANY_DATASET, Budget(), SEEDS)
    return NamedStudyBody(
        name=study.name,
        version=study.version,
        group=study.group,
        question=study.question,
        seeds=SEEDS,
        varies=list(params.vary),
        rules=params.rules,
    )
