"""Studies made through the service: a pipeline a case, a JSON file of numbers a case.

What is there already is left alone, so that a study that was cut short goes on.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.mask_ratio_cases import read_pixels
from ddcal.cli.own_service import own_service
from ddcal.client import Client
from ddcal.errors import JobFailedError, ServiceError
from ddcal_core.seeding import seeded_generator

Job = dict[str, Any]
Report = dict[str, Any]


@dataclass(frozen=True)
class ServiceCase:
    """One pipeline of a study.

    Attributes:
        name: the stem of its file.
        submission: what the service is sent.
        keep: what to keep of its report and of the pipeline as it ended, its children as whole.
    """

    name: str
    submission: Mapping[str, Any]
    keep: Callable[[Report, Job], Mapping[str, Any]]


def asked_of_study(
    words: str | None, arguments: Sequence[str], case_of: Callable[[str], Any], cases: Sequence[Any]
) -> argparse.Namespace:
    """Read the command line of a study: `run` with data, out and only, or `table` with out.

    Args:
        words: what the study says of itself.
        arguments: the command line.
        case_of: reads a case's name; raises ValueError.
        cases: all of the study, which `run` runs unless told which.
    """
    parser = argparse.ArgumentParser(
        description=words, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("--data", type=Path, required=True)
    running.add_argument("--out", type=Path, required=True)
    running.add_argument("--only", type=case_of, nargs="+", default=cases, metavar="CASE")
    showing = commands.add_parser("table")
    showing.add_argument("--out", type=Path)
    return parser.parse_args(arguments)


def run_cases(
    cases: Sequence[ServiceCase], out: Path, prepare: Callable[[Client, Path], None]
) -> int:
    """Run the cases that are not there, on a service of their own; 1 when one failed.

    Args:
        cases: in the order to run them.
        out: folder of the files.
        prepare: uploads what the cases need; is given a folder for what it writes meanwhile.
    """
    out.mkdir(parents=True, exist_ok=True)
    missing = [case for case in cases if not _path(case, out).exists()]
    print(f"{len(cases) - len(missing)} of {len(cases)} cases are there", flush=True)
    if not missing:
        return 0
    home = Path(tempfile.mkdtemp(prefix="ddcal-study-"))
    with own_service(home / "service") as client:
        prepare(client, home)
        n_failed = sum(not _run_case(client, case, home, out) for case in missing)
    if n_failed:
        print(f"{n_failed} failed; the service's folder is kept: {home}")
        return 1
    shutil.rmtree(home, ignore_errors=True)
    return 0


def _path(case: ServiceCase, out: Path) -> Path:
    return out / f"{case.name}.json"


def _run_case(client: Client, case: ServiceCase, home: Path, out: Path) -> bool:
    """Send a case's pipeline, wait for it, keep its numbers; False if it failed."""
    begun = time.monotonic()
    try:
        submitted = client.submit(case.submission)
    except ServiceError as error:
        print(f"{case.name}: refused: {error}", flush=True)
        return False
    try:
        submitted.wait()
    except JobFailedError as error:
        print(f"{case.name}: {error}", flush=True)
        return False
    seconds = round(time.monotonic() - begun, 1)
    print(f"{case.name}: succeeded after {seconds:.0f} s", flush=True)
    job = client.get(f"/v1/jobs/{submitted.id}")
    report = _report(client, job, home / f"{case.name}-report.json")
    job["children"] = [client.get(child["url"]) for child in job["children"]]
    kept = {"seconds": seconds, "made_with": report["made_with"], **case.keep(report, job)}
    path = _path(case, out)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(kept), encoding="utf-8")
    part.replace(path)
    return True


def _report(client: Client, job: Job, path: Path) -> Report:
    evaluate = next(child for child in job["children"] if child["role"] == "evaluate")
    artifacts = client.job(evaluate["id"]).artifacts
    client.fetch(next(one.id for one in artifacts if one.name == "report.json"), path)
    report: Report = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return report


def write_upload(dataset: str, folder: Path, path: Path, *, n_train: int, n_test: int) -> None:
    """Write the images that are uploaded: a random part of the data set's own splits.

    Args:
        dataset: a name that `mask_ratio_cases.read_pixels` knows.
        folder: holds DATASET.npz, or cifar10_jpeg.zip.
        path: of the .npz to write; what has to be decoded is kept beside it.
        n_train: at most so many training images.
        n_test: likewise test images.
    """
    splits = read_pixels(dataset, folder, path.parent)
    arrays: dict[str, np.ndarray] = {}
    for name, n_most, (images, labels) in zip(
        ("train", "test"), (n_train, n_test), splits, strict=True
    ):
        chosen = torch.randperm(len(images), generator=seeded_generator(0, "study", name))[:n_most]
        pixels = images[chosen].permute(0, 2, 3, 1).numpy()
        arrays[f"x_{name}"] = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
        arrays[f"y_{name}"] = labels[chosen].numpy()
    np.savez(path, **arrays)
