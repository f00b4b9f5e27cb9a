"""`evaluate`: calibrated networks on the test images -> a report. The one reader of test images."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ddcal_core.data.input_space import InputSpace
from ddcal_core.data.labelled import LabelledImages
from ddcal_core.data.network_images import NetworkImages
from ddcal_core.formats.calibrations import CalibrationFindings, FitOn, TrainingSource
from ddcal_core.formats.records import write_json
from ddcal_core.formats.report_analyses import (
    AttributionAnalysis,
    Comparison,
    MaskedLogitCurve,
    MtsCurve,
    ProbeAnalysis,
    SpectrumAnalysis,
)
from ddcal_core.formats.report_rows import Row
from ddcal_core.formats.reports import Report, ReportMadeWith
from ddcal_core.progress import Progress, ProgressCallback
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.kinds.evaluate import EvaluateParams
from ddcal_core.training.train import predict_logits
from worker.trainer.fitting.calibration_images import CalibrationImages
from worker.trainer.fitting.calibrations import Found, not_fitted, read_scaling
from worker.trainer.fitting.fitting import Fitter
from worker.trainer.inputs import (
    CalibratedNetworksInput,
    CalibrationInput,
    ModelInput,
    Task,
    parse_json,
)
from worker.trainer.loading import as_examples, load_model, load_test_images
from worker.trainer.outputs import Output, made_with
from worker.trainer.report.analyses import logit_analysis, spectrum_analysis
from worker.trainer.report.attributions import attribution_analyses
from worker.trainer.report.calibration_words import calibration_labels
from worker.trainer.report.comparison import compare
from worker.trainer.report.kept_logits import TEST_LOGITS, write_test_logits
from worker.trainer.report.masked_logits import masked_logit_curves
from worker.trainer.report.measurements import Predictions
from worker.trainer.report.measuring import NetworkMeasurer
from worker.trainer.report.mts_curve import mts_curve
from worker.trainer.report.network_report import Analyses, build_report
from worker.trainer.report.page.origin import origin_of
from worker.trainer.report.page.page import report_page
from worker.trainer.report.page.pictures import set_pictures
from worker.trainer.report.prediction_table import PREDICTIONS, write_predictions
from worker.trainer.report.probes import probe_analyses
from worker.trainer.report.ranking_scores import ranking_scores
from worker.trainer.report.rows import Measured, build_rows
from worker.trainer.report.training_sets import TrainingSet, group_models, network_of

Founds = dict[str | None, Found[CalibrationFindings]]
N_RANDOM_SETS = 5
_BOTH: tuple[FitOn, ...] = ("training_set", "validation")
CURVES_FIT_ON: Mapping[TrainingSource | Literal["elsewhere"], tuple[FitOn, ...]] = {
    "distilled": _BOTH,
    "random": _BOTH,
    "taught": _BOTH,
    "herding": _BOTH,
    "full": (),
    "unknown": ("validation",),
    "elsewhere": (),
}
"""What the temperatures of a curve are fitted on, by what the networks were trained on."""
MAX_SPECTRUM_IMAGES = 2_000  # beyond it a spectrum takes minutes


def run(task: Task) -> list[Output]:
    """Measure, write report.json and report.html; one report comes out."""
    started = time.monotonic()
    params = parse_json(EvaluateParams, task.params)
    inputs = parse_json(CalibratedNetworksInput, task.inputs)
    models, calibrations = inputs.models, inputs.calibrations
    images = CalibrationImages(inputs.dataset, inputs.distilled_sets, task.device)
    # Whatever follows sees the classes of these networks alone, as they did.
    dataset = inputs.dataset.of_classes(_common_classes(models))
    test = load_test_images(dataset)
    networks = {model.id: load_model(model, task.device) for model in models}
    measurer = NetworkMeasurer(
        logits=_test_logits(networks, models, images, test, task),
        labels=test.labels,
        n_bins=params.evaluate.n_bins,
        seed=params.seed,
    )
    groups = group_models(models, inputs.distilled_sets)
    founds = _founds(calibrations)
    measured = _measure_all(models, calibrations, founds, measurer, task.on_progress)
    rows = build_rows(groups, measured, n_test=len(test.labels), n_bins=measurer.n_bins)
    fitters = {
        model.id: Fitter(networks[model.id], model, images, seed=params.seed) for model in models
    }
    curves = _curves(groups, fitters, params, measurer, task.on_progress)
    seconds = round(time.monotonic() - started, 3)
    made = ReportMadeWith(**dict(made_with(task.device)), seed=params.seed, seconds=seconds)
    predicted = [
        (one, measurer.predict(one.model.id, founds[one.calibration_id])) for one in measured
    ]
    analyses = Analyses(
        curves=curves,
        probes=_probes(groups, models, networks, images, params, task.on_progress),
        attributions=_attributions(groups, models, networks, images, params, task.on_progress),
        ranking=ranking_scores(groups, rows),
        masked_logits=_masked_logits(groups, fitters, params, task.on_progress),
        comparisons=_comparisons(groups, rows, predicted, params.seed),
        logits=logit_analysis(groups, measurer.logits),
        spectra=_spectra(groups, images),
    )
    report = build_report(dataset, groups, rows, analyses, made)
    table = task.folder / PREDICTIONS
    names = dataset.facts.class_names
    write_predictions(table, groups, predicted, labels=measurer.labels, class_names=names)
    logits = task.folder / TEST_LOGITS
    write_test_logits(logits, groups, measurer.logits, measurer.labels, test.images)
    return [_write(report, groups, task, (table, logits))]


def _comparisons(
    groups: Sequence[TrainingSet],
    rows: Sequence[Row],
    predicted: Sequence[tuple[Measured, Predictions]],
    seed: int,
) -> list[Comparison]:
    """Compare the calibrations of each training set that has several."""
    found = []
    for index, group in enumerate(groups):
        ids = {model.id for model in group.models}
        by_label: dict[str, list[Predictions]] = {}
        for one, predictions in predicted:
            if one.model.id in ids:
                by_label.setdefault(one.label, []).append(predictions)
        own = [row for row in rows if row.training_set_index == index]
        # The same resamples for each training set, whichever others the report holds.
        found.append(compare(own, by_label, generator=seeded_generator(seed, "resample")))
    return [one for one in found if one is not None]


def _spectra(groups: Sequence[TrainingSet], images: CalibrationImages) -> list[SpectrumAnalysis]:
    """Look at each distilled set once, whatever was trained on it."""
    # Reversed twice: of several groups on one set the first names it, in the table's order.
    firsts = {group.distilled.id: group for group in reversed(groups) if group.distilled}
    found = []
    for group in reversed(firsts.values()):
        assert group.distilled is not None
        distilled = images.distilled(group.distilled.id).images[:]
        if len(distilled) > MAX_SPECTRUM_IMAGES:
            continue
        if real_sets := images.random_real(group.distilled, N_RANDOM_SETS):
            found.append(spectrum_analysis(group.label, distilled, real_sets))
    return found


def _common_classes(models: Sequence[ModelInput]) -> tuple[int, ...] | None:
    """The classes that all networks tell apart; None for all of the data set's."""
    found = {model.config.split.classes for model in models}
    if len(found) > 1:
        raise ValueError(f"wanted networks of the same classes, got {found}")
    return found.pop()


def _test_logits(
    networks: Mapping[str, torch.nn.Module],
    models: Sequence[ModelInput],
    images: CalibrationImages,
    test: LabelledImages,
    task: Task,
) -> dict[str, Tensor]:
    logits: dict[str, Tensor] = {}
    entered: tuple[InputSpace, NetworkImages] | None = None
    for model in models:
        space = images.space_of(model)
        # Networks of one space come one after the other; one set of test images is held at a time.
        if entered is None or entered[0] is not space:
            entered = space, as_examples(test, None, space, task.device).images
        logits[model.id] = predict_logits(networks[model.id], entered[1]).cpu()
        task.on_progress(Progress(phase="predict", step=len(logits), steps=len(models)))
    return logits


def _founds(calibrations: Sequence[CalibrationInput]) -> Founds:
    """Each calibration by its id, those of one network in their order; None: the network as is."""
    founds: Founds = {None: not_fitted()}
    for one in calibrations:
        scaling = None if one.scaling_path is None else read_scaling(one.scaling_path)
        founds[one.id] = Found(one.values, scaling)
    return founds


def _measure_all(
    models: Sequence[ModelInput],
    calibrations: Sequence[CalibrationInput],
    founds: Founds,
    measurer: NetworkMeasurer,
    on_progress: ProgressCallback,
) -> list[Measured]:
    """Measure each network as it is, then under each of its calibrations."""
    measured: list[Measured] = []
    as_is = founds[None]
    for done, model in enumerate(models, start=1):
        network = network_of(model)
        own = {one.id: founds[one.id] for one in calibrations if one.model_id == model.id}
        # The reference is measured whether or not somebody asked for `none`.
        before = measurer.measure(model.id, as_is)
        asked = next((key for key, one in own.items() if one.values.method == "none"), None)
        fitted = {key: one for key, one in own.items() if one.values.method != "none"}
        none, *labels = calibration_labels([one.values for one in (as_is, *fitted.values())])
        measured.append(Measured(network, asked, as_is.values, before, before, none))
        for (key, one), label in zip(fitted.items(), labels, strict=True):
            after = measurer.measure(model.id, one)
            measured.append(Measured(network, key, one.values, after, before, label))
        on_progress(Progress(phase="measure", step=done, steps=len(models)))
    return measured


def _curves(
    groups: Sequence[TrainingSet],
    fitters: Mapping[str, Fitter],
    params: EvaluateParams,
    measurer: NetworkMeasurer,
    on_progress: ProgressCallback,
) -> list[MtsCurve]:
    """Draw the curves of each training set, those of a mask together: T from what it has."""
    ratios, masks = sorted(set(params.evaluate.mts_ratios)), params.evaluate.mts_masks
    drawn = [
        (group, mask, fit_on)
        for group in groups
        for mask in masks
        for fit_on in CURVES_FIT_ON[group.source]
        if ratios
    ]
    n_points = len(ratios) * sum(len(group.models) for group, _, _ in drawn)
    on_point = _counter("mts curve", n_points, on_progress)
    return [
        mts_curve(
            [(model.id, fitters[model.id]) for model in group.models],
            label=group.label,
            fit_on=fit_on,
            shape=mask,
            ratios=ratios,
            measure_fit=measurer.ece_and_gap,
            on_point=on_point,
        )
        for group, mask, fit_on in drawn
    ]


def _masked_logits(
    groups: Sequence[TrainingSet],
    fitters: Mapping[str, Fitter],
    params: EvaluateParams,
    on_progress: ProgressCallback,
) -> list[MaskedLogitCurve]:
    """Look at the logits under the first of the masks, at the ratios of the curves."""
    ratios = sorted(set(params.evaluate.mts_ratios))
    n_steps = len(ratios) * sum(len(group.models) for group in groups)
    return masked_logit_curves(
        groups,
        fitters,
        shape=params.evaluate.mts_masks[0],
        ratios=ratios,
        on_network=_counter("masked logits", n_steps, on_progress),
    )


def _probes(
    groups: Sequence[TrainingSet],
    models: Sequence[ModelInput],
    networks: Mapping[str, torch.nn.Module],
    images: CalibrationImages,
    params: EvaluateParams,
    on_progress: ProgressCallback,
) -> list[ProbeAnalysis]:
    on_network = _counter("probes", len(models), on_progress)
    return probe_analyses(
        groups,
        {model.id: model for model in models},
        networks,
        images,
        params.evaluate.probes,
        seed=params.seed,
        on_network=on_network,
    )


def _attributions(
    groups: Sequence[TrainingSet],
    models: Sequence[ModelInput],
    networks: Mapping[str, torch.nn.Module],
    images: CalibrationImages,
    params: EvaluateParams,
    on_progress: ProgressCallback,
) -> list[AttributionAnalysis]:
    if not params.evaluate.attributions:
        return []
    on_network = _counter("attributions", len(models), on_progress)
    by_id = {model.id: model for model in models}
    return attribution_analyses(
        groups, by_id, networks, images, seed=params.seed, on_network=on_network
    )


def _counter(phase: str, steps: int, on_progress: ProgressCallback) -> Callable[[], None]:
    """Tell of one more step of a phase each time it is called."""
    numbers = itertools.count(1)
    return lambda: on_progress(Progress(phase=phase, step=next(numbers), steps=steps))


def _write(
    report: Report,
    groups: Sequence[TrainingSet],
    task: Task,
    beside: tuple[Path, ...],
) -> Output:
    numbers, page = task.folder / "report.json", task.folder / "report.html"
    write_json(numbers, report.as_json())
    pictures = set_pictures(groups)
    origin = origin_of(task, "evaluate")
    page.write_text(report_page(report, pictures, origin), encoding="utf-8")
    return Output("report", "report", report.headline_values(), (numbers, page, *beside))
