"""ECE over the mask ratio of MTS: a study made through the service.

    python -m benchmarks.mask_study run --data FOLDER --out FOLDER [--only CASE ...]
    python -m benchmarks.mask_study table [--out FOLDER]

`run` starts a service of its own, uploads what is missing, sends it a pipeline for each case and
keeps each report's curves as one JSON file; a case that is there already is left alone, so that
what was cut short goes on. A case is DATASET-IMAGES_PER_CLASS-SEED, such as fashion_mnist-10-0.
FOLDER of --data is that of `benchmarks.mask_ratio`. `table` prints the tables of
docs/mask-ratio.md and draws its plots from docs/mask-study/*.csv, which it writes anew from the
cases of --out if that is given.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.client import Client, ServiceError, connect
from app.console import failure
from app.demo import own_service
from benchmarks.mask_study_cases import (
    BUILT_IN,
    StudyCase,
    all_cases,
    case_of,
    dataset_name,
    pipeline_of,
    write_upload,
)
from benchmarks.mask_study_numbers import curves_of, networks_of, read_numbers, write_numbers
from benchmarks.mask_study_plots import draw_plots
from benchmarks.mask_study_tables import print_tables

DOCS = Path(__file__).parent.parent / "docs" / "mask-study"
_POLL_SECONDS = 2.0


def main(arguments: Sequence[str]) -> int:
    """Run cases, or show the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--data", type=Path, required=True)
    running.add_argument("--out", type=Path, required=True)
    running.add_argument("--only", type=case_of, nargs="+", default=all_cases(), metavar="CASE")
    showing = commands.add_parser("table")
    showing.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
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
    out.mkdir(parents=True, exist_ok=True)
    missing = [case for case in cases if not _path(case, out).exists()]
    print(f"{len(cases) - len(missing)} of {len(cases)} cases are there", flush=True)
    if not missing:
        return 0
    home = Path(tempfile.mkdtemp(prefix="mask-study-"))
    n_failed = 0
    with own_service(home / "service") as address, connect(address) as client:
        for dataset in dict.fromkeys(case.dataset for case in missing):
            _upload(client, dataset, data, home)
        for case in missing:
            n_failed += not _run_case(client, case, home, _path(case, out))
    if n_failed:
        print(f"{n_failed} failed; the service's folder is kept: {home}")
        return 1
    shutil.rmtree(home, ignore_errors=True)
    return 0


def _path(case: StudyCase, out: Path) -> Path:
    return out / f"{case.name}.json"


def _upload(client: Client, dataset: str, data: Path, home: Path) -> None:
    if dataset == BUILT_IN:
        return
    path = home / f"{dataset}.npz"
    write_upload(dataset, data, path)
    client.upload_dataset(dataset_name(dataset), path)
    path.unlink()


def _run_case(client: Client, case: StudyCase, home: Path, path: Path) -> bool:
    """Send a case's pipeline, wait for it, keep its curves; False if it failed."""
    begun = time.monotonic()
    try:
        job = client.submit(pipeline_of(case))
    except ServiceError as error:
        print(f"{case.name}: refused: {error}", flush=True)
        return False
    for state in client.watch(job["id"], poll_seconds=_POLL_SECONDS):
        job = state
    seconds = time.monotonic() - begun
    print(f"{case.name}: {job['state']} after {seconds:.0f} s", flush=True)
    if job["state"] != "succeeded":
        print(failure(job), flush=True)
        return False
    report = _report(client, job, home / "report.json")
    kept = {
        "case": {
            "dataset": case.dataset,
            "images_per_class": case.images_per_class,
            "seed": case.seed,
        },
        "seconds": round(seconds, 1),
        "made_with": report["made_with"],
        "networks": networks_of(report),
        "curves": curves_of(report),
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(kept), encoding="utf-8")
    part.replace(path)
    return True


def _report(client: Client, job: Mapping[str, Any], path: Path) -> dict[str, Any]:
    evaluate = next(child for child in job["children"] if child["role"] == "evaluate")
    artifacts = client.artifacts(evaluate["id"])
    client.fetch(next(one for one in artifacts if one["name"] == "report.json"), path)
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
