"""`ddcal demo`: one pipeline on scikit-learn's digits, through the real service, to a report."""

import contextlib
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

import httpx

from app.embedded.children import spawn, stop
from app.embedded.local_service import kept_key, running_address
from ddcal.cli.console import duration, failure, table, watch
from ddcal.client import Client, connect

PIPELINE: Mapping[str, Any] = {
    "kind": "pipeline",
    "params": {
        "dataset": "digits",
        "seed": 0,
        "distill": {"method": "dm", "images_per_class": 10, "mask": {"ratio": 0.3}},
        "train": {"network": "convnet", "width": 32, "depth": 2, "n_seeds": 3, "epochs": 300},
        "baselines": [{"source": "random"}, {"source": "full", "epochs": 30}],
        "calibrate": [
            {"method": "none"},
            {"method": "ts", "fit_on": "validation"},
            {"method": "ts", "fit_on": "training_set"},
            {"method": "mts", "fit_on": "training_set", "mask": {"ratio": 0.7}},
            {"method": "mts", "fit_on": "training_set", "mask": {"ratio": "auto"}},
        ],
        "evaluate": {"n_bins": 15},
    },
}
NOTES = """
± deviation over the networks; {n_test} test images; ECE over {n_bins} bins.
gap: confidence − accuracy, above 0 over-confident.
chance: the ECE that a perfectly calibrated network would show on so many images.
separable: every image fitted on is classified right, so no temperature is best; the row is the
limit T → 0, where ECE = 1 − accuracy."""
_START_SECONDS = 90
_STOP_SECONDS = 40


class DemoError(Exception):
    """The demo's service did not start, or its job did not succeed."""


def demo(out: Path, *, pipeline: Mapping[str, Any] = PIPELINE) -> int:
    """Start a service, run the pipeline, show its table, fetch its files, stop the service.

    Args:
        out: folder that gets the results.
        pipeline: what is submitted.

    Returns:
        0; anything else is an error.

    Raises:
        DemoError: with the job's error; the service's folder with all logs is kept then.
    """
    begun = time.monotonic()
    data_folder = Path(tempfile.mkdtemp(prefix="ddcal-demo-"))
    with own_service(data_folder) as client:
        _say(f"service up at {client.http.base_url} after {duration(time.monotonic() - begun)}")
        job_id = str(client.submit(pipeline)["id"])
        _say(f"submitted {job_id}: distil, train, calibrate and evaluate on digits")
        job = watch(client, job_id)
        if job["state"] != "succeeded":
            raise DemoError(f"{job_id} {job['state']}: {failure(job)}; logs: {data_folder}/logs")
        written = client.download(job_id, out)
    shutil.rmtree(data_folder, ignore_errors=True)
    report = json.loads(_only(written, "report.json").read_text("utf-8"))
    print(f"\n{report['headline']}\n")
    print(results_table(report))
    print(NOTES.format(n_test=report["n_test"], n_bins=report["n_bins"]))
    print(f"\n{len(written)} files in {out.resolve()}")
    print(f"report: {_only(written, 'report.html').resolve()}")
    _say(f"done in {duration(time.monotonic() - begun)}")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _only(paths: list[Path], name: str) -> Path:
    return next(path for path in paths if path.name == name)


@contextlib.contextmanager
def own_service(data_folder: Path) -> Iterator[Client]:
    """`ddcal serve` on a free port as long as the context; gives its client.

    Raises:
        DemoError: it does not start, or ends before the context does.
    """
    # The caller's own service, database or key have no part in this.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DDCAL_")}
    # On images of 8 × 8 pixels more threads wait for each other longer than they compute.
    environment["DDCAL_TRAINER_THREADS"] = "1"
    log_path = data_folder / "logs" / "serve.log"
    process = spawn(
        [
            sys.executable,
            "-m",
            "ddcal.cli.commands",
            "serve",
            "--data-folder",
            data_folder,
            "--port",
            "0",
        ],
        log_path=log_path,
        environment=environment,
    )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while (address := running_address(data_folder)) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"the service did not start:\n{log_path.read_text()}")
            time.sleep(0.05)
        with connect(address, api_key=kept_key(data_folder)) as client:
            yield client
    except httpx.TransportError as error:
        raise DemoError(f"the service has ended:\n{log_path.read_text()}") from error
    finally:
        stop(process, grace_seconds=_STOP_SECONDS)


def results_table(report: Mapping[str, Any]) -> str:
    """A report's rows under their training sets: mean ± deviation over networks."""
    header = ["  calibration", "temperature", "accuracy", "ECE", "gap", "chance: mean, 95 %"]
    rows: list[list[str]] = []
    for label, group in itertools.groupby(report["rows"], itemgetter("training_set_label")):
        rows += [[label], *([f"  {row['calibration']}", *_cells(row)] for row in group)]
    return table(header, rows)


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        _temperature(row),
        _percent(row["accuracy"]),
        _percent(row["ece"]),
        f"{100 * row['signed_gap']['mean']:+.2f} %",
        f"{_plain(row['null_mean'])}, {_plain(row['null_p95'])}",
    ]


def _temperature(row: Mapping[str, Any]) -> str:
    """The temperature where every network has one, else why not."""
    found, n_networks = row["temperature"], row["n_networks"]
    if row["method"] == "none":
        return "1 (as trained)"
    if found["n"] == n_networks:
        return _number(found["mean"], found["std"], ".3g")
    if found["n"] == 0:
        return str(row["status"])
    others = ", ".join(f"{n} {status}" for status, n in row["statuses"].items() if status != "ok")
    return f"{_number(found['mean'], found['std'], '.3g')} ({others})"


def _percent(value: Mapping[str, float | None]) -> str:
    mean, std = value["mean"], value["std"]
    assert mean is not None  # accuracy and ECE are always finite
    return f"{_number(100 * mean, None if std is None else 100 * std, '.2f')} %"


def _plain(value: Mapping[str, float | None]) -> str:
    return _percent({**value, "std": None})


def _number(mean: float, std: float | None, form: str) -> str:
    return f"{mean:{form}}" + ("" if std is None else f" ± {std:{form}}")
