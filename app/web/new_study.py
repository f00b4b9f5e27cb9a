"""/new/study: what varies over a pipeline, and the studies that have a name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.api.http.dependencies import OwnerDep, Service, ServiceDep
from app.api.schemas.studies import named_study_body
from app.shared.errors import FieldProblem
from app.web.drafts import (
    Draft,
    answered,
    as_json,
    checked,
    dataset_choices,
    given_form,
)
from app.web.form_groups import asked_fields, further_groups
from app.web.rendering import page
from app.web.request_forms import DATASET, pipeline_fields, unchanged_form
from app.web.study_forms import (
    COMBINE,
    NAMED,
    OTHER,
    VARIED,
    named_document,
    named_problems,
    study_document,
    study_form_problems,
    study_problems,
)
from ddcal_core.specs.named_studies.definitions import NAMED_STUDIES

router = APIRouter(prefix="/new/study", include_in_schema=False)

NAMED_DATASET = f"{NAMED}.dataset"


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What is wrong, by field, and what is of no field."""

    wrong: Mapping[str, str]
    others: Sequence[FieldProblem]


@router.get("")
def get_new_study(request: Request, service: ServiceDep, owner_id: OwnerDep) -> Response:
    """Both forms, with a data set chosen by `dataset`."""
    chosen = request.query_params.get("dataset") or "digits"
    draft = Draft(given=_form(chosen))
    return _answer(request, service, owner_id, draft, _Told(wrong={}, others=()))


@router.post("")
async def post_new_study(request: Request) -> Response:
    """Check a study of what varies, or submit it and lead to its job."""
    service, owner_id, given = await given_form(request)
    form = {**_form((given.get(DATASET) or [""])[0], is_ticked=False), **given}
    sent = as_json(study_document(given))
    draft = Draft(given=form, sent=sent, problems=study_form_problems(given))
    return await answered(request, service, owner_id, draft, _checked)


@router.post("/named")
async def post_named_study(request: Request) -> Response:
    """Likewise a study that has a name."""
    service, owner_id, given = await given_form(request)
    form = {**_form((given.get(NAMED_DATASET) or [""])[0]), **given}
    draft = Draft(given=form, sent=as_json(named_document(given)))
    return await answered(request, service, owner_id, draft, _checked)


def _form(dataset: str, *, is_ticked: bool = True) -> dict[str, Sequence[str]]:
    ticked = unchanged_form(dataset) if is_ticked else {DATASET: [dataset]}
    return {**ticked, NAMED_DATASET: [dataset]}


def _checked(request: Request, service: Service, owner_id: str, draft: Draft) -> Response:
    draft = checked(draft, service, owner_id)
    is_named = request.url.path.endswith(f"/{NAMED}")
    wrong, others = (named_problems if is_named else study_problems)(draft.problems)
    return _answer(request, service, owner_id, draft, _Told(wrong=wrong, others=others))


def _answer(
    request: Request, service: Service, owner_id: str, draft: Draft, told: _Told
) -> Response:
    fields = pipeline_fields()
    values = {
        "draft": draft,
        "datasets": dataset_choices(service, owner_id, draft.given[DATASET][0]),
        "varied": VARIED.values(),
        "combine": COMBINE,
        "other": OTHER,
        "asked": asked_fields(fields),
        "groups": further_groups(fields),
        "studies": [named_study_body(one) for one in NAMED_STUDIES.values()],
        "wrong": told.wrong,
        "others": told.others,
    }
    return page(request, service, "study.html", values, status=422 if draft.problems else 200)
