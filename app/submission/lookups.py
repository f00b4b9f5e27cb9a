"""The names in a submission that is refused already: are there such data sets, logits, results?

So that one answer tells of a misspelt field and of a misspelt data set. How fields fit together is
looked at once each of them is right.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from app.submission.references import CheckContext, origin_of, usable_dataset, usable_logits
from ddcal_core.specs.fields import (
    CALIBRATION_REFERENCE,
    EXPERTS_REFERENCE,
    MODEL_REFERENCE,
    NAME,
    SET_REFERENCE,
)
from ddcal_core.specs.results import Resource

MAX_REFERENCES = 100


def check_names(context: CheckContext, params: Mapping[str, Any]) -> None:
    """Refuse well-formed names of what is not there; others are no names.

    Args:
        context: of the submission.
        params: as they came in, otherwise unchecked.
    """
    if _is_form(params.get("dataset"), NAME):
        usable_dataset(context, params["dataset"], "/params/dataset")
    if _is_form(params.get("logits"), NAME):
        usable_logits(context, params["logits"], "/params/logits")
    for resource, reference, pointer in _references(params):
        origin_of(context, resource, reference, pointer)


def _is_form(value: object, pattern: str) -> bool:
    """Is it text of this form?"""
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _references(params: Mapping[str, Any]) -> Iterator[tuple[Resource, str, str]]:
    of_lists: tuple[tuple[str, Resource, str], ...] = (
        ("models", "model", MODEL_REFERENCE),
        ("calibrations", "calibration", CALIBRATION_REFERENCE),
    )
    for name, resource, form in of_lists:
        listed = params.get(name)
        for k, one in enumerate(listed[:MAX_REFERENCES] if isinstance(listed, list) else ()):
            if _is_form(one, form):
                yield resource, one, f"/params/{name}/{k}"
    if _is_form(params.get("experts"), EXPERTS_REFERENCE):
        yield "expert_set", params["experts"], "/params/experts"
    source = params.get("training_set")
    if isinstance(source, dict) and _is_form(source.get("distilled_set"), SET_REFERENCE):
        yield "distilled_set", source["distilled_set"], "/params/training_set/distilled_set"
    distill = params.get("distill")
    start = distill.get("init") if isinstance(distill, dict) else None
    if isinstance(start, dict) and _is_form(start.get("set"), SET_REFERENCE):
        yield "distilled_set", start["set"], "/params/distill/init/set"
