"""The report page's small print: how it was computed, each network's numbers, lineage."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from ddcal_core.formats.imported_networks import ImportedNetwork
from ddcal_core.formats.imported_sets import ImportedSet
from ddcal_core.formats.manifests import Split
from ddcal_core.formats.report_rows import NetworkRow, Row
from ddcal_core.formats.reports import (
    DistilledSetFacts,
    KnownTrainingSet,
    Report,
    ReportedTrainingSet,
)
from ddcal_core.specs.regularisers import regulariser_words
from worker.trainer.report.data_words import data_sentences
from worker.trainer.report.network_words import (
    augmentation_words,
    loss_words,
    network_words,
    step_words,
)
from worker.trainer.report.page.captions import is_of_rows
from worker.trainer.report.page.templates import render, stacked_table
from worker.trainer.report.row_words import percent

_TERMS = {
    "temperature": "temperature",
    "fit_on": "fitted on",
    "found": "ratio found",
    "ece": "ECE",
    "null": "chance level",
    "signed_gap": "signed gap",
    "accuracy": "accuracy",
    "nll": "NLL",
    "brier": "Brier",
    "mean_std": "±",
    "verdict": "verdict",
    "failures": "failures",
    "difference": "more than noise",
    "ece_interval": "intervals of the ECE",
    "further": "further measures",
    "wilson": "intervals of bins",
    "effective_rank": "effective rank",
    "ranking": "HLR and IOR",
    "predictions": "predictions",
    "logits": "logits kept",
    "n_test": "test images",
    "units": "units",
}


def method_section(report: Report) -> Markup:
    """Say how everything was computed."""
    return render("method.html", steps=report.steps or _steps(report))


def conventions_list(report: Report) -> Markup:
    """Say of every number by which convention it was computed."""
    conventions = report.conventions
    of_rows = {"n_test": "rows"} if is_of_rows(report) else {}
    said = {
        word: conventions[key] for key, word in {**_TERMS, **of_rows}.items() if key in conventions
    }
    return render("conventions.html", conventions=said)


def _steps(report: Report) -> list[str]:
    known = [one for one in report.training_sets if isinstance(one, KnownTrainingSet)]
    made_with = report.made_with
    return [
        *map(_training_step, known),
        f"This evaluation: {report.n_test:,} test images, which nothing before it has read; "
        f"torch {made_with.torch} on {made_with.device} with {made_with.threads} "
        f"thread{'' if made_with.threads == 1 else 's'}, "
        f"seed {made_with.seed}, {made_with.seconds:.1f} s.",
    ]


def _training_step(trained: KnownTrainingSet) -> str:
    n_models = len(trained.model_ids)
    made = "" if trained.distilled is None else _distilled_words(trained.distilled)
    data = data_sentences(trained.split, trained.input_space, trained.real_class_counts)
    return (
        f"{trained.label}: {n_models} "
        f"{'network' if n_models == 1 else 'networks'}, {network_words(trained.network)}, "
        f"{_how_trained(trained)}.{made} Validation images: "
        f"{_validation_words(trained.split)}.{data}"
    )


def _how_trained(trained: KnownTrainingSet) -> str:
    """Without a full stop at its end."""
    if trained.imported is not None:
        return _foreign_words(trained.imported)
    train = trained.train
    assert train is not None  # it was trained here
    return (
        f"trained on {trained.n_train:,} images for "
        f"{train.epochs:,} epochs ({step_words(train)}, batches of {train.batch_size:,}, "
        f"{loss_words(train.loss)}, {augmentation_words(train)}); "
        f"accuracy on its own training images {_range(trained.train_accuracy)}"
    )


def _foreign_words(imported: ImportedNetwork) -> str:
    shape = " × ".join(map(str, imported.input_shape))
    numbers = (f"{', '.join(f'{one:.4g}' for one in of)}" for of in (imported.mean, imported.std))
    reads = "(pixel - {}) / ({})".format(*numbers)
    by_name = "" if imported.columns is None else ", its outputs brought into the data set's order"
    return (
        f"made elsewhere and imported from a file of {imported.file_format}, sha256 "
        f"{imported.sha256[:12]}…; it reads images of {shape} as {reads} and answers with "
        f"{imported.outputs}{by_name}. On {imported.n_tried:,} validation images it was "
        f"{percent(imported.tried_accuracy)} right when it came in. {' '.join(imported.notes)}"
    ).rstrip(". ")


def _validation_words(split: Split) -> str:
    if split.n_own_validation is not None:
        return f"the {split.n_own_validation:,} of the data set's own validation split"
    n_cut = "one fifth, at most 2,000" if split.n_validation is None else f"{split.n_validation:,}"
    return f"{n_cut}, cut from the training split by seed {split.seed}"


def _distilled_words(distilled: DistilledSetFacts) -> str:
    if distilled.imported is not None:
        return _imported_words(distilled.imported)
    return (
        f" The set was distilled from {distilled.n_real_images:,} real training images "
        f"by {distilled.method.upper()} in {distilled.distill.iterations:,} iterations (seed "
        f"{distilled.seed}, {distilled.seconds:.0f} s), with "
        f"{percent(distilled.mask_ratio, 0)} of the synthetic pixels masked (MDT)"
        f"{_regulariser_words(distilled)}."
        f"{_factor_words(distilled)}{_warning_words(distilled)}"
    )


def _regulariser_words(distilled: DistilledSetFacts) -> str:
    words = regulariser_words(distilled.distill.regulariser)
    return f" and {words}" if words else ""


def _imported_words(imported: ImportedSet) -> str:
    place = f"set {imported.experiment} of {imported.n_experiments} in "
    return (
        " The set was made elsewhere and imported: "
        f"{place if imported.n_experiments > 1 else ''}a file of format {imported.file_format}, "
        f"sha256 {imported.sha256[:12]}…, declared to hold {imported.declared_space} images. "
        f"{' '.join(imported.notes)}"
    )


def _factor_words(distilled: DistilledSetFacts) -> str:
    measured = distilled.calibration_factor
    if measured is None or measured.factor is None:
        return ""
    return (
        f" It carries a factor of {measured.factor:.3g} for the temperatures of its networks, "
        f"measured with one of them on {measured.n_real:,} validation images with their labels."
    )


def _warning_words(distilled: DistilledSetFacts) -> str:
    return "".join(f" Beware: {warning.message}." for warning in distilled.warnings)


def _range(values: Sequence[float]) -> str:
    low, high = percent(min(values)), percent(max(values))
    return low if low == high else f"{low} to {high}"


_NETWORK_HEAD = (
    "training set", "calibration", "seed", "status", "T", "accuracy", "ECE", "gap", "NLL",
)  # fmt: skip


def network_section(rows: Sequence[Row]) -> Markup:
    """List every network under every calibration."""
    cells = [_network_row(row, network) for row in rows for network in row.networks]
    return render("networks.html", table=stacked_table(_NETWORK_HEAD, cells, words=2))


def _network_row(row: Row, network: NetworkRow) -> tuple[str, ...]:
    temperature, nll = network.temperature, network.nll
    return (
        row.training_set_label,
        row.calibration,
        "unknown" if network.seed is None else f"{network.seed} / {network.seed_index}",
        network.status.replace("_", " "),
        "none" if temperature is None else f"{temperature:.4g}",
        percent(network.accuracy),
        percent(network.ece) + _interval(network.ece_interval),
        percent(network.signed_gap),
        "∞" if nll is None else f"{nll:.3f}",
    )


def _interval(ends: Sequence[float] | None) -> str:
    if ends is None:
        return ""
    low, high = (percent(end).rstrip("%").rstrip() for end in ends)
    return f" ({low} to {high})"


def lineage_details(report: Report) -> Markup:
    """Show what each number was made from, by id: data set, set, model, calibration."""
    trees = [_lineage_of(training_set, report) for training_set in report.training_sets]
    return render("lineage.html", dataset=report.dataset, trees=trees)


def _lineage_of(training_set: ReportedTrainingSet, report: Report) -> Mapping[str, object]:
    calibrations = {
        model_id: [
            (row.calibration, network.calibration_id)
            for row in report.rows
            for network in row.networks
            if network.model_id == model_id and network.calibration_id
        ]
        for model_id in training_set.model_ids
    }
    return {
        "label": training_set.label,
        "set_id": training_set.distilled_set_id,
        "models": calibrations,
    }
