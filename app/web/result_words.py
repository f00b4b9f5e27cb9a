"""Results in words: what to call each, and the facts that its page begins with.

Details are those of the version that made a result: what an earlier one did not say is left out.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from app.shared.store.catalog import Result
from app.web.words import duration, percent
from ddcal_core.specs.results import Resource

KIND_WORDS: Mapping[Resource, str] = {
    "report": "Reports",
    "distilled_set": "Distilled sets",
    "model": "Networks",
    "calibration": "Calibrations",
    "comparison": "Comparisons",
    "expert_set": "Sets of experts",
}
"""Each kind of result as lists name it, in their order."""
Facts = dict[str, str]
Details = Mapping[str, Any]
_TRAINED_ON = {
    "distilled": "a distilled set",
    "random": "random real images",
    "taught": "random real images with a teacher's labels",
    "herding": "real images chosen by herding",
    "full": "the full data",
    "unknown": "what nobody here knows",
}
_FIT_ON = {
    "training_set": "its training set",
    "validation": "validation images",
    "fit rows": "the rows to fit on",
}


def title_of(result: Result) -> str:
    """Its name; else what it is, in a line."""
    return result.columns["name"] or what_it_is(result)


def what_it_is(result: Result) -> str:
    """What a result is, in a line, without its name."""
    details, dataset = result.details, _dataset(result)
    match result.resource:
        case "distilled_set":
            per_class = details.get("images_per_class")
            many = f", {per_class} per class" if per_class else ""
            return f"{_method(details.get('method'))} set of {dataset}{many}"
        case "model":
            network = (details.get("network") or {}).get("name", "network")
            index = details.get("seed_index")
            which = "" if index is None else f", network {index + 1}"
            return f"{network} on {_trained_on(details)}, {dataset}{which}"
        case "calibration":
            return f"{calibration_name(details)}, {dataset}"
        case "report":
            return f"{dataset}: {_reported_on(details)}"
        case "comparison":
            return str(details.get("headline") or "Comparison")
        case "expert_set":
            return f"{details.get('n_experts', '')} experts on {dataset}".strip()


def setting_of(result: Result) -> str:
    """What tells a result from others that are the same in words; empty where nothing does."""
    details = result.details
    masked = details.get("mask_ratio") if result.resource == "distilled_set" else None
    found = [f"masked {percent(masked, 0)}" if masked else ""]
    if result.resource in ("distilled_set", "model") and details.get("seed") is not None:
        found.append(f"seed {details['seed']}")
    return " · ".join(filter(None, found))


def calibration_name(details: Details) -> str:
    """A calibration as reports name it: method, mask ratio, and what it was fitted on."""
    method = str(details.get("method", "calibration"))
    if method == "none":
        return "no calibration"
    ratio = details.get("mask_ratio")
    asked = ((details.get("spec") or {}).get("mask") or {}).get("ratio")
    masked = f" {percent(ratio, 0)}" if ratio else ", ratio found," if asked == "auto" else ""
    on = _FIT_ON.get(str(details.get("fit_on")), "")
    return f"{method.upper()}{masked}{f' on {on}' if on else ''}"


def facts_of(result: Result) -> Facts:
    """The facts of a result, by what they are called."""
    measured = {
        "Accuracy": percent(result.columns.get("accuracy")),
        "Calibration error (ECE)": percent(result.columns.get("ece")),
    }
    shown = {name: value for name, value in measured.items() if value != percent(None)}
    return {**shown, **dict(_of_kind(result))}


def factor_words(details: Details) -> str | None:
    """The factor that a set carries, in words; None where none was measured."""
    factor = details.get("calibration_factor")
    if not factor:
        return None
    if factor.get("factor") is None:
        why = factor.get("why_none") or "none could be measured"
        return f"This set carries no factor for temperatures: {why}."
    n_real = factor.get("n_real")
    words = (
        f"This set carries the factor {factor['factor']:.3f}, measured where it was made on "
        f"{n_real or 'some'} labelled real images. Whoever trains a network on the set multiplies "
    )
    of_two = factor.get("half_way_temperature") is None
    found = "the size of its logits on the set" if of_two else "the temperature that it has midway"
    between = "" if of_two else " between the set’s images"
    return f"{words}{found}{between} by it, and needs no label: MTS with the ratio “auto” does so."


def _of_kind(result: Result) -> Iterator[tuple[str, str]]:
    match result.resource:
        case "distilled_set":
            yield from _of_set(result.details)
        case "model":
            yield from _of_model(result.details)
        case "calibration":
            yield from _of_calibration(result.details)
        case "report":
            yield from _of_report(result.details)
        case "comparison":
            yield from _of_comparison(result.details)
        case "expert_set":
            yield from _of_experts(result.details)


def _of_set(details: Details) -> Iterator[tuple[str, str]]:
    yield "Method", _method(details.get("method"))
    yield from _told("Images", details.get("n_images"))
    yield from _told("Per class", details.get("images_per_class"))
    names = details.get("class_names")
    yield from _told("Classes", names and len(names))
    yield from _shape(details)
    if "tensors" in details:
        yield "Labels", "soft" if "soft_labels" in details["tensors"] else "hard"
    if details.get("mask_ratio") is not None:
        yield "Masked while distilling", percent(details["mask_ratio"], 0)
    yield "Network input", str((details.get("input_space") or {}).get("name", "standard"))
    if details.get("n_steps"):
        yield "Step chosen", f"{details.get('chosen_step')} of {details['n_steps']}"
    yield from _told("Real images behind it", details.get("n_real_images"))
    yield from _made(details)


def _of_experts(details: Details) -> Iterator[tuple[str, str]]:
    yield from _told("Networks", details.get("n_experts"))
    yield "Network", _network(details)
    yield from _told("Parameters of each", details.get("n_parameters"))
    yield from _told("Epochs", details.get("epochs"))
    yield from _told("Real images behind them", details.get("n_real_images"))
    yield from _made(details)


def _of_model(details: Details) -> Iterator[tuple[str, str]]:
    yield "Network", _network(details)
    yield "Trained on", _trained_on(details)
    yield from _told("Training images", details.get("n_train"))
    if details.get("train_accuracy") is not None:
        yield "Accuracy on these", percent(details["train_accuracy"])
    train = details.get("train") or {}
    yield from _told("Epochs", train.get("epochs"))
    yield from _shape(details)
    yield from _made(details)


def _of_calibration(details: Details) -> Iterator[tuple[str, str]]:
    yield "Method", calibration_name(details)
    temperature = details.get("temperature")
    yield "Temperature", "none" if temperature is None else f"{temperature:.4g}"
    yield "Status", str(details.get("status", "–")).replace("_", " ")
    for name, word in (("nll_before", "NLL before"), ("nll_after", "NLL after")):
        if details.get(name) is not None:
            yield word, f"{details[name]:.4f}"
    yield from _told("Images fitted on", details.get("n"))


def _of_report(details: Details) -> Iterator[tuple[str, str]]:
    yield from _told("Test images", details.get("n_test"))
    yield from _told("Rows", len(details.get("rows", ())))
    yield from _told("Bins", details.get("n_bins"))


def _of_comparison(details: Details) -> Iterator[tuple[str, str]]:
    yield "Results", str(len(details.get("report_ids", ())))
    varied = details.get("varied") or {}
    yield from _told("Settings that differ", ", ".join(varied))
    yield from _told("Without a report", details.get("n_missing"))


def _network(details: Details) -> str:
    network = details.get("network") or {}
    size = ", ".join(f"{name} {network[name]}" for name in ("width", "depth") if network.get(name))
    return f"{network.get('name', '–')}{f' ({size})' if size else ''}"


def _shape(details: Details) -> Iterator[tuple[str, str]]:
    shape = details.get("image_shape")
    if shape:
        yield "Image", " × ".join(map(str, (*shape[1:], shape[0])))


def _made(details: Details) -> Iterator[tuple[str, str]]:
    yield from _told("Seed", details.get("seed"))
    if details.get("seconds"):
        yield "Took", duration(details["seconds"])
    made = details.get("made_with") or {}
    if made.get("device"):
        yield "Made on", f"{made['device']}, torch {made.get('torch', '–')}"


def _told(name: str, value: object) -> Iterator[tuple[str, str]]:
    if value not in (None, "", 0) or name == "Seed":
        yield name, f"{value:,}" if isinstance(value, int) and name != "Seed" else str(value)


def _method(word: object) -> str:
    return str(word or "–").upper() if str(word) != "imported" else "Imported"


def _trained_on(details: Details) -> str:
    source = str(details.get("training_set", "unknown"))
    return _TRAINED_ON.get(source, source)


def _reported_on(details: Details) -> str:
    labels = list(
        dict.fromkeys(
            str(row["training_set_label"])
            for row in details.get("rows", ())
            if row.get("training_set_label")
        )
    )
    if not labels:
        return "report"
    more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
    return f"{labels[0]}{more}"


def _dataset(result: Result) -> str:
    found = result.columns.get("dataset") or result.details.get("dataset")
    return str(found or "several data sets")
