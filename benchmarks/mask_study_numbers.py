"""The study's numbers: from a report, into two small CSV files, and back."""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

_SIGNIFICANT_DIGITS = 5
_SETS = {"distilled": "dm", "random": "random"}


@dataclass(frozen=True)
class Network:
    """One network as trained, on its test images; shares are fractions.

    Attributes:
        dataset: of the case.
        images_per_class: likewise.
        seed: likewise.
        trained_on: "dm" or "random".
        accuracy: on test.
        train_accuracy: on its small set.
        ece: uncalibrated, 15 bins.
        signed_gap: mean confidence - accuracy.
        chance: 95 % point of the ECE that a perfectly calibrated network shows.
        logit_variation: deviation over mean of the largest logit on test.
        effective_rank: of the small set about its mean image; of a random set the mean of five.
    """

    dataset: str
    images_per_class: int
    seed: int
    trained_on: str
    accuracy: float
    train_accuracy: float
    ece: float
    signed_gap: float
    chance: float
    logit_variation: float
    effective_rank: float


@dataclass(frozen=True)
class Point:
    """One fit of MTS on one network, measured on test.

    Attributes:
        dataset: of the case.
        images_per_class: likewise.
        seed: likewise.
        trained_on: "dm" or "random".
        fit_on: "distilled" (the network's own small set) or "validation".
        unit: "pixel" or "patch".
        ratio: share masked.
        status: "ok", or why there is no temperature; ECE and gap are then those of the limit.
        temperature: None without one.
        ece: 15 bins.
        signed_gap: mean confidence - accuracy.
        masked_accuracy: on the masked images fitted on.
    """

    dataset: str
    images_per_class: int
    seed: int
    trained_on: str
    fit_on: str
    unit: str
    ratio: float
    status: str
    temperature: float | None
    ece: float
    signed_gap: float
    masked_accuracy: float


@dataclass(frozen=True)
class Numbers:
    """All of the study."""

    networks: tuple[Network, ...]
    points: tuple[Point, ...]


def networks_of(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Take out of a report what it says of each network as trained."""
    (spectrum,) = report["spectrum_analysis"]
    ranks = {
        "distilled": spectrum["centred"]["distilled"]["effective_rank"],
        "random": spectrum["centred"]["real"]["effective_rank"]["mean"],
    }
    found = []
    for index, training_set in enumerate(report["training_sets"]):
        row = next(one for one in report["rows"] if one["training_set_index"] == index)
        logits = report["logit_analysis"][index]["largest_logit"]
        source = training_set["training_set"]
        found.append(
            {
                "trained_on": _SETS[source],
                "accuracy": row["accuracy"]["mean"],
                "train_accuracy": training_set["train_accuracy"][0],
                "ece": row["ece"]["mean"],
                "signed_gap": row["signed_gap"]["mean"],
                "chance": row["null_p95"]["mean"],
                "logit_variation": logits["coefficient_of_variation"]["mean"],
                "effective_rank": ranks[source],
            }
        )
    return found


def curves_of(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Take out of a report the points of its MTS curves, of one network each."""
    sources = {one["label"]: _SETS[one["training_set"]] for one in report["training_sets"]}
    return [
        {
            "trained_on": sources[curve["training_set_label"]],
            # The tables kept in docs/ are from before this word was changed.
            "fit_on": curve["fit_on"].replace("training_set", "distilled"),
            "unit": curve["mask"]["unit"],
            "ratio": point["ratio"],
            **{
                name: point["networks"][0][name]
                for name in ("status", "temperature", "ece", "signed_gap", "masked_accuracy")
            },
        }
        for curve in report["mts_curves"]
        for point in curve["points"]
    ]


def write_numbers(cases: Iterable[Path], folder: Path) -> None:
    """Write networks.csv and curves.csv from the files that `run` keeps."""
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in cases]
    folder.mkdir(parents=True, exist_ok=True)
    for name, key, kind in (("networks", "networks", Network), ("curves", "curves", Point)):
        rows = [kind(**one["case"], **values) for one in kept for values in one[key]]
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(field.name for field in fields(kind))
            writer.writerows(map(_written, asdict(row).values()) for row in rows)


def _written(value: float | str | None) -> float | str | None:
    return f"{value:.{_SIGNIFICANT_DIGITS}g}" if isinstance(value, float) else value


def read_numbers(folder: Path) -> Numbers:
    """Read what `write_numbers` wrote."""
    return Numbers(_read(folder / "networks.csv", Network), _read(folder / "curves.csv", Point))


Row = TypeVar("Row", Network, Point)


def _read(path: Path, kind: type[Row]) -> tuple[Row, ...]:
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(_row(kind, values) for values in csv.DictReader(file))


def _row(kind: type[Row], values: Mapping[str, str]) -> Row:
    read: dict[str, Any] = {}
    for field in fields(kind):
        # The one optional field, a temperature, is a number or empty.
        of_text = field.type if isinstance(field.type, type) else float
        read[field.name] = of_text(values[field.name]) if values[field.name] else None
    return kind(**read)
