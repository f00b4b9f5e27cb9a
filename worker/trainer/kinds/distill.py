"""`distill`: real training images -> a distilled set."""

import time
from typing import assert_never

from ddcal_core.distillation.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from ddcal_core.distillation.dc import GradientMatching
from ddcal_core.distillation.dm import DistributionMatching
from ddcal_core.distillation.experts import network_record, open_experts
from ddcal_core.distillation.images import StartingSet
from ddcal_core.distillation.loop import (
    CheckpointCallback,
    Outcome,
    distill,
    evenly_spaced,
    ignore_checkpoint,
)
from ddcal_core.distillation.method import DistillationMethod
from ddcal_core.distillation.mtt import TrajectoryMatching
from ddcal_core.distillation.rtp import RememberingThePast
from ddcal_core.distillation.selection import selection_by_validation
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.manifests import (
    DistillSettings,
    NoSetFactor,
    ScoredStep,
    SetFactor,
    SetProvenance,
    SetWarning,
)
from ddcal_core.formats.set_files import set_files
from ddcal_core.formats.sets import snapshot_png, write_distilled_set
from ddcal_core.specs.distillation import DistillSpec
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.kinds.distill import DistillParams
from ddcal_core.specs.methods.dc import DcSpec
from ddcal_core.specs.methods.dm import DmSpec
from ddcal_core.specs.methods.dsa import DsaSpec
from ddcal_core.specs.methods.mtt import MttSpec
from ddcal_core.specs.methods.rtp import RtpSpec
from worker.trainer.fitting.set_factor import carried_factor
from worker.trainer.fitting.set_warnings import set_warnings
from worker.trainer.inputs import ExpertsInput, SetInput, Task, parse_json
from worker.trainer.loading import load_starting_set
from worker.trainer.outputs import Output, made_with
from worker.trainer.real_images import RealImages, open_real_images

LEAST_SIDE = 4
MOST_PICTURES = 20
"""Of a run, beside that of its start."""


def run(task: Task) -> list[Output]:
    """Distill the training images left by the validation cut; one distilled set comes out.

    The validation images choose among the sets along the way, and have no other part in it.
    """
    params = parse_json(DistillParams, task.params)
    images = open_real_images(params, task)
    validation = images.examples(images.validation_index, task.device)
    spec, facts = params.distill, images.facts
    _warn_of_depth(spec, facts, task)
    method = _method(params, images, _starting_set(images, task), task)
    resume_from = _last_checkpoint(task)
    due = picture_steps(spec.iterations, spec.selection.n_evaluations)
    if resume_from is not None:
        due = [step for step in due if step > resume_from.step]
    draw, write = _picture_taker(method, images, due, task), _checkpoint_writer(task)
    if resume_from is None:
        draw(Checkpoint(step=0, state=method.initial_state()))

    def keep(checkpoint: Checkpoint) -> None:
        # In this order: who goes on from it later finds its picture there.
        draw(checkpoint)
        write(checkpoint)

    outcome = distill(
        method,
        n_steps=spec.iterations,
        selection=selection_by_validation(
            validation.images, validation.labels, spec, facts, seed=params.seed
        ),
        resume_from=resume_from,
        on_checkpoint=keep,
        on_progress=task.on_progress,
    )
    warnings = set_warnings(outcome, validation.labels)
    for warning in warnings:
        task.on_note(warning.code, warning.message, step=outcome.chosen_step)
    factor = carried_factor(
        outcome.distilled,
        validation,
        spec,
        facts,
        seed=params.seed,
        on_progress=task.on_progress,
    )
    distilled = outcome.distilled
    manifest = write_distilled_set(
        task.folder,
        distilled.images,
        distilled.labels,
        space=images.space,
        provenance=_provenance(params, images, outcome, factor, task, warnings),
        learned_lr=distilled.learned_lr,
        compact=distilled.compact,
    )
    return [Output("distilled_set", "distilled_set", manifest.as_json(), set_files(task.folder))]


def _method(
    params: DistillParams, images: RealImages, start: StartingSet | None, task: Task
) -> DistillationMethod:
    real, facts, seed = images.examples(images.train_index, task.device), images.facts, params.seed
    spec = params.distill
    match spec:
        case DmSpec():
            return DistributionMatching(
                real.images, real.labels, spec, facts, seed=seed, start=start
            )
        case DcSpec() | DsaSpec():
            return GradientMatching(real.images, real.labels, spec, facts, seed=seed, start=start)
        case MttSpec():
            wanted = {**network_record(spec, facts), **images.choice()}
            experts = open_experts(parse_json(ExpertsInput, task.inputs["experts"]).path, wanted)
            return TrajectoryMatching(
                real.images,
                real.labels,
                spec,
                facts,
                seed=seed,
                experts=experts,
                start=start,
            )
        case RtpSpec():
            return RememberingThePast(real.images, real.labels, spec, facts, seed=seed, start=start)
        case _:
            assert_never(spec)


def _starting_set(images: RealImages, task: Task) -> StartingSet | None:
    """The distilled set that the params name to start from, in the space to learn in."""
    distilled = _start_input(task)
    if distilled is None:
        return None
    if distilled.manifest.imported is not None:
        told = "nothing is known of the real images that the set started from has seen: validation "
        task.on_note("unknown_start", f"{told}images among them flatter the accuracy chosen by")
    return load_starting_set(distilled, images.space, task.device)


def _start_input(task: Task) -> SetInput | None:
    start = task.inputs.get("start")
    return None if start is None else parse_json(SetInput, start)


def _provenance(
    params: DistillParams,
    images: RealImages,
    outcome: Outcome,
    factor: SetFactor | NoSetFactor | None,
    task: Task,
    warnings: tuple[SetWarning, ...],
) -> SetProvenance:
    """Say how a set was made."""
    spec = params.distill
    experts = task.inputs["experts"] if isinstance(spec, MttSpec) else None
    start = _start_input(task)
    return SetProvenance(
        dataset=images.split.dataset,
        split=images.split,
        n_real_images=len(images.train_index),
        real_class_counts=images.class_counts(),
        method=spec.method,
        images_per_class=spec.images_per_class,
        mask_ratio=spec.mask.ratio,
        seed=params.seed,
        # Through JSON: a manifest holds what the spec says, whatever options a method has.
        distill=DistillSettings.model_validate_json(spec.model_dump_json()),
        expert_set_id=None if experts is None else parse_json(ExpertsInput, experts).id,
        initial_set_id=None if start is None else start.id,
        storage=spec.storage(images.facts) if isinstance(spec, RtpSpec) else None,
        n_steps=outcome.n_steps,
        chosen_step=outcome.chosen_step,
        validation_accuracies=tuple(
            ScoredStep(step=step, accuracy=score) for step, score in outcome.scores.items()
        ),
        warnings=warnings,
        n_rollbacks=outcome.n_rollbacks,
        seconds=round(outcome.seconds, 3),
        calibration_factor=factor,
        made_with=made_with(task.device),
    )


def _warn_of_depth(spec: DistillSpec, facts: DatasetFacts, task: Task) -> None:
    """Tell of a last block with next to nothing to normalise: see docs/backbones.md."""
    side = min(facts.image_shape[1:]) >> (spec.depth - 1)
    if 0 < side < LEAST_SIDE:
        told = f"the network's last block sees squares of {side} x {side}, which may make the set "
        task.on_note("deep_network", f"{told}worse than its start; a smaller depth is safer")


def _last_checkpoint(task: Task) -> Checkpoint | None:
    """Where an earlier attempt has left off."""
    if task.checkpoint is None or not task.checkpoint.exists():
        return None
    try:
        checkpoint = read_checkpoint(task.checkpoint, task.recipe, device=task.device)
    except (InvalidDataError, OSError) as error:
        task.on_note("checkpoint_unusable", f"started from the beginning: {error}")
        return None
    task.on_note("resumed", f"went on after step {checkpoint.step}", step=checkpoint.step)
    return checkpoint


def _checkpoint_writer(task: Task) -> CheckpointCallback:
    """Write each checkpoint that comes long enough after the one before."""
    if task.checkpoint is None:
        return ignore_checkpoint
    path, written_at = task.checkpoint, time.monotonic()

    def write(checkpoint: Checkpoint) -> None:
        nonlocal written_at
        # Writing takes time, too: not each one that the loop offers is kept.
        if time.monotonic() - written_at >= task.checkpoint_seconds:
            write_checkpoint(path, checkpoint, task.recipe)
            written_at = time.monotonic()

    return write


def _picture_taker(
    method: DistillationMethod, images: RealImages, due: list[int], task: Task
) -> CheckpointCallback:
    """Draw what is learned at the first checkpoint on or after each step at which it is due."""
    if task.snapshots is None:
        return ignore_checkpoint
    folder = task.snapshots

    def draw(checkpoint: Checkpoint) -> None:
        if not due or checkpoint.step < due[0]:
            return
        while due and due[0] <= checkpoint.step:
            due.pop(0)
        learned = method.distilled_set(checkpoint.state)
        path = folder / f"{checkpoint.step}.png"
        unfinished = path.with_suffix(".part")
        try:
            unfinished.write_bytes(snapshot_png(learned.images, learned.labels, images.space))
            unfinished.replace(path)
        except OSError as error:  # pictures are to be looked at, and decide nothing
            task.on_note("picture_not_kept", f"there is no picture of it: {error}")

    return draw


def picture_steps(n_steps: int, n_evaluations: int) -> list[int]:
    """The steps at which a picture is due, the start and the end among them; 21 at most.

    Every evaluation is among them where there are no more than 20.
    """
    n = n_evaluations * (MOST_PICTURES // n_evaluations) if n_evaluations else MOST_PICTURES
    return [0, *sorted(evenly_spaced(n_steps, n or MOST_PICTURES))]
