"""`ddcal demo`: one pipeline on scikit-learn's digits, through the real service, to a report."""

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ddcal.cli.output import print_report, say
from ddcal.cli.own_service import own_service
from ddcal.cli.watching import watched
from ddcal.errors import DdcalError
from ddcal.progress import duration

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


class DemoError(DdcalError):
    """The demo's job did not succeed."""


def demo(out: Path, *, pipeline: Mapping[str, Any] = PIPELINE) -> int:
    """Start a service, run the pipeline, show its table, fetch its files, stop the service.

    Args:
        out: folder that gets the results.
        pipeline: what is submitted.

    Returns:
        0; anything else is an error.

    Raises:
        DemoError: the job did not succeed; the service's folder with all logs is kept then.
        OwnServiceError: the service does not start, or ends.
    """
    begun = time.monotonic()
    data_folder = Path(tempfile.mkdtemp(prefix="ddcal-demo-"))
    with own_service(data_folder) as client:
        say(f"service up at {client.url} after {duration(time.monotonic() - begun)}")
        job = client.submit(pipeline)
        say(f"submitted {job.id}: distil, train, calibrate and evaluate on digits")
        if not watched(job):
            raise DemoError(f"the demo's job has {job.state}; logs: {data_folder}/logs")
        report = job.report
        written = job.download(out)
    shutil.rmtree(data_folder, ignore_errors=True)
    print_report(report)
    print(f"\n{len(written)} files in {out.resolve()}")
    page = next(path for path in written if path.name == "report.html")
    print(f"report: {page.resolve()}")
    say(f"done in {duration(time.monotonic() - begun)}")
    return 0
