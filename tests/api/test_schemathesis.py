"""Schemathesis on the running API: what its OpenAPI document says, against what it does.

All checks, on every operation, with what follows from one answer in the next request (stateful).
CI takes few examples, and leaves out the thousands of wrong submissions that one rule each of the
schema makes (test_fuzzing and test_bad_requests send some). For all of it, and for long:

    python -m tests.api.test_schemathesis --examples 500 [--database postgresql] [--seed 2]
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from app.shared.settings import Settings
from app.shared.store.database import migrate
from ddcal_core.formats.reports import read_report
from tests.api.npz import npz, upload_logits
from tests.api.serving import Api, running_api
from tests.core.formats.stored import (
    calibration_values,
    expert_set_record,
    model_config,
    set_manifest,
    stored,
)
from tests.servers import fresh_postgres_database, running_postgres

PROGRAM = Path(sys.executable).parent / "st"
EXAMPLES_IN_CI = 2

# Where the service knows more than a schema says: names that have to exist, files that have to be
# whole, tokens that have to be its own. All else that fits the schema has to be taken.
CONFIG = f"""
hooks = "{Path(__file__).with_name("schemathesis_hooks.py")}"
request-timeout = 300.0  # bounds a hang; how fast an answer is depends on the machine
continue-on-failure = true

[checks]
max_response_time = 300.0  # likewise

[generation]
allow-x00 = true

[[operations]]
include-name = [
  "POST /v1/jobs", "POST /v1/datasets", "POST /v1/logits", "POST /v1/distilled-sets",
  "POST /v1/models", "POST /v1/plans", "POST /v1/comparisons",
]
checks.positive_data_acceptance.expected-statuses = ["2xx", "409", "422"]

# What is on one line, or a format that a result has.
[[operations]]
include-name-regex = "^(PATCH /v1/.+|GET /v1/[a-z-]+/.result_id./content)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422"]

[[operations]]
include-name-regex = "^GET /v1/[a-z-]+$"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400"]
"""
IN_CI = """
[[operations]]
include-name = ["POST /v1/jobs", "POST /v1/plans", "POST /v1/comparisons"]
phases.coverage.enabled = false
checks.positive_data_acceptance.expected-statuses = ["2xx", "409", "422"]
"""


def furnish(api: Api) -> dict[str, str]:
    """One of everything; gives an id, or a name, by the address that wants it."""
    files = {"a.json": b"{}", "b.png": b"png", "c.html": b"<p>"}
    job_id, (expert_set, set_id, model_id) = api.make(
        "distill",
        {"dataset": "digits"},
        ("expert_set", expert_set_record().as_json(), {}),
        ("distilled_set", set_manifest(dataset="digits").as_json(), files),
        ("model", model_config(dataset="digits").as_json(), {}),
    )
    calibration = calibration_values(model_id=model_id).as_json()
    params = {"models": [model_id], "calibrate": [{"method": "none"}]}
    _, (calibration_id,) = api.make("calibrate", params, ("calibration", calibration, {}))
    report = read_report(stored("report")).headline_values()
    report |= {"dataset": "digits", "calibration_ids": [calibration_id]}
    _, (report_id,) = api.make(
        "evaluate", {"calibrations": [calibration_id]}, ("report", report, {})
    )
    headers = {"Content-Type": "application/octet-stream"}
    api.client.post("/v1/datasets", params={"name": "mine"}, content=npz(), headers=headers)
    api.check_upload()
    upload_logits(api, "theirs")
    made = api.client.get(f"/v1/jobs/{job_id}/artifacts").json()["items"]
    return {
        "/v1/jobs/{job_id}": job_id,
        "/v1/expert-sets/{result_id}": expert_set,
        "/v1/distilled-sets/{result_id}": set_id,
        "/v1/models/{result_id}": model_id,
        "/v1/calibrations/{result_id}": calibration_id,
        "/v1/reports/{result_id}": report_id,
        "/v1/artifacts/{artifact_id}": made[0]["id"],
        "/v1/artifacts/{artifact_id}/content": made[0]["id"],
        "/v1/logits/{name}": "theirs",
    }


def known(ids: dict[str, str]) -> str:
    """Config by which every second request asks for what is there."""
    parts = []
    for number, (path, value) in enumerate(ids.items()):
        parameter = path.partition("{")[2].partition("}")[0]
        parts.append(f'[dictionaries.known_{number}]\nvalues = ["{value}"]')
        binding = f'{{dictionary = "known_{number}", probability = 0.5}}'
        parts.append(f'[[operations]]\ninclude-path = "{path}"\nparameters.{parameter} = {binding}')
    return "\n".join(parts)


def arguments(api: Api, more: str, *, examples: int, seed: int) -> list[str | Path]:
    """The command line for a service."""
    config = api.settings.folder / "schemathesis.toml"
    config.write_text("\n".join([CONFIG, more, known(furnish(api))]))
    return [
        *(PROGRAM, "--config-file", config, "run", f"{api.client.base_url}/openapi.json"),
        *("--checks", "all", "--no-color", "--generation-database", "none"),
        *("--max-examples", str(examples), "--seed", str(seed)),
    ]


@pytest.mark.long
def test_the_api_keeps_to_its_document(api):
    """No failure of any check, and no server error, on either database."""
    ran = subprocess.run(
        arguments(api, IN_CI, examples=EXAMPLES_IN_CI, seed=1),
        cwd=api.settings.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2_000:]


def main() -> int:
    """Run it as long as one likes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="of each operation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--quick", action="store_true", help="as in CI")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.database == "sqlite":
            return look(f"sqlite:///{folder}/ddcal.sqlite", Path(folder), asked)
        with running_postgres() as server, fresh_postgres_database(server, "look") as url:
            return look(url, Path(folder), asked)


def look(url: str, folder: Path, asked: argparse.Namespace) -> int:
    """One run on a database, printed as it goes."""
    settings = Settings(data_folder=folder, database_url=url)
    migrate(settings)
    with running_api(settings) as api:
        more = IN_CI if asked.quick else ""
        command = arguments(api, more, examples=asked.examples, seed=asked.seed)
        return subprocess.run(command, cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
