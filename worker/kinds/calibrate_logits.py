"""`calibrate` on uploaded logits: fit on their fit rows, measure on their test rows, report.

There is no image and no network: the logits are all there is of the model. What is fitted comes
from the fit rows alone; the test rows are opened when that is done.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ddcal_core.calibration import fit_temperature
from ddcal_core.errors import InvalidDataError
from ddcal_core.export import read_tensors, write_json
from ddcal_core.failure_signatures import logit_spread, temperature_failure
from ddcal_core.logits_specs import CalibrateLogitsParams, LogitsCalibration
from ddcal_core.progress import Progress
from ddcal_core.scaling import (
    IsotonicScaling,
    VectorScaling,
    fit_isotonic,
    fit_vector_scaling,
)
from ddcal_core.seeding import seeded_generator
from worker.fitting import described, finite_or_none, not_fitted
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
# Below it a share counts as this: smaller than any that float32 can hold, and its log is finite.
SMALLEST_SHARE = 1e-300
_APPLY = {
    "none": "softmax(logits / temperature)",
    "ts": "softmax(logits / temperature)",
    "vector": "softmax(weights * (logits - mean of the row) + biases)",
    "isotonic": "for each class, the line through (probabilities, shares) at its softmax "
    "probability; then divide each row by its sum, 1 / K where that is 0",
}


@dataclass(frozen=True)
class _Found:
    """What one method has found on the fit rows.

    Attributes:
        values: of the calibration.
        scaling: of vector and isotonic, where there is one; a temperature stands in the values.
    """

    values: Mapping[str, Any]
    scaling: VectorScaling | IsotonicScaling | None = None


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

    def measure(self, found: _Found) -> Measurement:
        """Measure the logits under what one calibration found."""
        labels = self.rows["labels"]
        after = measure(
            self._scores(found),
            labels,
            status=found.values["status"],
            temperature=found.values["temperature"],
            n_bins=self.n_bins,
            # The same draws for every calibration: they differ by their confidences alone.
            generator=seeded_generator(self.seed, "null"),
        )
        if found.scaling is None:
            return after
        at_label = found.scaling.apply(self.rows["logits"]).gather(1, labels.unsqueeze(1))
        # An isotonic share can be exactly 0: where the label has it, no log is finite.
        return after if bool((at_label > 0).all()) else dataclasses.replace(after, nll=None)

    def predict(self, found: _Found) -> Predictions:
        """Give the predictions under what one calibration found."""
        return predict(
            self._scores(found),
            self.rows["labels"],
            status=found.values["status"],
            temperature=found.values["temperature"],
        )

    def _scores(self, found: _Found) -> Tensor:
        """Logits whose softmax, at the temperature found if there is one, is what was found."""
        if found.scaling is None:
            return self.rows["logits"]
        return found.scaling.apply(self.rows["logits"]).clamp(min=SMALLEST_SHARE).log()


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
    before = bench.measure(_Found(not_fitted()))
    measured = []
    for step, one in enumerate(found, start=len(found)):
        task.on_progress(Progress(phase="measure", step=step, steps=n_steps))
        # The chance level of many rows is most of the work: none is measured twice.
        is_none = one.values["method"] == "none"
        measured.append((one, before if is_none else bench.measure(one)))
    report = _report(logits, measured, before, bench, task.folder)
    seconds = round(time.monotonic() - started, 3)
    made_with = {**versions(task.device), "seed": params.seed, "seconds": seconds}
    report |= {"made_with": made_with, "steps": steps_words(logits, made_with)}
    task.on_progress(Progress(phase="measure", step=n_steps, steps=n_steps))
    on = report["measured_on"]
    outputs = [_calibration(one, after, on, task.folder) for one, after in measured]
    return [*outputs, _written(report, logits, task.folder)]


def _fit(spec: LogitsCalibration, rows: Mapping[str, Tensor], logits: LogitsInput) -> _Found:
    of_what = {"model_id": None, "logits": logits.name, "dataset": logits.name}
    values = {**of_what, **not_fitted(), "spec": spec.model_dump(mode="json")}
    if spec.method == "none":
        return _Found(values)
    values |= {"method": spec.method, "fit_on": FIT_ROWS, "n": len(rows["labels"])}
    scaling: VectorScaling | IsotonicScaling | None = None
    match spec.method:
        case "ts":
            fit = fit_temperature(rows["logits"], rows["labels"])
            values |= {**described(fit), **_judged(rows["logits"], fit.temperature)}
        case "vector":
            vector = fit_vector_scaling(rows["logits"], rows["labels"])
            scaling = vector if vector.weights is not None else None
            values |= _described_vector(vector)
        case "isotonic":
            scaling = fit_isotonic(rows["logits"], rows["labels"])
            values |= {"status": scaling.status, "temperature": None}
    return _Found(values, scaling)


def _described_vector(vector: VectorScaling) -> dict[str, Any]:
    if vector.status == "not_converged":
        raise InvalidDataError(
            f"vector scaling: wanted a solution within {vector.iterations} steps of Newton's "
            "method; got none for these logits: leave vector out"
        )
    return {
        "status": vector.status,
        "temperature": None,
        "nll_before": finite_or_none(vector.nll_before),
        "nll_after": finite_or_none(vector.nll_after),
    }


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


def _calibration(found: _Found, after: Measurement, measured_on: str, folder: Path) -> Output:
    """A calibration with its one small file: what was found, how to apply it, what it comes to."""
    values = found.values
    own = folder / f"calibration_{values['method']}"
    own.mkdir()
    known = {
        name: value for name, value in values.items() if value is not None or name == "temperature"
    }
    scaling: dict[str, Any] = {}
    match found.scaling:
        case VectorScaling(weights=weights, biases=biases):
            scaling = {"weights": weights, "biases": biases}
        case IsotonicScaling(probabilities=probabilities, shares=shares):
            scaling = {"probabilities": probabilities, "shares": shares}
    names = ("accuracy", "nll", "brier", "ece", "signed_gap")
    said = {
        **known,
        **scaling,
        "apply": _APPLY[values["method"]] if values["status"] == "ok" else None,
        "measured_on": measured_on,
        "measured": {name: getattr(after, name) for name in names},
    }
    path = own / ("scaling.json" if found.scaling else "temperature.json")
    write_json(path, said)
    return Output("calibration", own.name, values, (path,))


def _report(
    logits: LogitsInput,
    measured: Sequence[tuple[_Found, Measurement]],
    before: Measurement,
    bench: _Bench,
    folder: Path,
) -> dict[str, Any]:
    """Put the report together, and write every prediction beside it."""
    group = uploaded_network(logits)
    (model,) = group.models
    if not any(one.values["method"] == "none" for one, _ in measured):
        measured = [(_Found(not_fitted()), before), *measured]
    members = [Measured(model, None, one.values, after, before) for one, after in measured]
    labels = bench.rows["labels"]
    rows = build_rows([group], members, n_test=len(labels), n_bins=bench.n_bins)
    predicted = [
        (member, bench.predict(one)) for member, (one, _) in zip(members, measured, strict=True)
    ]
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
