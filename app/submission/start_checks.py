"""The distilled set that a distillation starts from, checked against what is to be learned."""

import json

from pydantic import ValidationError

from app.shared.inputs.datasets import Dataset
from app.shared.store.catalog import find_result
from app.shared.store.job_queries import find_job
from app.submission.data_checks import differences
from app.submission.references import CheckContext, Origin, origin_of, refuse_replaced
from ddcal_core.specs.kinds.distill import DistillParams
from ddcal_core.specs.kinds.pipeline import PipelineParams
from ddcal_core.specs.methods.method import SetStart
from ddcal_core.specs.methods.rtp import RtpSpec

POINTER = "/params/distill/init/set"


def check_start(
    context: CheckContext, dataset: Dataset | None, params: DistillParams | PipelineParams
) -> tuple[str, ...]:
    """Refuse a set of other data, or of another size, than what is to be learned from it.

    Args:
        context: of the submission.
        dataset: with all its classes; None where there is none.
        params: of a distillation, or of a pipeline.

    Returns:
        The job that makes the set, to wait for; empty where the start is no set, or was refused.
    """
    init = params.distill.init
    if not isinstance(init, SetStart):
        return ()
    origin = origin_of(context, "distilled_set", init.set, POINTER)
    if origin is None:
        return ()
    if origin.dataset != params.dataset:
        detail = f"wanted a set of {params.dataset}, got one of {origin.dataset}"
        context.refuse(POINTER, "set_of_other_data", detail)
        return ()
    refuse_replaced(context, dataset, origin.created_at, POINTER)
    recorded = _distillation(context, origin)
    if recorded is not None:
        _check_made_here(context, dataset, recorded, params)
    _check_size(context, init.set, recorded, params)
    return (origin.maker,)


def _check_made_here(
    context: CheckContext,
    dataset: Dataset | None,
    recorded: DistillParams,
    params: DistillParams | PipelineParams,
) -> None:
    for name, wanted, got in differences(dataset, recorded, params, ("seed", "n_validation")):
        detail = (
            f"wanted {wanted}, that of the set to start from, which has seen no validation image "
            f"of its own; got {got}"
        )
        context.refuse(f"/params/{name}", "set_of_other_data", detail)


def _check_size(
    context: CheckContext,
    reference: str,
    recorded: DistillParams | None,
    params: DistillParams | PipelineParams,
) -> None:
    """Refuse another number of images per class, where it is known and not RTP's, of its budget."""
    if isinstance(params.distill, RtpSpec):
        return
    if recorded is not None:
        held = None if isinstance(recorded.distill, RtpSpec) else recorded.distill.images_per_class
    elif reference.startswith("job_"):
        return  # an upload that is being checked
    else:
        result = find_result(context.connection, context.owner_id, "distilled_set", reference)
        held = result.details["images_per_class"]
    wanted = params.distill.images_per_class
    if held is not None and held != wanted:
        detail = f"wanted {held}, as many as the set to start from has of a class; got {wanted}"
        context.refuse("/params/distill/images_per_class", "set_of_other_size", detail)


def _distillation(context: CheckContext, origin: Origin) -> DistillParams | None:
    """The params of the job that made a set; None where it was made elsewhere."""
    maker = find_job(context.connection, context.owner_id, origin.maker)
    if maker.kind != "distill":
        return None
    try:
        return DistillParams.model_validate_json(json.dumps(maker.params))
    except ValidationError:
        detail = f"wanted a set of this version's making; {maker.id} is of another one"
        context.refuse(POINTER, "set_of_another_version", detail)
        return None
