"""Every backbone with and without MDT on Fashion-MNIST: a table made through the service.

    python -m benchmarks.backbone_table run --data FOLDER --out FOLDER [--only CASE ...]
    python -m benchmarks.backbone_table table [--out FOLDER]

`run` starts a service of its own, uploads Fashion-MNIST (60,000 training images, a random 2,500
of the test images) from FOLDER/fashion_mnist.npz, sends a pipeline a case and keeps what its
report says; a case that is there already is left alone. A case is METHOD-RATIO-SIZE-NETWORKS, such
as dm-0.3-10-convnet: method, mask ratio of MDT, images per class, and which networks are trained.
A set is distilled by its first case, the others find it by its recipe. `table` prints the tables
of docs/backbones.md from docs/backbone-table.csv, which it writes anew from --out if that is given.
"""

import csv
import dataclasses
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.service_cases import (
    Job,
    Report,
    ServiceCase,
    asked_of_study,
    run_cases,
    write_upload,
)
from ddcal.client import Client

METHODS = ("dm", "dc", "dsa", "mtt", "rtp")
RATIOS = (0.0, 0.3)
SIZES = (1, 10)
NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "convnet": {"train": {"width": 32, "n_seeds": 3}},
    "others": {
        "train": {"network": "alexnet", "n_seeds": 1},
        "train_networks": [{"network": "vit", "width": 64, "depth": 3}],
    },
    "resnet18": {"train": {"network": "resnet18", "n_seeds": 1}},
}
# Without mts for ResNet-18: its ratio for random images takes further trainings to find.
CALIBRATIONS = [
    {"method": "none"},
    {"method": "ts", "fit_on": "validation"},
    {"method": "mts", "fit_on": "training_set"},
]
RESNET_CASES = (("dm", 0.0, 10),)
# Epochs and batch size: about 300 steps and 500, what AlexNet needs to leave chance.
EPOCHS = {1: (300, 256), 10: (60, 12)}
# Its 29 decoded images per class at a budget of one.
EPOCHS_RTP_1 = (20, 12)
DATASET = "table-fashion_mnist"
N_TRAIN, N_TEST, N_VALIDATION = 60_000, 2_500, 1_000
TABLE = Path(__file__).parent.parent / "docs" / "backbone-table.csv"
COLUMNS = (
    "method", "mask_ratio", "images_per_class", "network", "trained_on", "n_networks", "accuracy",
    "accuracy_deviation", "ece", "ece_ts", "ece_mts", "signed_gap", "effective_rank",
    "effective_rank_real", "seconds", "expert_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class TableCase:
    """One pipeline: a set and networks trained on it, with random real images beside dm's own."""

    method: str
    mask_ratio: float
    images_per_class: int
    networks: str

    @property
    def name(self) -> str:
        """The case in one word, the stem of its file."""
        return f"{self.method}-{self.mask_ratio:g}-{self.images_per_class}-{self.networks}"


def all_cases() -> list[TableCase]:
    """Give every case; experts are recorded by the first of mtt's."""
    found = []
    for size, method, ratio in itertools.product(SIZES, METHODS, RATIOS):
        own = ["convnet", "others"]
        if (method, ratio, size) in RESNET_CASES:
            own.append("resnet18")
        found += [TableCase(method, ratio, size, networks) for networks in own]
    return found


def case_of(name: str) -> TableCase:
    """Read a case's name.

    Raises:
        ValueError: it is no case's name.
    """
    found = [case for case in all_cases() if case.name == name]
    if not found:
        raise ValueError(f"wanted a case such as dm-0.3-10-convnet, got {name!r}")
    return found[0]


def pipeline_of(case: TableCase) -> dict[str, Any]:
    """Give the submission that stands for a case."""
    size = case.images_per_class
    is_decoded = (case.method, size) == ("rtp", 1)
    epochs, batch_size = EPOCHS_RTP_1 if is_decoded else EPOCHS[size]
    asked = NETWORKS[case.networks]
    is_beside_random = (case.method, case.mask_ratio) == ("dm", 0.0)
    return {
        "kind": "pipeline",
        "params": {
            "dataset": DATASET,
            "n_validation": N_VALIDATION,
            "distill": {
                "method": case.method,
                "images_per_class": size,
                "mask": {"ratio": case.mask_ratio},
            },
            "baselines": [{"source": "random"}] if is_beside_random else [],
            **asked,
            "train": {"epochs": epochs, "batch_size": batch_size, **asked["train"]},
            "calibrate": CALIBRATIONS[:2] if case.networks == "resnet18" else CALIBRATIONS,
            "evaluate": {"mts_ratios": []},
        },
    }


def rows_of(report: Report, job: Job) -> list[dict[str, Any]]:
    """Take out of a report a row a training set: its networks before and after calibration."""
    found = []
    spectra = report["spectrum_analysis"]
    for index, training_set in enumerate(report["training_sets"]):
        own = [row for row in report["rows"] if row["training_set_index"] == index]
        eces = {row["method"]: row["ece"]["mean"] for row in own}
        plain = next(row for row in own if row["method"] == "none")
        ranks = spectra[0]["centred"]
        is_distilled = training_set["training_set"] == "distilled"
        made = training_set["distilled"] or {}
        found.append(
            {
                "network": training_set["network"]["name"],
                "trained_on": training_set["training_set"],
                "n_networks": plain["n_networks"],
                "accuracy": plain["accuracy"]["mean"],
                "accuracy_deviation": plain["accuracy"]["std"],
                "ece": eces["none"],
                "ece_ts": eces["ts"],
                "ece_mts": eces.get("mts"),
                "signed_gap": plain["signed_gap"]["mean"],
                "effective_rank": ranks["distilled"]["effective_rank"] if is_distilled else None,
                "effective_rank_real": ranks["real"]["effective_rank"]["mean"],
                "seconds": made.get("seconds"),
                "expert_seconds": _expert_seconds(job) if is_distilled else None,
            }
        )
    return found


def _expert_seconds(job: Job) -> float | None:
    """How long the experts took; None without, or where another job's were taken over."""
    children = [one for one in job["children"] if one["role"] == "experts"]
    if not children or children[0]["reused_from"]:
        return None
    begun, ended = (datetime.fromisoformat(children[0][key]) for key in ("started_at", "ended_at"))
    return round((ended - begun).total_seconds(), 1)


def service_case(case: TableCase) -> ServiceCase:
    """Give the case as the service is asked for it."""

    def keep(report: Report, job: Job) -> dict[str, Any]:
        return {"case": dataclasses.asdict(case), "rows": rows_of(report, job)}

    return ServiceCase(case.name, pipeline_of(case), keep)


def run(cases: Sequence[TableCase], data: Path, out: Path) -> int:
    """Run the cases that are not there; 1 when one failed."""

    def upload(client: Client, home: Path) -> None:
        path = home / "fashion_mnist.npz"
        write_upload("fashion_mnist", data, path, n_train=N_TRAIN, n_test=N_TEST)
        client.upload(DATASET, path)
        path.unlink()

    return run_cases([service_case(case) for case in cases], out, upload)


def write_table(cases: Sequence[Path]) -> None:
    """Write docs/backbone-table.csv from the files that `run` keeps."""
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in cases]
    rows = [{**one["case"], **row} for one in kept for row in one["rows"]]
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({name: _written(value) for name, value in row.items()} for row in rows)


def _written(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, float) else value


def print_tables() -> None:
    """Print a table a size and network: random real images, then the distilled sets."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for size, network in itertools.product(SIZES, ("convnet", "alexnet", "vit", "resnet18")):
        own = [r for r in rows if r["images_per_class"] == str(size) and r["network"] == network]
        if own:
            _print_table(f"{network}, {size} per class", sorted(own, key=_place))


def _print_table(title: str, rows: Sequence[Mapping[str, str]]) -> None:
    print(f"\n| {title} | mask | accuracy | ECE | after TS | after MTS | gap | rank | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(_line(row))
    random, *distilled = rows
    behind = [row for row in distilled if float(row["accuracy"]) <= float(random["accuracy"])]
    names = ", ".join(f"{row['method']} {row['mask_ratio']}" for row in behind)
    print(f"\nNot ahead of random real images: {names or 'none'}.")


def _place(row: Mapping[str, str]) -> tuple[int, int, float]:
    is_distilled = row["trained_on"] == "distilled"
    return is_distilled, METHODS.index(row["method"]), float(row["mask_ratio"])


def _line(row: Mapping[str, str]) -> str:
    is_distilled = row["trained_on"] == "distilled"
    deviation = row["accuracy_deviation"]
    spread = f" ± {100 * float(deviation):.1f}" if deviation else ""
    cells = [
        row["method"] if is_distilled else "random real",
        f"{float(row['mask_ratio']):g}" if is_distilled else "",
        f"{100 * float(row['accuracy']):.1f}{spread}",
        *(_percent(row[name]) for name in ("ece", "ece_ts", "ece_mts")),
        f"{100 * float(row['signed_gap']):+.1f}",
        f"{float(row['effective_rank' if is_distilled else 'effective_rank_real']):.1f}",
        f"{float(row['seconds']):.0f}" if is_distilled else "",
    ]
    return f"| {' | '.join(cells)} |"


def _percent(share: str) -> str:
    return f"{100 * float(share):.1f}" if share else ""


def main(arguments: Sequence[str]) -> int:
    """Run cases, or show the tables."""
    given = asked_of_study(__doc__, arguments, case_of, all_cases())
    if given.command == "run":
        return run(given.only, given.data, given.out)
    if given.out is not None:
        write_table(sorted(given.out.glob("*.json")))
    print_tables()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
