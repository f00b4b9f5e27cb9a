"""What is said of a network made elsewhere, checked against its data set and distilled set."""

from collections.abc import Sequence

from app.shared.errors import NotFoundError
from app.shared.inputs.datasets import Dataset
from app.shared.store.catalog import Result, find_result
from app.submission.references import CheckContext, Origin, refuse_replaced, usable_dataset
from ddcal_core.specs.calibration import CalibrationSpecs, MaskedTemperatureScaling
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.foreign_networks import NetworkOptions, is_onnx
from ddcal_core.specs.masks import AutoMask

_MAX_NAMES = 3


def check_network_options(context: CheckContext, options: NetworkOptions) -> None:
    """Refuse invalid requests, field by field."""
    dataset = usable_dataset(context, options.dataset, "/query/dataset")
    if dataset is None:
        return
    if dataset.facts is None:
        detail = f"wanted a data set that has been checked, got {dataset.name!r}"
        context.refuse("/query/dataset", "dataset_not_ready", f"{detail}, which is {dataset.state}")
        return
    facts = dataset.facts
    if options.distilled_set is not None:
        found = _set_of(context, options.distilled_set, dataset)
        if found is None:
            return
        facts = DatasetFacts.model_validate(found.details["facts"], strict=False)
    _check_numbers(context, options)
    _check_class_order(context, options, facts)
    if options.layout == "nhwc" and not is_onnx(options.network()):
        detail = f"wanted nchw, which {options.architecture} reads; got nhwc"
        context.refuse("/query/layout", "not_applicable", detail)


def check_imported(
    context: CheckContext, origins: Sequence[Origin], specs: CalibrationSpecs
) -> None:
    """Refuse a ratio left open where finding it would train networks like an imported one."""
    lacking = [
        k
        for k, origin in enumerate(origins)
        if origin.is_imported and not _carries_factor(context, origin.distilled_set_id)
    ]
    known = [k for k in lacking if origins[k].training_set == "distilled"]
    for k, spec in enumerate(specs):
        if not known or not isinstance(spec, MaskedTemperatureScaling):
            continue
        if isinstance(spec.mask, AutoMask) and spec.fit_on == "training_set":
            detail = (
                "wanted a ratio in [0, 1) for an imported network on a set that carries no factor: "
                f'/params/models/{known[0]}; got "auto", which would train networks like it'
            )
            context.refuse(f"/params/calibrate/{k}/mask/ratio", "imported_network", detail)


def _carries_factor(context: CheckContext, set_id: str | None) -> bool:
    if set_id is None:
        return False
    try:
        found = find_result(context.connection, context.owner_id, "distilled_set", set_id)
    except NotFoundError:
        return False
    return bool((found.details.get("calibration_factor") or {}).get("factor"))


def _set_of(context: CheckContext, set_id: str, dataset: Dataset) -> Result | None:
    pointer = "/query/distilled_set"
    try:
        found = find_result(context.connection, context.owner_id, "distilled_set", set_id)
    except NotFoundError:
        detail = f"wanted a distilled set of yours; there is no {set_id}"
        context.refuse(pointer, "unknown_reference", detail)
        return None
    if found.columns["dataset"] != dataset.name:
        got = found.columns["dataset"]
        detail = f"wanted a set made from {dataset.name}; got one made from {got}"
        context.refuse(pointer, "mixed_datasets", detail)
        return None
    refuse_replaced(context, dataset, found.created_at, pointer)
    space = found.details.get("input_space", {"name": "standard"})["name"]
    if space != "standard":
        detail = (
            "wanted a set in the standard space, from which a network made elsewhere is given its "
            f"images; got {space}"
        )
        context.refuse(pointer, "whitened_set", detail)
        return None
    return found


def _check_numbers(context: CheckContext, options: NetworkOptions) -> None:
    """Are mean and std, where given, of a standardised input?"""
    for field, numbers in (("mean", options.mean), ("std", options.std)):
        if numbers is None:
            continue
        if options.space != "standardised":
            detail = f"{field}: wanted none, as pixels have no such numbers"
            context.refuse(f"/query/{field}", "not_applicable", detail)
        elif len(numbers) not in (1, 3):
            detail = f"{field}: wanted 1 or 3 numbers, one a channel; got {len(numbers)}"
            context.refuse(f"/query/{field}", "wrong_length", detail)
        elif field == "std" and min(numbers) <= 0:
            detail = f"std: wanted numbers above 0; got {numbers}"
            context.refuse("/query/std", "out_of_range", detail)


def _check_class_order(context: CheckContext, options: NetworkOptions, facts: DatasetFacts) -> None:
    order = options.class_order
    if order is None or sorted(order) == sorted(facts.class_names):
        return
    wrong = [name for name in order if name not in facts.class_names]
    lacking = [name for name in facts.class_names if name not in order]
    twice = sorted({name for name in order if order.count(name) > 1})
    said = [
        f"{words} {', '.join(map(repr, names[:_MAX_NAMES]))}"
        for words, names in (("no class is", wrong), ("lacking is", lacking), ("twice is", twice))
        if names
    ]
    detail = (
        f"wanted each of the {facts.n_classes} classes once, in the order of the network's "
        f"outputs; {'; '.join(said)}"
    )
    context.refuse("/query/class_order", "wrong_classes", detail)
