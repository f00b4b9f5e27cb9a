"""What a submission says of the images to learn from, checked: classes, cut, long tail, space."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

from app.shared.errors import NotFoundError
from app.shared.inputs.datasets import Dataset
from app.shared.store.catalog import find_result
from app.shared.store.job_queries import find_job
from app.submission.references import CheckContext
from ddcal_core.data.class_choice import (
    class_index,
    class_indices,
    facts_of_classes,
    training_counts,
)
from ddcal_core.data.dataset_facts import validation_counts
from ddcal_core.errors import InvalidDataError
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.kinds.distill import DistillParams
from ddcal_core.specs.kinds.experts import ExpertsParams
from ddcal_core.specs.kinds.pipeline import PipelineParams
from ddcal_core.specs.kinds.train import TrainParams
from ddcal_core.specs.results import Resource
from ddcal_core.specs.spaces import MAX_WHITENED_FEATURES, StandardSpace

DataParams = ExpertsParams | DistillParams | PipelineParams | TrainParams
"""Params that choose images from a data set."""
Classes = tuple[int, ...] | None
"""Indices into a data set's classes; None for all."""


def check_data(
    context: CheckContext, dataset: Dataset | None, params: DataParams
) -> Dataset | None:
    """Check what params say of a data set; see `fields.Classes`, `Imbalance` and `spaces`.

    Returns:
        The data set as the job will see it, its facts those of the classes taken; None where there
        is none, or where the classes were refused.
    """
    if dataset is None or dataset.facts is None:
        return dataset
    _check_space(context, dataset.facts, params)
    facts = _facts_of_choice(context, dataset.facts, params)
    if facts is None:
        return None
    chosen = replace(dataset, facts=facts)
    _check_split(context, chosen, params.n_validation)
    return chosen


def check_images_per_class(
    context: CheckContext, dataset: Dataset | None, wanted: int, params: DataParams, pointer: str
) -> None:
    """Refuse more images of each class than the smallest has for training."""
    if dataset is None or dataset.facts is None:
        return
    smallest = min(_training_counts(dataset.facts, params))
    if wanted > smallest:
        detail = (
            f"wanted at most {smallest}, the images that the smallest class of {dataset.name!r} "
            f"has for training{_what_is_taken(dataset.facts, params)}; got {wanted}"
        )
        context.refuse(pointer, "images_per_class_too_large", detail)


def check_n_images(
    context: CheckContext,
    dataset: Dataset | None,
    wanted: int | None,
    params: DataParams,
    pointer: str,
) -> None:
    """Refuse more images than there are for training."""
    if dataset is None or dataset.facts is None or wanted is None:
        return
    n_left = sum(_training_counts(dataset.facts, params))
    if wanted > n_left:
        detail = (
            f"wanted at most {n_left}, the training images of {dataset.name!r} left"
            f"{_what_is_taken(dataset.facts, params)}; got {wanted}"
        )
        context.refuse(pointer, "n_images_too_large", detail)


def check_common_classes(
    context: CheckContext, dataset: Dataset | None, references: list[str], pointer: str
) -> None:
    """Refuse to put networks of different classes into one report."""
    if dataset is None or dataset.facts is None:
        return
    first: tuple[str, Classes] | None = None
    for k, reference in enumerate(references):
        for classes in _classes_behind(context, dataset.facts, "calibration", reference):
            first = first or (reference, classes)
            if classes != first[1]:
                detail = (
                    f"wanted networks of the same classes as those of {first[0]}, which tell apart "
                    f"{_named(dataset.facts, first[1])}; got {_named(dataset.facts, classes)}"
                )
                context.refuse(f"{pointer}/{k}", "mixed_classes", detail)
                break


def differences(
    dataset: Dataset | None, recorded: DataParams, params: DataParams, names: Iterable[str]
) -> Iterator[tuple[str, str, str]]:
    """Fields in which the data of one job are not those of another, as requests would write them.

    Classes by name and by index are the same classes.

    Args:
        dataset: of `params`, with all its classes; None where there is none.
        recorded: params of the job that has been.
        params: of the one that is asked for.
        names: of fields to compare, besides the classes.

    Yields:
        A field's name, its value in `recorded`, and the one in `params`.
    """
    for name in names:
        wanted, got = getattr(recorded, name), getattr(params, name)
        if wanted != got:
            yield name, _words(wanted), _words(got)
    if recorded.classes == params.classes:
        return
    if dataset is None or dataset.facts is None or recorded.dataset != params.dataset:
        return
    try:
        wanted_classes = class_indices(dataset.facts, recorded.classes)
        if wanted_classes != class_indices(dataset.facts, params.classes):
            yield "classes", _words(recorded.classes), _words(params.classes)
    except InvalidDataError:
        return  # refused where the classes themselves are looked at


def _facts_of_choice(
    context: CheckContext, facts: DatasetFacts, params: DataParams
) -> DatasetFacts | None:
    """Give the facts of the classes chosen; None where they are refused."""
    found: list[int] = []
    for k, choice in enumerate(params.classes or ()):
        index = class_index(facts, choice)
        if index is None:
            detail = (
                f"wanted the name of a class or its index 0 to {facts.n_classes - 1}, "
                f"got {choice!r}"
            )
            context.refuse(f"/params/classes/{k}", "unknown_class", detail)
        elif index in found:
            detail = f"wanted each class once, got {facts.class_names[index]!r} again"
            context.refuse(f"/params/classes/{k}", "duplicate_class", detail)
        else:
            found.append(index)
    if len(found) < len(params.classes or ()):
        return None
    return facts_of_classes(facts, found) if found else facts


def _check_space(context: CheckContext, facts: DatasetFacts, params: DataParams) -> None:
    space = params.input_space
    n_channels, height, width = facts.image_shape
    n_features = n_channels * height * width
    if space is None or isinstance(space, StandardSpace) or n_features <= MAX_WHITENED_FEATURES:
        return
    detail = (
        f"wanted images of at most {MAX_WHITENED_FEATURES:,} features (channels x height x width) "
        f"to whiten, as the matrix has the square of it; got {n_channels} x {height} x {width} = "
        f"{n_features:,}"
    )
    context.refuse("/params/input_space/name", "images_too_large_to_whiten", detail)


def _check_split(context: CheckContext, dataset: Dataset, n_validation: int | None) -> None:
    if dataset.facts is None or n_validation is None:
        return
    counts, n_own = dataset.facts.train_class_counts, dataset.facts.n_own_validation
    if n_own is not None:
        detail = (
            f"wanted none, as {dataset.name!r} has a validation split of its own, of {n_own:,} "
            f"images; got {n_validation}"
        )
        context.refuse("/params/n_validation", "has_own_validation", detail)
        return
    n_cut = sum(validation_counts(counts, n_validation))
    if n_cut < n_validation:
        detail = (
            f"wanted a cut that leaves each class of {dataset.name!r} an image to train on, of "
            f"{sum(counts)} in all; got {n_validation}"
        )
        context.refuse("/params/n_validation", "n_validation_too_large", detail)


def _training_counts(facts: DatasetFacts, params: DataParams) -> tuple[int, ...]:
    imbalance = None if params.imbalance is None else params.imbalance.factor
    return training_counts(facts, params.n_validation, imbalance)


def _what_is_taken(facts: DatasetFacts, params: DataParams) -> str:
    taken = [] if facts.n_own_validation is not None else ["validation cut"]
    if params.imbalance is not None:
        taken.append(f"long tail of factor {params.imbalance.factor:g}")
    return f" after the {' and the '.join(taken)}" if taken else ""


def _classes_behind(
    context: CheckContext, facts: DatasetFacts, resource: Resource, reference: str
) -> list[Classes]:
    """Give the classes that a result, or whatever a job makes, goes back to; empty if not known."""
    try:
        if reference.startswith("job_"):
            return _classes_of_job(context, facts, reference)
        result = find_result(context.connection, context.owner_id, resource, reference)
    except (NotFoundError, InvalidDataError):
        return []
    if resource == "calibration":
        model_id = result.columns["model_id"]
        return [] if model_id is None else _classes_behind(context, facts, "model", model_id)
    classes = result.details.get("split", {}).get("classes")
    return [None if classes is None else tuple(classes)]


def _classes_of_job(context: CheckContext, facts: DatasetFacts, job_id: str) -> list[Classes]:
    params = find_job(context.connection, context.owner_id, job_id).params
    if "models" in params:
        models = [_classes_behind(context, facts, "model", model) for model in params["models"]]
        return [classes for found in models for classes in found]
    distilled_set = params.get("training_set", {}).get("distilled_set")
    if distilled_set is not None:
        return _classes_behind(context, facts, "distilled_set", distilled_set)
    return [class_indices(facts, params.get("classes"))]


def _named(facts: DatasetFacts, classes: Classes) -> str:
    if classes is None:
        return f"all {facts.n_classes}"
    names = [facts.class_names[k] for k in classes]
    return ", ".join(names) if len(names) <= 5 else f"{len(names)} others: {', '.join(names[:5])}…"


def _words(value: object) -> str:
    """A field's value as a request would write it."""
    dump = getattr(value, "model_dump", None)
    return json.dumps(value if dump is None else dump(mode="json"))
