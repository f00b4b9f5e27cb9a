"""Do masks and networks fit the shape of the images? Nothing is checked before it is known."""

import math

from app.shared.inputs.datasets import Dataset
from app.submission.references import CheckContext
from ddcal_core.data.dataset_facts import (
    NAMED_DATASETS,
    max_convnet_depth,
    n_convnet_parameters,
)
from ddcal_core.specs.calibration import CalibrationSpecs, MaskedTemperatureScaling
from ddcal_core.specs.evaluation import EvaluateSpec
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.information_drop import (
    MAX_COMPONENT_SIDE,
    DroppedComponents,
    DroppedPatches,
)
from ddcal_core.specs.kinds.pipeline import AnyBaseline, FullBaseline
from ddcal_core.specs.masks import MaskShape, MaskSpec
from ddcal_core.specs.networks import NetworkSpec, default_patch_size
from ddcal_core.specs.training import (
    AnyTrainingSet,
    ConvNetFeatures,
    FullTrainingSet,
    HerdingFeatures,
    TrainSpec,
)

MAX_PARAMETERS = 250_000_000
"""A gigabyte as float32; training takes three times that."""
MAX_TOKENS = 4_096
"""Attention takes time, and on some devices memory, by the square of it."""


def check_masks(context: CheckContext, dataset: Dataset | None, specs: CalibrationSpecs) -> None:
    """Refuse masks of calibrations that the images are too small for, and draws that go unread."""
    for k, spec in enumerate(specs):
        if not isinstance(spec, MaskedTemperatureScaling):
            continue
        if isinstance(spec.mask, MaskSpec):
            pointer = f"/params/calibrate/{k}/mask/patch_size"
            check_patch(context, dataset, spec.mask, pointer)
        elif spec.draws_per_image is not None:
            detail = f"wanted none with mask ratio auto, got {spec.draws_per_image}"
            context.refuse(f"/params/calibrate/{k}/draws_per_image", "not_with_auto", detail)


def check_curve_masks(context: CheckContext, dataset: Dataset | None, spec: EvaluateSpec) -> None:
    """Refuse masks of MTS curves that the images are too small for."""
    for k, mask in enumerate(spec.mts_masks):
        check_patch(context, dataset, mask, f"/params/evaluate/mts_masks/{k}/patch_size")


def check_probes(context: CheckContext, dataset: Dataset | None, spec: EvaluateSpec) -> None:
    """Refuse to look for colour in grey images."""
    if dataset is None or dataset.facts is None:
        return
    n_channels = dataset.facts.image_shape[0]
    if "colour" in spec.probes and n_channels != 3:
        detail = f"wanted colour of images with 3 channels alone, got {n_channels}"
        context.refuse(
            f"/params/evaluate/probes/{spec.probes.index('colour')}", "no_colour", detail
        )


def check_published_for(
    context: CheckContext, dataset: Dataset | None, meant: str | None, pointer: str
) -> None:
    """Refuse a paper's numbers for images of another shape, or another number of classes."""
    if meant is None or dataset is None or dataset.facts is None:
        return
    facts, paper = dataset.facts, NAMED_DATASETS.get(meant)
    if paper is None:  # its presets know the names that there are
        return
    wanted = (paper.image_shape, paper.n_classes)
    got = (facts.image_shape, facts.n_classes)
    if got != wanted:
        detail = f"wanted images like {meant}'s, {_shape_words(*wanted)}; got {_shape_words(*got)}"
        context.refuse(pointer, "not_the_published_data", detail)


def _shape_words(shape: tuple[int, ...], n_classes: int) -> str:
    return f"{' x '.join(map(str, shape))} of {n_classes} classes"


def check_patch(
    context: CheckContext, dataset: Dataset | None, mask: MaskShape, pointer: str
) -> None:
    """Refuse a patch that is larger than the images."""
    if dataset is None or dataset.facts is None or mask.patch_size is None:
        return
    _, height, width = dataset.facts.image_shape
    if mask.patch_size > min(height, width):
        detail = (
            f"wanted at most {min(height, width)}, so that a patch fits into the images of "
            f"{height} x {width}; got {mask.patch_size}"
        )
        context.refuse(pointer, "patch_too_large", detail)


def check_network(
    context: CheckContext, dataset: Dataset | None, spec: NetworkSpec, pointer: str
) -> None:
    """Refuse options that do not fit the images; networks without any follow every size."""
    if dataset is None or dataset.facts is None:
        return
    if spec.network == "convnet" and spec.depth is not None and spec.pooling != "none":
        check_depth(context, dataset, spec.depth, f"{pointer}/depth")
    _, height, width = dataset.facts.image_shape
    if spec.patch_size is not None and spec.patch_size > min(height, width):
        detail = (
            f"wanted at most {min(height, width)}, so that a token's patch fits into the images of "
            f"{height} x {width}; got {spec.patch_size}"
        )
        context.refuse(f"{pointer}/patch_size", "patch_too_large", detail)
        return
    _check_room(context, dataset.facts, spec, pointer)


def check_drop(
    context: CheckContext,
    dataset: Dataset | None,
    spec: TrainSpec,
    *sources: AnyTrainingSet | AnyBaseline,
) -> None:
    """Refuse patches that do not fit, and components that nobody could decompose.

    Args:
        context: of the submission.
        dataset: the one trained on.
        spec: how networks are trained.
        sources: what on; sets that are not full are taken for small ones.
    """
    if dataset is None or dataset.facts is None or spec.drop is None:
        return
    n_all = sum(dataset.facts.train_class_counts)
    n_images = max(
        (
            one.n_images or n_all
            for one in sources
            if isinstance(one, FullTrainingSet | FullBaseline)
        ),
        default=0,
    )
    if isinstance(spec.drop, DroppedPatches):
        mask = MaskShape(unit="patch", patch_size=spec.drop.patch_size)
        check_patch(context, dataset, mask, "/params/train/drop/patch_size")
    n_numbers = math.prod(dataset.facts.image_shape)
    is_large = min(n_numbers, n_images) > MAX_COMPONENT_SIDE
    if isinstance(spec.drop, DroppedComponents) and is_large:
        detail = (
            f"wanted at most {MAX_COMPONENT_SIDE:,} images, or images of at most as many numbers, "
            f"to decompose; got {n_images:,} images of {n_numbers:,}"
        )
        context.refuse("/params/train/drop/what", "too_large_to_decompose", detail)


def _check_room(
    context: CheckContext, facts: DatasetFacts, spec: NetworkSpec, pointer: str
) -> None:
    """Refuse networks that large images make far too large."""
    _, height, width = facts.image_shape
    if spec.network == "vit":
        side = spec.patch_size or default_patch_size(facts.image_shape)
        n_tokens = -(-height // side) * -(-width // side)
        if n_tokens > MAX_TOKENS:
            detail = (
                f"wanted patches that make at most {MAX_TOKENS:,} tokens of an image of {height} x "
                f"{width}; got a side of {side}, which makes {n_tokens:,}"
            )
            context.refuse(f"{pointer}/patch_size", "too_many_tokens", detail)
    if spec.network == "convnet" and spec.width is not None and spec.depth is not None:
        n_parameters = n_convnet_parameters(
            facts.image_shape,
            facts.n_classes,
            width=spec.width,
            depth=spec.depth,
            is_pooled=spec.pooling != "none",
        )
        if n_parameters > MAX_PARAMETERS:
            detail = (
                f"wanted a ConvNet of at most {MAX_PARAMETERS:,} parameters; of width {spec.width} "
                f"and depth {spec.depth} it has {n_parameters:,} on images of {height} x {width}"
            )
            context.refuse(f"{pointer}/width", "network_too_large", detail)


def check_features(
    context: CheckContext, dataset: Dataset | None, features: HerdingFeatures, pointer: str
) -> None:
    """Refuse a ConvNet for herding that is too deep for the images."""
    if isinstance(features, ConvNetFeatures):
        check_depth(context, dataset, features.depth, f"{pointer}/depth")


def check_depth(context: CheckContext, dataset: Dataset | None, depth: int, pointer: str) -> None:
    """Refuse more blocks, each halving the image, than there is something to halve."""
    if dataset is None or dataset.facts is None:
        return
    deepest = max_convnet_depth(dataset.facts.image_shape)
    if depth > deepest:
        n_channels, height, width = dataset.facts.image_shape
        detail = (
            f"wanted at most {deepest} blocks, each halves the image of "
            f"{n_channels} x {height} x {width}; got {depth}"
        )
        context.refuse(pointer, "depth_too_large", detail)
