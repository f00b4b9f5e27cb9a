"""Submit and cancel: check a request against what there is, write the row and its ring, commit.

Everything that can be known to fail is refused here, with a pointer to each field; nothing of a
refused request is written.
"""

import json
from dataclasses import replace
from typing import assert_never

from app.shared.engine.jobs import insert_job, insert_pipeline, request_cancel
from app.shared.errors import ConflictError
from app.shared.inputs.datasets import Dataset
from app.shared.settings import Settings
from app.shared.store.catalog import find_job
from app.shared.store.database import Connection, Database, clock
from app.shared.store.job_records import Job, NewJob
from app.shared.store.kinds import KINDS, NO_QUEUE
from app.submission.data_checks import (
    check_common_classes,
    check_data,
    check_images_per_class,
    check_n_images,
)
from app.submission.expert_checks import check_experts, check_own_experts, check_size_of_experts
from app.submission.pipeline import children_of_pipeline, needs_small_set
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
    JOB_REQUESTS,
    CalibrateRequest,
    DistillRequest,
    EvaluateRequest,
    ExpertsRequest,
    JobRequest,
    PipelineRequest,
    TrainRequest,
)
from app.submission.size_checks import (
    check_curve_masks,
    check_depth,
    check_features,
    check_masks,
    check_network,
    check_patch,
)
from ddcal_core.data.dataset_facts import validation_counts
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
)

Plan = tuple[str | None, tuple[str, ...]]
"""The data set a job belongs to, and the ids of the jobs it needs."""


def submit(
    connection: Connection,
    settings: Settings,
    owner_id: str,
    request: JobRequest,
    *,
    job_id: str,
    request_id: str | None = None,
    retry_of: str | None = None,
) -> Job:
    """Check a request and write its job, of a pipeline with all its children.

    Args:
        connection: a write transaction; what is raised has to roll it back.
        settings: of the service.
        owner_id: whose job it is to be.
        request: what was asked.
        job_id: that the job is to have.
        request_id: of the HTTP request that asked.
        retry_of: the ended job that it repeats.

    Raises:
        InvalidRequestError: it asks for what cannot be, one problem a field.
    """
    context = CheckContext(connection=connection, owner_id=owner_id, settings=settings)
    request = _in_time(context, request)
    plan = _check(context, request)
    context.close()
    new = _new_job(request, plan, settings)
    new = replace(new, id=job_id, request_id=request_id, retry_of=retry_of)
    if not isinstance(request, PipelineRequest):
        return insert_job(connection, owner_id, new)
    # What a pipeline needs, its first children wait for.
    children = children_of_pipeline(request, new, new.needs)
    return insert_pipeline(connection, owner_id, replace(new, needs=()), children)


def retry(
    connection: Connection,
    settings: Settings,
    owner_id: str,
    retry_of: str,
    *,
    job_id: str,
    request_id: str | None = None,
) -> Job:
    """Submit once more what a job that ended without success was to do, as a job of its own.

    What of it has been done is not done again: results are found by their recipes, a failed job's
    checkpoint too, unless it was submitted with `reuse` false.

    Args:
        connection: a write transaction; what is raised has to roll it back.
        settings: of the service.
        owner_id: whose job it has to be.
        retry_of: the ended job.
        job_id: that the new one is to have.
        request_id: of the HTTP request that asked.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it has not ended, has succeeded, or checks an upload, whose file is gone.
        InvalidRequestError: it could not be submitted today.
    """
    job = find_job(connection, owner_id, retry_of)
    if not job.is_terminal or job.state == "succeeded" or job.kind not in JOB_REQUESTS:
        what = f"an ended one of {', '.join(JOB_REQUESTS)}, without success"
        detail = f"wanted {what}; got {job.kind} {retry_of}, which is {job.state}"
        raise ConflictError("job_not_retryable", detail)
    names = ("kind", "params", "priority", "timeout_seconds", "stall_seconds", "reuse")
    asked = {name: getattr(job, name) for name in names}
    request = JOB_REQUESTS[job.kind].model_validate_json(json.dumps(asked))
    return submit(
        connection,
        settings,
        owner_id,
        request,
        job_id=job_id,
        request_id=request_id,
        retry_of=retry_of,
    )


def cancel(database: Database, settings: Settings, owner_id: str, job_id: str) -> Job:
    """Cancel a job, of a pipeline all children; see request_cancel for what it raises."""
    with database.write() as connection:
        # The supervisor is given its whole grace and a lease's time to tell, then not waited for.
        patience = settings.stop_grace_seconds + settings.lease_seconds
        return request_cancel(connection, owner_id, job_id, grace_seconds=patience)


def _in_time(context: CheckContext, request: JobRequest) -> JobRequest:
    """Check when a job may start; a start_at that has passed is none."""
    start_at, expires_at = request.start_at, request.expires_at
    if start_at is None and expires_at is None:
        return request
    now = clock(context.connection)
    if start_at is not None and start_at <= now:
        start_at = None
        request = request.model_copy(update={"start_at": None})
    first = start_at or now
    if expires_at is not None and expires_at <= first:
        after = "start_at" if start_at else "now"
        detail = f"wanted a time after {after}, {first.isoformat()}; got {expires_at.isoformat()}"
        context.refuse("/expires_at", "expires_too_early", detail)
    return request


def _new_job(request: JobRequest, plan: Plan, settings: Settings) -> NewJob:
    dataset, needs = plan
    return NewJob(
        kind=request.kind,
        params=request.params.model_dump(mode="json"),
        dataset=dataset,
        queue=KINDS[request.kind].queue or NO_QUEUE,
        priority=request.priority,
        timeout_seconds=request.timeout_seconds,
        stall_seconds=request.stall_seconds,
        start_at=request.start_at,
        expires_at=request.expires_at,
        max_attempts=settings.max_attempts,
        reuse=request.reuse,
        needs=tuple(dict.fromkeys(needs)),
    )


def _check(context: CheckContext, request: JobRequest) -> Plan:
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
            return request.params.dataset, intake_of(_check_pipeline(context, request))
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
    return params.dataset, (*intake_of(dataset), *experts)


def _check_train(context: CheckContext, params: TrainParams) -> Plan:
    source = params.training_set
    if isinstance(source, DistilledTrainingSet):
        pointer = "/params/training_set/distilled_set"
        origin = origin_of(context, "distilled_set", source.distilled_set, pointer)
        check_network(context, facts_source(context, origin), params.train, "/params/train")
        return (None, ()) if origin is None else (origin.dataset, (origin.maker,))
    name = params.dataset or ""
    dataset = check_data(context, usable_dataset(context, name, "/params/dataset"), params)
    check_network(context, dataset, params.train, "/params/train")
    match source:
        case RandomTrainingSet():
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
    full = [k for k, origin in enumerate(origins) if origin.training_set == "full"]
    if full:
        _refuse_fit_on_distilled(context, params.calibrate, full[0])
    check_masks(context, dataset, params.calibrate)
    needs = tuple(origin.maker for origin in origins) + intake_of(dataset)
    return (None if dataset is None else dataset.name), needs


def _refuse_fit_on_distilled(context: CheckContext, specs: CalibrationSpecs, model: int) -> None:
    for k, spec in enumerate(specs):
        if not needs_small_set(spec):
            continue
        field, wanted, got = "fit_on", "fit_on validation", "distilled"
        if getattr(spec, "fit_on", None) == "validation":
            field, wanted, got = "mask/ratio", "a ratio in [0, 1)", '"auto"'
        detail = (
            f"wanted {wanted} for a network trained on the full data, which has no distilled "
            f"set: /params/models/{model}; got {got}"
        )
        context.refuse(f"/params/calibrate/{k}/{field}", "no_distilled_set", detail)


def _check_evaluate(context: CheckContext, request: EvaluateRequest) -> Plan:
    references = request.params.calibrations
    origins, dataset = common_dataset(context, "calibration", references, "/params/calibrations")
    check_common_classes(context, dataset, references, "/params/calibrations")
    check_curve_masks(context, dataset, request.params.evaluate)
    needs = tuple(origin.maker for origin in origins) + intake_of(dataset)
    return (None if dataset is None else dataset.name), needs


def _check_pipeline(context: CheckContext, request: PipelineRequest) -> Dataset | None:
    params = request.params
    dataset = check_data(
        context, usable_dataset(context, params.dataset, "/params/dataset"), params
    )
    _check_distill_spec(context, dataset, params)
    check_own_experts(context, dataset, params)
    check_network(context, dataset, params.train, "/params/train")
    _check_calibrations(context, dataset, request)
    check_curve_masks(context, dataset, params.evaluate)
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
    if {"random", "herding"} & set(sources) and params.distill.init != "real":
        pointer, wanted = "/params/distill/images_per_class", params.distill.images_per_class
        check_images_per_class(context, dataset, wanted, params, pointer)
    return dataset


def _check_calibrations(
    context: CheckContext, dataset: Dataset | None, request: PipelineRequest
) -> None:
    """Validation images where a fit wants them, and something to show in each row."""
    params = request.params
    check_masks(context, dataset, params.calibrate)
    fits = [getattr(spec, "fit_on", None) for spec in params.calibrate]
    if dataset is not None and dataset.facts is not None and "validation" in fits:
        cut = validation_counts(dataset.facts.train_class_counts, params.n_validation)
        if sum(cut) == 0:
            pointer = f"/params/calibrate/{fits.index('validation')}/fit_on"
            detail = "wanted validation images to fit on, got too few training images to cut any"
            context.refuse(pointer, "no_validation_images", detail)
    has_full = any(baseline.source == "full" for baseline in params.baselines)
    if has_full and all(fit == "distilled" for fit in fits):
        detail = (
            "wanted a calibration that the full baseline can take (none, or one fitted on "
            "validation), got only ones fitted on the distilled set"
        )
        context.refuse("/params/calibrate", "no_calibration_left", detail)


def _check_distill_spec(
    context: CheckContext, dataset: Dataset | None, params: DistillParams | PipelineParams
) -> None:
    spec = params.distill
    check_depth(context, dataset, spec.depth, "/params/distill/depth")
    check_patch(context, dataset, spec.mask, "/params/distill/mask/patch_size")
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
            f"wanted room for at least one image a class beside {spec.n_bases} bases of "
            f"{' x '.join(map(str, spec.basis_shape(facts)))}, which are {stored['bases']:,} "
            f"numbers; got a budget of {stored['budget']:,}, as many as {spec.images_per_class} "
            "images per class have"
        )
        context.refuse("/params/distill/images_per_class", "storage_budget_too_small", detail)
    if spec.task_classes is not None and spec.task_classes > facts.n_classes:
        detail = f"wanted at most {facts.n_classes}, all there are; got {spec.task_classes}"
        context.refuse("/params/distill/task_classes", "too_many_classes", detail)
    return stored["decoded_images_per_class"]
