"""The experts that method mtt imitates, checked: they have to be of what is distilled.

A distillation that read validation images through its experts, or trajectories of another network,
would fail or be worth nothing; all of it is known when it is submitted.
"""

import json

from pydantic import ValidationError

from app.shared.inputs.datasets import Dataset
from app.shared.store.job_queries import find_job
from app.submission.data_checks import differences
from app.submission.references import CheckContext, Origin, origin_of, refuse_replaced
from ddcal_core.data.dataset_facts import n_convnet_parameters
from ddcal_core.specs.experts import ExpertSpec
from ddcal_core.specs.kinds.distill import DistillParams
from ddcal_core.specs.kinds.experts import ExpertsParams
from ddcal_core.specs.kinds.pipeline import PipelineParams
from ddcal_core.specs.methods.mtt import MttSpec

OF_THE_SPLIT = ("dataset", "seed", "n_validation", "imbalance", "input_space")


def check_experts(
    context: CheckContext, dataset: Dataset | None, params: DistillParams
) -> Origin | None:
    """Refuse experts that are not of the data, split, input space and network to distill with.

    Returns:
        What stands behind the reference; None where there is none, or it was refused.
    """
    if params.experts is None or not isinstance(params.distill, MttSpec):
        return None
    pointer = "/params/experts"
    origin = origin_of(context, "expert_set", params.experts, pointer)
    if origin is None:
        return None
    refuse_replaced(context, dataset, origin.created_at, pointer)
    made = find_job(context.connection, context.owner_id, origin.maker).params
    try:
        recorded = ExpertsParams.model_validate_json(json.dumps(made))
    except ValidationError:
        detail = f"wanted experts that this version can read; {origin.maker} is of another one"
        context.refuse(pointer, "experts_of_another_version", detail)
        return None
    for name, wanted, got in differences(dataset, recorded, params, OF_THE_SPLIT):
        detail = (
            f"wanted {wanted}, that of the experts, which have seen no validation image of theirs "
            f"and read images as they do; got {got}"
        )
        context.refuse(f"/params/{name}", "experts_of_other_data", detail)
    _check_network(
        context, params.distill, recorded.experts, at="/params/distill", of="the experts"
    )
    return origin


def check_own_experts(
    context: CheckContext, dataset: Dataset | None, params: PipelineParams
) -> None:
    """Refuse experts of a pipeline that its distillation cannot imitate, or does not."""
    spec = own_experts(params)
    if spec is not None:
        pointer = "/params/distill" if params.experts is None else "/params/experts"
        check_size_of_experts(context, dataset, spec, pointer)
    if params.experts is None:
        return
    if not isinstance(params.distill, MttSpec):
        detail = f"wanted them with method mtt and no other, got them with {params.distill.method}"
        context.refuse("/params/experts", "experts_not_read", detail)
        return
    _check_network(
        context, params.distill, params.experts, at="/params/distill", of="params.experts"
    )


def check_size_of_experts(
    context: CheckContext, dataset: Dataset | None, spec: ExpertSpec, pointer: str
) -> None:
    """Refuse experts that are more than may be kept."""
    if dataset is None or dataset.facts is None:
        return
    facts, n_snapshots = dataset.facts, spec.n_experts * (spec.epochs + 1)
    n_parameters = n_convnet_parameters(
        facts.image_shape, facts.n_classes, width=spec.width, depth=spec.depth
    )
    n_bytes, most = 4 * n_parameters * n_snapshots, context.settings.max_experts_bytes
    if n_bytes > most:
        detail = (
            f"wanted experts of at most {most:,} bytes; got {n_bytes:,}: {n_snapshots:,} snapshots "
            f"(n_experts times epochs + 1) of {n_parameters:,} parameters, 4 bytes each"
        )
        context.refuse(pointer, "experts_too_large", detail)


def own_experts(params: PipelineParams) -> ExpertSpec | None:
    """The experts that a pipeline records for itself; None where its method imitates none."""
    if not isinstance(params.distill, MttSpec):
        return None
    return params.experts or params.distill.experts_to_imitate()


def _check_network(
    context: CheckContext, spec: MttSpec, experts: ExpertSpec, *, at: str, of: str
) -> None:
    for name in ("width", "depth"):
        wanted, got = getattr(experts, name), getattr(spec, name)
        if wanted != got:
            detail = f"wanted {wanted}, the {name} of {of}; got {got}"
            context.refuse(f"{at}/{name}", "experts_of_other_network", detail)
    if spec.last_epoch_read > experts.epochs:
        detail = (
            f"wanted max_start_epoch - 1 + expert_epochs at most {experts.epochs}, the epochs of "
            f"{of}; got {spec.last_epoch_read}"
        )
        context.refuse(f"{at}/max_start_epoch", "experts_too_short", detail)
