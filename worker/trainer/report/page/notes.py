"""The report page's small print: how it was computed, each network's numbers, lineage."""

from collections.abc import Sequence
from html import escape

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
from worker.trainer.report.network_words import augmentation_words, loss_words, network_words
from worker.trainer.report.page.captions import is_of_rows
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
    "predictions": "predictions",
    "n_test": "test images",
    "units": "units",
}


def method_section(report: Report) -> str:
    """Say how everything was computed, and every convention."""
    steps = "".join(f"<li>{escape(step)}</li>" for step in report.steps or _steps(report))
    conventions = report.conventions
    of_rows = {"n_test": "rows"} if is_of_rows(report) else {}
    terms = "".join(
        f"<dt>{escape(word)}</dt><dd>{escape(conventions[key])}</dd>"
        for key, word in {**_TERMS, **of_rows}.items()
        if key in conventions
    )
    return (
        f"<section><h2>How it was computed</h2><ol>{steps}</ol><h3>Conventions</h3>"
        f'<dl class="about">{terms}</dl></section>'
    )


def _steps(report: Report) -> list[str]:
    known = [one for one in report.training_sets if isinstance(one, KnownTrainingSet)]
    made_with = report.made_with
    return [
        *map(_training_step, known),
        f"This evaluation: {report.n_test:,} test images, which nothing before it has read; "
        f"torch {made_with.torch} on {made_with.device} with {made_with.threads} threads, "
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
        f"{train.epochs:,} epochs (SGD, learning rate {train.lr:g}, momentum "
        f"{train.momentum:g}, weight decay {train.weight_decay:g}, batches of "
        f"{train.batch_size:,}, {loss_words(train.loss)}, {augmentation_words(train)}); "
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


def network_section(rows: Sequence[Row]) -> str:
    """List every network under every calibration."""
    head = "".join(
        f"<th>{name}</th>"
        for name in ("training set", "calibration", "seed", "status", "T", "accuracy", "ECE", "gap",
                     "NLL")
    )  # fmt: skip
    body = "".join(_network_row(row, network) for row in rows for network in row.networks)
    return (
        "<section><h2>Every network</h2><details><summary>One row a network and calibration"
        f'</summary><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></details></section>"
    )


def _network_row(row: Row, network: NetworkRow) -> str:
    temperature, nll = network.temperature, network.nll
    cells = (
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
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f" ({percent(ends[0])} to {percent(ends[1])})"


def lineage_section(report: Report) -> str:
    """Show what each number was made from, by id: data set, set, model, calibration."""
    sets = "".join(_lineage_of(training_set, report) for training_set in report.training_sets)
    return (
        "<section><h2>Lineage</h2><details><summary>Ids of everything this report was made from"
        f"</summary><p>data set <code>{escape(report.dataset)}</code></p>"
        f'<ul class="tree">{sets}</ul></details>'
        '<p class="foot">Everything on this page, with each bin of each network, is in '
        "report.json beside it.</p></section>"
    )


def _lineage_of(training_set: ReportedTrainingSet, report: Report) -> str:
    set_id = training_set.distilled_set_id
    name = escape(training_set.label) + (f" <code>{escape(set_id)}</code>" if set_id else "")
    models = []
    for model_id in training_set.model_ids:
        own = [
            f"<li>{escape(row.calibration)} <code>{escape(network.calibration_id)}</code></li>"
            for row in report.rows
            for network in row.networks
            if network.model_id == model_id and network.calibration_id
        ]
        models.append(
            f'<li>model <code>{escape(model_id)}</code><ul class="tree">{"".join(own)}</ul></li>'
        )
    return f'<li>{name}<ul class="tree">{"".join(models)}</ul></li>'
