"""ECE over the mask ratio of MTS: a study made through the service.

    python -m benchmarks.mask_study run --data FOLDER --out FOLDER [--only CASE ...]
    python -m benchmarks.mask_study table [--out FOLDER]

`run` starts a service of its own, uploads what is missing, sends it a pipeline for each case and
keeps each report's curves as one JSON file; a case that is there already is left alone, so that
what was cut short goes on. A case is DATASET-IMAGES_PER_CLASS-SEED, such as fashion_mnist-10-0.
FOLDER of --data is that of `benchmarks.mask_ratio`. `table` prints the tables of
docs/mask-study/tables.md and draws its plots from docs/mask-study/*.csv, which it writes
anew from the cases of --out if that is given.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.mask_study_cases import (
    BUILT_IN,
    N_TEST,
    N_TRAIN,
    StudyCase,
    all_cases,
    case_of,
    dataset_name,
    pipeline_of,
)
from benchmarks.mask_study_numbers import curves_of, networks_of, read_numbers, write_numbers
from benchmarks.mask_study_plots import draw_plots
from benchmarks.mask_study_tables import print_tables
from benchmarks.service_cases import (
    Job,
    Report,
    ServiceCase,
    asked_of_study,
    run_cases,
    write_upload,
)
from ddcal.client import Client

DOCS = Path(__file__).parent.parent / "docs" / "mask-study"


def main(arguments: Sequence[str]) -> int:
    """Run cases, or show the tables."""
    given = asked_of_study(__doc__, arguments, case_of, all_cases())
    if given.command == "run":
        return run(given.only, given.data, given.out)
    if given.out is not None:
        write_numbers(sorted(given.out.glob("*.json")), DOCS)
    numbers = read_numbers(DOCS)
    print_tables(numbers)
    draw_plots(numbers, DOCS)
    return 0


def run(cases: Sequence[StudyCase], data: Path, out: Path) -> int:
    """Run the cases that are not there; 1 when one failed."""

    def upload(client: Client, home: Path) -> None:
        for dataset in dict.fromkeys(case.dataset for case in cases if case.dataset != BUILT_IN):
            path = home / f"{dataset}.npz"
            write_upload(dataset, data, path, n_train=N_TRAIN, n_test=N_TEST)
            client.upload(dataset_name(dataset), path)
            path.unlink()

    return run_cases([_service_case(case) for case in cases], out, upload)


def _service_case(case: StudyCase) -> ServiceCase:
    def keep(report: Report, _job: Job) -> dict[str, Any]:
        named = dataclasses.asdict(case)
        return {"case": named, "networks": networks_of(report), "curves": curves_of(report)}

    return ServiceCase(case.name, pipeline_of(case), keep)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
