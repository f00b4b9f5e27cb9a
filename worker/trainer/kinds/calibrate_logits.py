"""`calibrate` on uploaded logits: fit on their fit rows, measure on their test rows, report.

There is no image and no network: the logits are all there is of the model. What is fitted comes
from the fit rows alone; the test rows are opened when that is done.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, assert_never

from torch import Tensor

from ddcal_core.calibration.failure_signatures import (
    logit_spread,
    relative_temperature,
    temperature_failure,
)
from ddcal_core.calibration.masked import fit_temperature
from ddcal_core.formats.calibrations import CalibrationFindings, Fitted, Judged
from ddcal_core.formats.logits_calibrations import (
    LogitsCalibrationFile,
    LogitsCalibrationValues,
    MeasuredNumbers,
)
from ddcal_core.formats.records import write_json
from ddcal_core.formats.reports import Report, ReportMadeWith
from ddcal_core.formats.tensor_files import read_tensors
from ddcal_core.progress import Progress
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.calibration import NoCalibration
from ddcal_core.specs.kinds.calibrate_logits import (
    CalibrateLogitsParams,
    LogitsCalibration,
    LogitsScaling,
    LogitsTemperatureScaling,
)
from worker.trainer.fitting.calibrations import (
    SCALING_FILE,
    Found,
    Scaling,
    described,
    fit_scaling,
    not_fitted,
)
from worker.trainer.inputs import LogitsInput, Task, parse_json
from worker.trainer.outputs import Output, made_with
from worker.trainer.report.calibration_words import calibration_labels
from worker.trainer.report.comparison import compare
from worker.trainer.report.kept_logits import TEST_LOGITS, write_test_logits
from worker.trainer.report.logits_report import logits_report, measured_on, uploaded_network
from worker.trainer.report.measurements import Measurement
from worker.trainer.report.measuring import NetworkMeasurer
from worker.trainer.report.page.origin import origin_of
from worker.trainer.report.page.page import report_page
from worker.trainer.report.prediction_table import PREDICTIONS, write_predictions
from worker.trainer.report.rows import Measured, build_rows

FoundOfLogits = Found[LogitsCalibrationValues]
FIT_ROWS: Literal["fit rows"] = "fit rows"


def run(task: Task) -> list[Output]:
    """Fit and measure; one calibration per method comes out, and the report on them."""
    started = time.monotonic()
    params = parse_json(CalibrateLogitsParams, task.params)
    logits = parse_json(LogitsInput, task.inputs["logits"])
    n_steps = 2 * len(params.calibrate)
    found = []
    rows = read_tensors(logits.fit_rows_path)
    for step, spec in enumerate(params.calibrate):
        task.on_progress(Progress(phase="fit", step=step, steps=n_steps))
        found.append(_fit(spec, rows, logits))
    if logits.test_rows_path is not None:
        rows = read_tensors(logits.test_rows_path)
    measurer = NetworkMeasurer(
        {logits.name: rows["logits"]}, rows["labels"], params.evaluate.n_bins, params.seed
    )
    before = measurer.measure(logits.name, not_fitted())
    measured = []
    for step, one in enumerate(found, start=len(found)):
        task.on_progress(Progress(phase="measure", step=step, steps=n_steps))
        # The chance level of many rows is most of the work: none is measured twice.
        is_none = one.values.method == "none"
        measured.append((one, before if is_none else measurer.measure(logits.name, one)))
    report = _report(logits, measured, before, measurer, task, started)
    task.on_progress(Progress(phase="measure", step=n_steps, steps=n_steps))
    outputs = [_calibration(one, after, logits, task.folder) for one, after in measured]
    return [*outputs, _written(report, logits, task)]


def _fit(spec: LogitsCalibration, rows: Mapping[str, Tensor], logits: LogitsInput) -> FoundOfLogits:
    fitted, judged = Fitted(), Judged()
    scaling: Scaling | None = None
    match spec:
        case NoCalibration():
            pass
        case LogitsScaling():
            fitted, scaling = fit_scaling(spec.method, rows["logits"], rows["labels"], FIT_ROWS)
        case LogitsTemperatureScaling():
            fit = fit_temperature(rows["logits"], rows["labels"], method=spec.optimiser)
            fitted = described(fit, FIT_ROWS)
            judged = _judged(rows, fit.temperature)
        case _:
            assert_never(spec)
    values = LogitsCalibrationValues(
        **dict(fitted), **dict(judged), spec=spec, logits=logits.name, dataset=logits.name
    )
    return Found(values, scaling)


def _judged(rows: Mapping[str, Tensor], temperature: float | None) -> Judged:
    """Hold a temperature against the logits' own size; which way it errs the report tells."""
    spread = logit_spread(rows["logits"], rows["labels"])
    if temperature is None:
        return Judged(logit_spread=spread)
    failure = temperature_failure(temperature, spread)
    return Judged(
        logit_spread=spread,
        relative_temperature=relative_temperature(temperature, spread),
        failures=() if failure is None else (failure,),
    )


def _calibration(
    found: FoundOfLogits, after: Measurement, logits: LogitsInput, folder: Path
) -> Output:
    """A calibration with its one small file: what was found, how to apply it, what it comes to."""
    values, scaling = found.values, found.scaling
    optimiser = values.optimiser
    solver = "" if optimiser in {None, "exact"} else f"_{optimiser}"
    own = folder / f"calibration_{values.method}{solver}"
    own.mkdir()
    said = LogitsCalibrationFile(
        **dict(values),
        **({} if scaling is None else dataclasses.asdict(scaling)),
        apply=found.apply,
        measured_on=measured_on(logits),
        measured=MeasuredNumbers(
            accuracy=after.accuracy,
            nll=after.nll,
            brier=after.brier,
            ece=after.ece,
            signed_gap=after.signed_gap,
        ),
    )
    path = own / (SCALING_FILE if scaling else "temperature.json")
    write_json(path, said.as_json())
    return Output("calibration", own.name, values.as_json(), (path,))


def _report(
    logits: LogitsInput,
    measured: Sequence[tuple[Found[CalibrationFindings], Measurement]],
    before: Measurement,
    measurer: NetworkMeasurer,
    task: Task,
    started: float,
) -> Report:
    """Put the report together, and write every prediction beside it."""
    group = uploaded_network(logits)
    (model,) = group.models
    if not any(one.values.method == "none" for one, _ in measured):
        measured = [(not_fitted(), before), *measured]
    labels = calibration_labels([one.values for one, _ in measured])
    members = [
        Measured(model, None, one.values, after, before, label)
        for (one, after), label in zip(measured, labels, strict=True)
    ]
    rows = build_rows([group], members, n_test=len(measurer.labels), n_bins=measurer.n_bins)
    predicted = [
        (member, measurer.predict(model.id, one))
        for member, (one, _) in zip(members, measured, strict=True)
    ]
    by_label = {one.label: [found] for one, found in predicted}
    comparison = compare(rows, by_label, generator=seeded_generator(measurer.seed, "resample"))
    write_predictions(
        task.folder / PREDICTIONS,
        [group],
        predicted,
        labels=measurer.labels,
        class_names=logits.facts.class_names,
    )
    write_test_logits(task.folder / TEST_LOGITS, [group], measurer.logits, measurer.labels, None)
    seconds = round(time.monotonic() - started, 3)
    made = ReportMadeWith(**dict(made_with(task.device)), seed=measurer.seed, seconds=seconds)
    return logits_report(logits, group, rows, comparison, made)


def _written(report: Report, logits: LogitsInput, task: Task) -> Output:
    folder = task.folder
    numbers, page = folder / "report.json", folder / "report.html"
    write_json(numbers, report.as_json())
    page.write_text(report_page(report, (), origin_of(task, "calibrate")), encoding="utf-8")
    values = {**report.headline_values(), "logits": logits.name}
    files = (numbers, page, folder / PREDICTIONS, folder / TEST_LOGITS)
    return Output("report", "report", values, files)
