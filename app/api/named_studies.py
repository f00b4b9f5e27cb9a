"""/v1/named-studies: the studies that have a name, with what decides each."""

from fastapi import APIRouter
from fastapi.responses import Response

from app.api.http.responses import json_answer
from app.api.schemas.studies import NamedStudyList, named_study_body
from ddcal_core.specs.named_studies.definitions import NAMED_STUDIES

router = APIRouter(prefix="/v1/named-studies", tags=["jobs"])


@router.get("", response_model=NamedStudyList, summary="List the named studies")
def list_named_studies() -> Response:
    """Each with its question, what varies, and the rules that decide, fixed beforehand.

    One is run by `POST /v1/jobs` with `{"kind": "study", "params": {"named": NAME, "dataset": …}}`.
    """
    items = [named_study_body(study) for study in NAMED_STUDIES.values()]
    return json_answer(NamedStudyList(items=items))
