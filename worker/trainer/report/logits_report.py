"""Measurements of uploaded logits -> report.json, in the form that networks' reports have."""

from collections.abc import Sequence
from typing import Literal

from ddcal_core.formats.report_analyses import Comparison
from ddcal_core.formats.report_rows import Row
from ddcal_core.formats.reports import Report, ReportMadeWith, UnknownTrainingSet
from worker.trainer.inputs import LogitsInput
from worker.trainer.report.conventions import CONVENTIONS
from worker.trainer.report.findings import findings
from worker.trainer.report.training_sets import Network, TrainingSet

_TEST_ROWS = (
    "Rows behind every number: logits_test and labels_test, on which nothing was fitted. That the "
    "network was not trained on them either is for their sender to know."
)
_FIT_ROWS = (
    "Rows behind every number: those the temperature itself was fitted on, as no test rows were "
    "sent. Numbers after calibration are flattered by that, the less the more rows there are."
)


def uploaded_network(logits: LogitsInput) -> TrainingSet:
    """Give the one network there is, of which nothing is known but its logits."""
    return TrainingSet(
        label=f"uploaded logits ({logits.facts.n_fit:,} rows to fit on)",
        images="data unknown to this service",
        models=(Network(logits.name),),
    )


def measured_on(logits: LogitsInput) -> Literal["test rows", "fit rows"]:
    """Give which rows the numbers are of: the test rows, where any were sent."""
    return "fit rows" if logits.test_rows_path is None else "test rows"


def logits_report(
    logits: LogitsInput,
    group: TrainingSet,
    rows: Sequence[Row],
    comparison: Comparison | None,
    made_with: ReportMadeWith,
) -> Report:
    """Put everything together that report.json holds.

    Args:
        logits: what was uploaded.
        group: from `uploaded_network`.
        rows: of the table, `none` first.
        comparison: which calibration won, where there are several.
        made_with: seed, versions and seconds.
    """
    facts = logits.facts
    on = measured_on(logits)
    is_held_out = on == "test rows"
    said = findings(f"the {'test' if is_held_out else 'fit'} rows of {logits.name}", rows)
    return Report(
        dataset=logits.name,
        headline=said[0],
        findings=(
            said[0],
            *facts.notes,
            *said[1:],
            *(() if is_held_out else (_NOT_HELD_OUT,)),
        ),
        n_test=rows[0].n_test,
        measured_on=on,
        n_bins=rows[0].n_bins,
        class_names=facts.class_names,
        image_shape=None,
        training_sets=(_training_set(group),),
        rows=tuple(rows),
        # There are no images to mask or to take apart, and no second network to set beside it.
        mts_curves=(),
        comparisons=() if comparison is None else (_compared_on_rows(comparison),),
        logit_analysis=(),
        spectrum_analysis=(),
        facts=_facts(logits, rows[0].n_bins),
        conventions=_conventions(is_held_out=is_held_out),
        calibration_ids=(),
        made_with=made_with,
        steps=_steps(logits, made_with),
    )


def _training_set(group: TrainingSet) -> UnknownTrainingSet:
    return UnknownTrainingSet(
        label=group.label,
        training_set="elsewhere",
        model_ids=tuple(model.id for model in group.models),
    )


def _compared_on_rows(comparison: Comparison) -> Comparison:
    return comparison.model_copy(update={"words": _of_rows(comparison.words)})


_NOT_HELD_OUT = (
    "There were no test rows: every number here is on the rows the temperature was fitted on, "
    "which flatters it. Send logits_test and labels_test for numbers that count."
)


def _facts(logits: LogitsInput, n_bins: int) -> dict[str, str]:
    """The figures at the head of the page."""
    facts = logits.facts
    return {
        "rows fitted on": f"{facts.n_fit:,}",
        "rows measured on": f"{facts.n_test:,}" if facts.n_test else "the same",
        "classes": f"{facts.n_classes:,}",
        "numbers": facts.dtype,
        "sent as": facts.values,
        "test rows also fitted on": f"{facts.n_test_in_fit:,}",
        "ECE bins": str(n_bins),
    }


def _steps(logits: LogitsInput, made_with: ReportMadeWith) -> tuple[str, ...]:
    """Say how everything was computed, step by step."""
    facts = logits.facts
    where = (
        f"{facts.n_test:,} test rows, opened when everything had been fitted"
        if facts.n_test
        else "the rows fitted on, as no others were sent"
    )
    return (
        f"{logits.name}: logits and labels sent as one file (sha256 {logits.sha256}); the network "
        "behind them and what it was trained on are not known here.",
        f"Fitted on {facts.n_fit:,} rows of {facts.n_classes:,} {facts.dtype} logits, solved in "
        "float64.",
        f"Measured on {where}; torch {made_with.torch} on {made_with.device} with "
        f"{made_with.threads} threads, seed {made_with.seed} of the chance level, "
        f"{made_with.seconds:.1f} s.",
    )


def _of_rows(words: str) -> str:
    """Say of rows what the service says of its own test images."""
    return (
        words.replace("test images", "rows").replace("test image", "row").replace("images", "rows")
    )


_OF_SETS = {"found", "effective_rank", "ranking"}
"""What only networks with training sets of ours have."""


def _conventions(*, is_held_out: bool) -> dict[str, str]:
    return {
        **{name: _of_rows(words) for name, words in CONVENTIONS.items() if name not in _OF_SETS},
        "failures": (
            "Over-calibration, under-confident after it; under-calibration, "
            "over-confident, both as the verdict has it. Nearly uniform and nearly certain, if T "
            "is above 10 times or below a fiftieth of the logits' spread on the fit rows (mean of "
            "largest minus row mean)."
        ),
        "n_test": _TEST_ROWS if is_held_out else _FIT_ROWS,
        "temperature": (
            "Probabilities are softmax(logits / T). T minimises the NLL on the fit rows, solved "
            "exactly unless L-BFGS is named. Vector: a weight and a bias per class, pulled towards "
            "1/T and 0 as by a label each. Isotonic: a rising function a class of the softmax "
            "probability, rows made to sum to 1. ETS: softmax(logits / T), softmax(logits) and 1/K "
            "mixed, T that of TS, weights of least NLL."
        ),
        "fit_on": "fit rows: logits_fit and labels_fit as they were sent.",
    }
