"""`calibrate` on uploaded logits: fit on their fit rows, measure on their test rows, report.

There is no image and no network: the logits are all there is of the model. What is fitted comes
from the fit rows alone; the test rows are opened when that is done.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ddcal_core.calibration import fit_temperature
from ddcal_core.export import read_tensors, write_json
from ddcal_core.failure_signatures import logit_spread, temperature_failure
from ddcal_core.logits_specs import CalibrateLogitsParams, LogitsCalibration
from ddcal_core.progress import Progress
from ddcal_core.seeding import seeded_generator
from worker.fitting import described, not_fitted
from worker.inputs import LogitsInput, Task, parse_json
from worker.logits_report import logits_report, steps_words, uploaded_network
from worker.outputs import Output, versions
from worker.report.comparison import compare
from worker.report.measurements import Measurement, Predictions, measure, predict
from worker.report.page import report_page
from worker.report.prediction_table import write_predictions
from worker.report.rows import Measured, build_rows, calibration_label, headline_values

FIT_ROWS = "fit rows"
PREDICTIONS = "predictions.csv"


@dataclass(frozen=True)
class _Bench:
    """What every measurement of one report shares.

    Attributes:
        rows: logits (N, K) and labels int64 (N,) measured on.
        n_bins: of the ECE.
        seed: of what is drawn.
    """

    rows: Mapping[str, Tensor]
    n_bins: int
    seed: int

    def measure(self, values: Mapping[str, Any]) -> Measurement:
        """Measure the logits under what one calibration found."""
        return measure(
            self.rows["logits"],
            self.rows["labels"],
            status=values["status"],
            temperature=values["temperature"],
            n_bins=self.n_bins,
            # The same draws for every calibration: they differ by their confidences alone.
            generator=seeded_generator(self.seed, "null"),
        )

    def predict(self, values: Mapping[str, Any]) -> Predictions:
        """Give the predictions under what one calibration found."""
        return predict(
            self.rows["logits"],
            self.rows["labels"],
            status=values["status"],
            temperature=values["temperature"],
        )


def run(task: Task) -> list[Output]:
    """Fit and measure; one calibration a method comes out, and the report on them."""
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
    bench = _Bench(rows, params.evaluate.n_bins, params.seed)
    before = bench.measure(not_fitted())
    measured = []
    for step, values in enumerate(found, start=len(found)):
        task.on_progress(Progress(phase="measure", step=step, steps=n_steps))
        # The chance level of many rows is most of the work: none is measured twice.
        measured.append((values, before if values["method"] == "none" else bench.measure(values)))
    report = _report(logits, measured, before, bench, task.folder)
    seconds = round(time.monotonic() - started, 3)
    made_with = {**versions(task.device), "seed": params.seed, "seconds": seconds}
    report |= {"made_with": made_with, "steps": steps_words(logits, made_with)}
    task.on_progress(Progress(phase="measure", step=n_steps, steps=n_steps))
    on = report["measured_on"]
    outputs = [_calibration(values, after, on, task.folder) for values, after in measured]
    return [*outputs, _written(report, logits, task.folder)]


def _fit(spec: LogitsCalibration, rows: Mapping[str, Any], logits: LogitsInput) -> dict[str, Any]:
    values = {**not_fitted(), "spec": spec.model_dump(mode="json")}
    if spec.method == "ts":
        fit = fit_temperature(rows["logits"], rows["labels"])
        values |= {"method": "ts", "fit_on": FIT_ROWS, **described(fit)}
        values |= _judged(rows["logits"], fit.temperature)
    return {"model_id": None, "logits": logits.name, "dataset": logits.name, **values}


def _judged(logits: Tensor, temperature: float | None) -> dict[str, Any]:
    """Hold a temperature against the logits' own size; which way it errs the report tells."""
    spread = logit_spread(logits)
    if temperature is None:
        return {"logit_spread": spread, "relative_temperature": None, "failures": []}
    failure = temperature_failure(temperature, spread)
    return {
        "logit_spread": spread,
        "relative_temperature": temperature / spread,
        "failures": [] if failure is None else [failure],
    }


def _calibration(
    values: Mapping[str, Any], after: Measurement, measured_on: str, folder: Path
) -> Output:
    """A calibration with its one small file: what was found, and what it comes to."""
    own = folder / f"calibration_{values['method']}"
    own.mkdir()
    path = own / "temperature.json"
    names = ("accuracy", "nll", "brier", "ece", "signed_gap")
    numbers = {name: getattr(after, name) for name in names}
    apply = None if values["temperature"] is None else "softmax(logits / temperature)"
    known = {
        name: value for name, value in values.items() if value is not None or name == "temperature"
    }
    write_json(path, {**known, "measured_on": measured_on, "measured": numbers, "apply": apply})
    return Output("calibration", own.name, values, (path,))


def _report(
    logits: LogitsInput,
    measured: Sequence[tuple[Mapping[str, Any], Measurement]],
    before: Measurement,
    bench: _Bench,
    folder: Path,
) -> dict[str, Any]:
    """Put the report together, and write every prediction beside it."""
    group = uploaded_network(logits)
    (model,) = group.models
    members = [Measured(model, None, values, after, before) for values, after in measured]
    if not any(values["method"] == "none" for values, _ in measured):
        members.insert(0, Measured(model, None, not_fitted(), before, before))
    labels = bench.rows["labels"]
    rows = build_rows([group], members, n_test=len(labels), n_bins=bench.n_bins)
    predicted = [(one, bench.predict(one.values)) for one in members]
    by_label = {calibration_label(one.values): [found] for one, found in predicted}
    comparison = compare(rows, by_label, generator=seeded_generator(bench.seed, "resample"))
    write_predictions(
        folder / PREDICTIONS,
        [group],
        predicted,
        labels=labels,
        class_names=logits.facts.class_names,
    )
    return logits_report(logits, group, rows, [] if comparison is None else [comparison])


def _written(report: dict[str, Any], logits: LogitsInput, folder: Path) -> Output:
    numbers, page = folder / "report.json", folder / "report.html"
    write_json(numbers, report)
    page.write_text(report_page(report, ()), encoding="utf-8")
    values = {
        **headline_values(report),
        "logits": logits.name,
        "measured_on": report["measured_on"],
    }
    return Output("report", "report", values, (numbers, page, folder / PREDICTIONS))
