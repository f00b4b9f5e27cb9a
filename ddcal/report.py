"""A report's numbers, and its table for people."""

import itertools
from collections.abc import Iterator
from operator import attrgetter

from pydantic import Field

from ddcal import html
from ddcal.records import Record

TABLE_HEADER = ("  calibration", "temperature", "accuracy", "ECE", "gap", "chance: mean, 95 %")


class Mean(Record):
    """A number over the networks of a row; None where it is not finite, or of one network."""

    mean: float | None = None
    std: float | None = None
    n: int = 0


class ReportRow(Record):
    """The networks of one training set under one calibration; fractions, not percent."""

    training_set: str = ""
    training_set_label: str = ""
    calibration: str = ""
    method: str = ""
    status: str = "ok"
    statuses: dict[str, int] = Field(default_factory=dict)
    n_networks: int = 1
    temperature: Mean = Mean()
    accuracy: Mean = Mean()
    ece: Mean = Mean()
    signed_gap: Mean = Mean()
    null_mean: Mean = Mean()
    null_p95: Mean = Mean()


class Report(Record):
    """What a report says: its headline, its findings and its table."""

    headline: str = ""
    findings: tuple[str, ...] = ()
    dataset: str = ""
    n_test: int = 0
    n_bins: int = 0
    rows: tuple[ReportRow, ...] = ()

    def _repr_html_(self) -> str:
        return html.heading(self.headline) + html.table(TABLE_HEADER, table_rows(self))


def table_rows(report: Report) -> Iterator[list[str]]:
    """A report's rows under their training sets: mean ± deviation over networks."""
    for label, group in itertools.groupby(report.rows, attrgetter("training_set_label")):
        yield [label]
        for row in group:
            yield [
                f"  {row.calibration}",
                _temperature(row),
                _percent(row.accuracy),
                _percent(row.ece),
                _signed(row.signed_gap),
                f"{_percent(_alone(row.null_mean))}, {_percent(_alone(row.null_p95))}",
            ]


def _temperature(row: ReportRow) -> str:
    """The temperature where every network has one, else why not."""
    found = row.temperature
    if row.method == "none":
        return "1 (as trained)"
    if found.n == 0 or found.mean is None:
        return _status(row.status)
    words = _number(found.mean, found.std, ".3g")
    if found.n == row.n_networks:
        return words
    others = ", ".join(
        f"{n} {_status(status)}" for status, n in row.statuses.items() if status != "ok"
    )
    return f"{words} ({others})"


def _status(word: str) -> str:
    return word.replace("_", " ")


def _percent(value: Mean) -> str:
    if value.mean is None:
        return "–"
    return f"{_number(100 * value.mean, None if value.std is None else 100 * value.std, '.2f')} %"


def _signed(value: Mean) -> str:
    return "–" if value.mean is None else f"{100 * value.mean:+.2f} %"


def _alone(value: Mean) -> Mean:
    return Mean(mean=value.mean)


def _number(mean: float, std: float | None, form: str) -> str:
    return f"{mean:{form}}" + ("" if std is None else f" ± {std:{form}}")
