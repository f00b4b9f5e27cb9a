"""What each kind of job needs before it can be submitted, checked field by field.

One function a kind: it refuses every field that cannot work with what there is, and gives the data
set that the job belongs to and the jobs that it waits for.
"""

from typing import assert_never

from app.shared.inputs.datasets import Dataset
from app.submission.data_checks import (
    check_common_classes,
    check_data,
    check_images_per_class,
    check_n_images,
)
from app.submission.expert_checks import check_experts, check_own_experts, check_size_of_experts
from app.submission.network_checks import check_imported
from app.submission.pipeline import needs_small_set
from app.submission.references import (
    CheckContext,
    common_dataset,
    facts_source,
    intake_of,
    origin_of,
    usable_dataset,
    usable_logits,
)
from app.submission.requests import (
    CalibrateRequest,
    DistillRequest,
    EvaluateRequest,
    ExpertsRequest,
    OneRequest,
    PipelineRequest,
    TrainRequest,
)
from app.submission.size_checks import (
    check_curve_masks,
    check_depth,
    check_drop,
    check_features,
    check_masks,
    check_network,
    check_patch,
    check_probes,
    check_published_for,
)
from app.submission.start_checks import check_start
from ddcal_core.data.class_choice import n_validation_images
from ddcal_core.specs.calibration import CalibrationSpecs
from ddcal_core.specs.kinds.calibrate import CalibrateParams
from ddcal_core.specs.kinds.calibrate_logits import CalibrateLogitsParams
from ddcal_core.specs.kinds.distill import DistillParams
from ddcal_core.specs.kinds.pipeline import PipelineParams
from ddcal_core.specs.kinds.train import TrainParams
from ddcal_core.specs.methods.rtp import RtpSpec
from ddcal_core.specs.training import (
    DistilledTrainingSet,
    FullTrainingSet,
    HerdingTrainingSet,
    RandomTrainingSet,
    TaughtTrainingSet,
)

Plan = tuple[str | None, tuple[str, ...]]
"""The data set a job belongs to, and the ids of the jobs it needs."""


def check_request(context: CheckContext, request: OneRequest) -> Plan:
    """Check a request's params; `context.close` raises all the problems found, together.

    Returns:
        The job's plan; incomplete when there are problems.
    """
    match request:
        case ExpertsRequest():
            return _check_experts(context, request)
        case DistillRequest():
            return _check_distill(context, request)
        case TrainRequest():
            return _check_train(context, request.params)
        case CalibrateRequest():
            return _check_calibrate(context, request.params)
        case EvaluateRequest():
            return _check_evaluate(context, request)
        case PipelineRequest():
            return request.params.dataset, _check_pipeline(context, request)
        case _:
            assert_never(request)


def _check_experts(context: CheckContext, request: ExpertsRequest) -> Plan:
    params = request.params
    dataset = check_data(
        context, usable_dataset(context, params.dataset, "/params/dataset"), params
    )
    check_depth(context, dataset, params.experts.depth, "/params/experts/depth")
    check_size_of_experts(context, dataset, params.experts, "/params/experts")
    return params.dataset, intake_of(dataset)


def _check_distill(context: CheckContext, request: DistillRequest) -> Plan:
    params = request.params
    whole = usable_dataset(context, params.dataset, "/params/dataset")
    dataset = check_data(context, whole, params)
    _check_distill_spec(context, dataset, params)
    origin = check_experts(context, whole, params)
    experts = () if origin is None else (origin.maker,)
    return params.dataset, (*intake_of(dataset), *experts, *check_start(context, whole, params))


def _check_train(context: CheckContext, params: TrainParams) -> Plan:
    source = params.training_set
    if isinstance(source, DistilledTrainingSet):
        pointer = "/params/training_set/distilled_set"
        origin = origin_of(context, "distilled_set", source.distilled_set, pointer)
        dataset = facts_source(context, origin)
        check_network(context, dataset, params.train, "/params/train")
        check_drop(context, dataset, params.train, source)
        return (None, ()) if origin is None else (origin.dataset, (origin.maker,))
    name = params.dataset or ""
    dataset = check_data(context, usable_dataset(context, name, "/params/dataset"), params)
    check_network(context, dataset, params.train, "/params/train")
    check_drop(context, dataset, params.train, source)
    match source:
        case RandomTrainingSet() | TaughtTrainingSet():
            pointer = "/params/training_set/images_per_class"
            check_images_per_class(context, dataset, source.images_per_class, params, pointer)
        case HerdingTrainingSet():
            pointer = "/params/training_set"
            wanted, where = source.images_per_class, f"{pointer}/images_per_class"
            check_images_per_class(context, dataset, wanted, params, where)
            check_features(context, dataset, source.features, f"{pointer}/features")
        case FullTrainingSet():
            pointer = "/params/training_set/n_images"
            check_n_images(context, dataset, source.n_images, params, pointer)
        case _:
            assert_never(source)
    return name, intake_of(dataset)


def _check_calibrate_logits(context: CheckContext, params: CalibrateLogitsParams) -> Plan:
    for k, spec in enumerate(params.calibrate):
        if spec in params.calibrate[:k]:
            detail = f"wanted each method and optimiser once, got {spec.method!r} again"
            context.refuse(f"/params/calibrate/{k}/method", "duplicate_calibration", detail)
    logits = usable_logits(context, params.logits, "/params/logits")
    return params.logits, intake_of(logits)


def _check_calibrate(
    context: CheckContext, params: CalibrateParams | CalibrateLogitsParams
) -> Plan:
    if isinstance(params, CalibrateLogitsParams):
        return _check_calibrate_logits(context, params)
    origins, dataset = common_dataset(context, "model", params.models, "/params/models")
    without = [k for k, origin in enumerate(origins) if origin.training_set in _WITHOUT_SET]
    if without:
        why = _WITHOUT_SET[origins[without[0]].training_set or ""]
        _refuse_fit_on_small_set(context, params.calibrate, without[0], why)
    check_imported(context, origins, params.calibrate)
    check_masks(context, dataset, params.calibrate)
    needs = tuple(origin.maker for origin in origins) + intake_of(dataset)
    return (None if dataset is None else dataset.name), needs


_WITHOUT_SET = {
    "full": "a network trained on the full data, which has no distilled set",
    "unknown": "an imported network of which no distilled_set was named when it was uploaded",
}
"""What has no small set to fit on: what it was trained on -> it, in words."""


def _refuse_fit_on_small_set(
    context: CheckContext, specs: CalibrationSpecs, model: int, why: str
) -> None:
    for k, spec in enumerate(specs):
        if not needs_small_set(spec):
            continue
        field, wanted, got = "fit_on", "fit_on validation", "training_set"
        if getattr(spec, "fit_on", None) == "validation":
            field, wanted, got = "mask/ratio", "a ratio in [0, 1)", '"auto"'
        detail = f"wanted {wanted} for {why}: /params/models/{model}; got {got}"
        context.refuse(f"/params/calibrate/{k}/{field}", "no_distilled_set", detail)


def _check_evaluate(context: CheckContext, request: EvaluateRequest) -> Plan:
    references = request.params.calibrations
    origins, dataset = common_dataset(context, "calibration", references, "/params/calibrations")
    check_common_classes(context, dataset, references, "/params/calibrations")
    check_curve_masks(context, dataset, request.params.evaluate)
    check_probes(context, dataset, request.params.evaluate)
    needs = tuple(origin.maker for origin in origins) + intake_of(dataset)
    return (None if dataset is None else dataset.name), needs


def _check_pipeline(context: CheckContext, request: PipelineRequest) -> tuple[str, ...]:
    """Check a pipeline; give the jobs that its first children wait for."""
    params = request.params
    whole = usable_dataset(context, params.dataset, "/params/dataset")
    dataset = check_data(context, whole, params)
    _check_distill_spec(context, dataset, params)
    check_own_experts(context, dataset, params)
    check_network(context, dataset, params.train, "/params/train")
    check_drop(context, dataset, params.train, *params.baselines)
    _check_calibrations(context, dataset, request)
    check_curve_masks(context, dataset, params.evaluate)
    check_probes(context, dataset, params.evaluate)
    for k, network in enumerate(params.train_networks):
        check_network(context, dataset, network, f"/params/train_networks/{k}")
    sources = [baseline.source for baseline in params.baselines]
    for k, baseline in enumerate(params.baselines):
        pointer = f"/params/baselines/{k}"
        if baseline.source in sources[:k]:
            detail = f"wanted each baseline once, got {baseline.source!r} again"
            context.refuse(pointer, "duplicate_baseline", detail)
        if baseline.source == "full":
            check_n_images(context, dataset, baseline.n_images, params, f"{pointer}/n_images")
        if baseline.source == "herding":
            check_features(context, dataset, baseline.features, f"{pointer}/features")
    if {"random", "taught", "herding"} & set(sources) and params.distill.init != "real":
        pointer, wanted = "/params/distill/images_per_class", params.distill.images_per_class
        check_images_per_class(context, dataset, wanted, params, pointer)
    return (*intake_of(dataset), *check_start(context, whole, params))


def _check_calibrations(
    context: CheckContext, dataset: Dataset | None, request: PipelineRequest
) -> None:
    """Validation images where a fit wants them, and something to show in each row."""
    params = request.params
    check_masks(context, dataset, params.calibrate)
    fits = [getattr(spec, "fit_on", None) for spec in params.calibrate]
    facts = None if dataset is None else dataset.facts
    n_validation = facts and n_validation_images(facts, params.n_validation)
    if "validation" in fits and n_validation == 0:
        pointer = f"/params/calibrate/{fits.index('validation')}/fit_on"
        detail = "wanted validation images to fit on, got too few training images to cut any"
        context.refuse(pointer, "no_validation_images", detail)
    has_full = any(baseline.source == "full" for baseline in params.baselines)
    if has_full and all(map(needs_small_set, params.calibrate)):
        detail = (
            "wanted a calibration that the full baseline can take (none, or one fitted on "
            'validation, not of a ratio "auto"), got only ones that need a distilled set'
        )
        context.refuse("/params/calibrate", "no_calibration_left", detail)


def _check_distill_spec(
    context: CheckContext, dataset: Dataset | None, params: DistillParams | PipelineParams
) -> None:
    spec = params.distill
    check_depth(context, dataset, spec.depth, "/params/distill/depth")
    check_patch(context, dataset, spec.mask, "/params/distill/mask/patch_size")
    check_published_for(context, dataset, spec.published_for, "/params/distill/published_for")
    n_images = spec.images_per_class
    if isinstance(spec, RtpSpec):
        n_images = _check_rtp(context, dataset, spec)
    if spec.init == "real":
        pointer = "/params/distill/images_per_class"
        check_images_per_class(context, dataset, n_images, params, pointer)


def _check_rtp(context: CheckContext, dataset: Dataset | None, spec: RtpSpec) -> int:
    """Refuse a storage budget without room for an image; give the images a class of the set."""
    if dataset is None or dataset.facts is None:
        return spec.images_per_class
    facts, stored = dataset.facts, spec.storage(dataset.facts)
    if stored["decoded_images_per_class"] < 1:
        detail = (
            f"wanted room for at least one image per class beside {spec.n_bases} bases of "
            f"{' x '.join(map(str, spec.basis_shape(facts)))}, which are {stored['bases']:,} "
            f"numbers; got a budget of {stored['budget']:,}, as many as {spec.images_per_class} "
            "images per class have"
        )
        context.refuse("/params/distill/images_per_class", "storage_budget_too_small", detail)
    if spec.task_classes is not None and spec.task_classes > facts.n_classes:
        detail = f"wanted at most {facts.n_classes}, all there are; got {spec.task_classes}"
        context.refuse("/params/distill/task_classes", "too_many_classes", detail)
    return stored["decoded_images_per_class"]
