"""A pipeline taken apart: the atomic jobs it stands for, each naming the ones it builds on."""

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from app.shared.store.job_records import NewJob
from app.shared.store.kinds import KINDS, NO_QUEUE, Kind
from app.submission.expert_checks import own_experts
from app.submission.requests import PipelineRequest
from ddcal_core.specs.calibration import (
    CalibrationSpec,
    CalibrationSpecs,
    MaskedTemperatureScaling,
    NoCalibration,
)
from ddcal_core.specs.fields import Spec
from ddcal_core.specs.kinds.calibrate import CalibrateParams
from ddcal_core.specs.kinds.data import DataParams
from ddcal_core.specs.kinds.distill import DistillParams
from ddcal_core.specs.kinds.evaluate import EvaluateParams
from ddcal_core.specs.kinds.experts import ExpertsParams
from ddcal_core.specs.kinds.pipeline import (
    Baseline,
    FullBaseline,
    HerdingBaseline,
    PipelineParams,
    RandomBaseline,
    TaughtBaseline,
)
from ddcal_core.specs.kinds.train import TrainParams
from ddcal_core.specs.masks import AutoMask
from ddcal_core.specs.training import (
    DistilledTrainingSet,
    FullTrainingSet,
    HerdingTrainingSet,
    RandomTrainingSet,
    TaughtTrainingSet,
    TrainSpec,
)


def children_of_pipeline(
    request: PipelineRequest, pipeline: NewJob, intake: tuple[str, ...]
) -> list[NewJob]:
    """The children in an order that respects what they need.

    Args:
        request: what was asked, checked.
        pipeline: the composite job, whose settings the children share.
        intake: the jobs that the first children wait for: the check of the data set, where it has
            not ended, and what makes the set to start from.

    Returns:
        experts, where the method imitates some; distill; then train and calibrate for the
        distilled set, with each loss and network, and for each baseline, with each network where
        it is a small one; evaluate.
    """
    params = request.params
    children: list[NewJob] = []

    def child(kind: Kind, role: str, of: Spec, needs: Sequence[str]) -> NewJob:
        return NewJob(
            kind=kind,
            role=role,
            params=of.model_dump(mode="json"),
            dataset=params.dataset,
            queue=KINDS[kind].queue or NO_QUEUE,
            priority=pipeline.priority,
            timeout_seconds=pipeline.timeout_seconds,
            stall_seconds=pipeline.stall_seconds,
            # What waits for a sibling need not wait for the time as well.
            start_at=None if any(one.id in needs for one in children) else pipeline.start_at,
            max_attempts=pipeline.max_attempts,
            reuse=pipeline.reuse,
            request_id=pipeline.request_id,
            name=pipeline.name,
            tags=pipeline.tags,
            notes=pipeline.notes,
            needs=tuple(needs),
        )

    experts_params = _experts_params(params)
    if experts_params is not None:
        children.append(child("experts", "experts", experts_params, intake))
    experts_id = children[0].id if children else None
    distill_params = _distill_params(params, experts_id)
    # What it waits for, the experts have waited for already.
    distill = child("distill", "distill", distill_params, [experts_id] if experts_id else intake)
    children.append(distill)
    calibrations = []
    for row, train_params in _train_params(params, distill.id).items():
        source = train_params.training_set.source
        needs = [distill.id] if source == "distilled" else intake
        train = child("train", f"train-{row}", train_params, needs)
        calibrate_params = CalibrateParams(
            models=[train.id],
            seed=params.seed,
            calibrate=_calibrations_for(source, params.calibrate),
        )
        calibrate = child("calibrate", f"calibrate-{row}", calibrate_params, [train.id])
        children += [train, calibrate]
        calibrations.append(calibrate.id)
    evaluate_params = EvaluateParams(
        calibrations=calibrations, seed=params.seed, evaluate=params.evaluate
    )
    return [*children, child("evaluate", "evaluate", evaluate_params, calibrations)]


def _experts_params(params: PipelineParams) -> ExpertsParams | None:
    spec = own_experts(params)
    if spec is None:
        return None
    return ExpertsParams(**_data_params(params), experts=spec)


def _distill_params(params: PipelineParams, experts_id: str | None) -> DistillParams:
    return DistillParams(**_data_params(params), distill=params.distill, experts=experts_id)


def _data_params(params: PipelineParams) -> dict[str, Any]:
    """What all children on real images have in common."""
    return {name: getattr(params, name) for name in DataParams.model_fields}


def _train_params(params: PipelineParams, distill_id: str) -> dict[str, TrainParams]:
    """What to train, by the source of the training set and, of further ones, loss or network."""
    distilled = DistilledTrainingSet(source="distilled", distilled_set=distill_id)
    rows: dict[str, TrainParams] = {}

    def train_distilled(row: str, spec: TrainSpec) -> None:
        rows[row] = TrainParams(training_set=distilled, seed=params.seed, train=spec)

    def train_baseline(row: str, baseline: Baseline, spec: TrainSpec) -> None:
        rows[row] = TrainParams(
            training_set=_training_set(baseline, params.distill.images_per_class),
            **_data_params(params),
            train=_train_spec(baseline, spec),
        )

    train_distilled("distilled", params.train)
    for loss in params.train_losses:
        spec = params.train.model_copy(update={"loss": loss})
        train_distilled(_row_name(rows, "distilled", loss.name), spec)
    for network in params.train_networks:
        spec = params.train.with_network(network)
        train_distilled(_row_name(rows, "distilled", network.network), spec)
    for baseline in params.baselines:
        train_baseline(baseline.source, baseline, params.train)
        if not isinstance(baseline, FullBaseline):
            for network in params.train_networks:
                row = _row_name(rows, baseline.source, network.network)
                train_baseline(row, baseline, params.train.with_network(network))
    return rows


def _row_name(rows: Mapping[str, TrainParams], source: str, what: str) -> str:
    """Name a further row, the second of a kind with a number."""
    row = f"{source}-{what.replace('_', '-')}"
    n_alike = sum(name.startswith(row) for name in rows)
    return f"{row}-{n_alike + 1}" if n_alike else row


def _training_set(
    baseline: Baseline, images_per_class: int
) -> RandomTrainingSet | TaughtTrainingSet | HerdingTrainingSet | FullTrainingSet:
    match baseline:
        case FullBaseline():
            return FullTrainingSet(source="full", n_images=baseline.n_images)
        case HerdingBaseline():
            return HerdingTrainingSet(
                source="herding", images_per_class=images_per_class, features=baseline.features
            )
        case TaughtBaseline(teacher=teacher):
            return TaughtTrainingSet(
                source="taught", images_per_class=images_per_class, teacher=teacher
            )
        case RandomBaseline():
            return RandomTrainingSet(source="random", images_per_class=images_per_class)
        case _:
            assert_never(baseline)


def _train_spec(baseline: Baseline, spec: TrainSpec) -> TrainSpec:
    if isinstance(baseline, FullBaseline):
        return spec.model_copy(update={"epochs": baseline.epochs})
    return spec


def _calibrations_for(source: str, specs: CalibrationSpecs) -> CalibrationSpecs:
    """A network trained on the full data has no distilled set to fit on."""
    if source != "full":
        return specs
    return [spec for spec in specs if not needs_small_set(spec)]


def needs_small_set(spec: CalibrationSpec) -> bool:
    """Whether only a network trained on a small set can be calibrated so."""
    if isinstance(spec, NoCalibration):
        return False
    is_auto = isinstance(spec, MaskedTemperatureScaling) and isinstance(spec.mask, AutoMask)
    return is_auto or spec.fit_on == "training_set"
