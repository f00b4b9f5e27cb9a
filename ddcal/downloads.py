"""Everything that a job has made, in folders by role, calibration and seed."""

from pathlib import Path
from typing import Any

import httpx

from ddcal.conversations import Manners, all_items, fetched, fetched_if_there
from ddcal.errors import NotFoundError
from ddcal.jobs import artifacts, job_as_it_stands, require_success_of, result_to_read
from ddcal.records import IMPORTS, MAKERS, RESOURCES, Child, JobRecord, ResultRecord
from ddcal.steps import Ask, Pause, Steps

REPORT_PAGE = "report.html"
COMPARISON_PAGE = "comparison.html"
_WAIT_SECONDS = 30
_PAUSE_SECONDS = 1.0


def downloaded(job_id: str, folder: Path, manners: Manners) -> Steps[list[Path]]:
    """Fetch all that an ended job has made; of a pipeline, a folder for each child.

    Returns:
        The files written, such as distill/manifest.json, train-full/seed-0/config.json,
        calibrate-full/ts-validation/seed-0/calibrated_model.pt2.

    Raises:
        JobNotDoneError: it has not ended yet.
        JobFailedError: it ended without success, and has made nothing.
    """
    whole = yield from job_as_it_stands(job_id, manners)
    if not whole.is_done:
        yield from require_success_of(whole, manners)
    written: list[Path] = []
    for job in whole.children or (whole,):
        into = folder / (job.role or "")
        results = yield from results_of(job, manners)
        folders = _folders(results)
        for artifact in (yield from artifacts(job.id, manners)):
            name = Path(artifact.name).name  # a file's name, whatever it says
            path = into / folders.get(artifact.resource_id or "", Path()) / name
            yield from fetched(artifact.id, path, manners)
            written.append(path)
    if not written:
        yield from require_success_of(whole, manners)
    return written


def files_of(result: ResultRecord, folder: Path, manners: Manners) -> Steps[list[Path]]:
    """Fetch the files that a result was made with into a folder."""
    written = []
    for artifact in result.artifacts:
        # What it has been exported as is the same once more.
        if artifact.job_id not in (None, result.job_id):
            continue
        path = folder / Path(artifact.name).name
        yield from fetched(artifact.id, path, manners)
        written.append(path)
    return written


def exported(result: ResultRecord, word: str, folder: Path, manners: Manners) -> Steps[list[Path]]:
    """Fetch a result in a format into a folder; one that is not there yet is waited for.

    Raises:
        InvalidRequestError: it cannot be had in this format.
        ConflictError: it could not be made.
    """
    known = {one.format: one.file_name for one in result.formats}
    path = folder / Path(known.get(word, f"{result.id}.{word}")).name
    ask = Ask(
        "GET",
        f"/v1/{RESOURCES[result.resource]}/{result.id}/content",
        query={"format": word},
        headers={"Prefer": f"wait={_WAIT_SECONDS}"},
        wait_seconds=_WAIT_SECONDS,
    )
    while True:
        response = yield from fetched_if_there(ask, path, manners)
        if response.status_code != httpx.codes.ACCEPTED:
            return [path]
        yield Pause(_PAUSE_SECONDS)


def report_page(job_id: str, path: Path, manners: Manners) -> Steps[None]:
    """Fetch the page of a job's comparison, if it has made one, else of its report, into a file."""
    made = yield from result_to_read(job_id, manners)
    name = COMPARISON_PAGE if made.resource == "comparison" else REPORT_PAGE
    pages = [artifact for artifact in made.artifacts if artifact.name == name]
    if not pages:
        raise NotFoundError(404, "no_page", f"the {made.resource} of {job_id} has no {name}")
    yield from fetched(pages[0].id, path, manners)


def results_of(job: JobRecord | Child, manners: Manners) -> Steps[list[ResultRecord]]:
    """The results of a job that is no pipeline, first made first."""
    made = MAKERS.get(job.kind)
    if isinstance(job, JobRecord) and job.kind == "intake":
        made = IMPORTS.get(str(job.params.get("content")))
    if made is None:
        return []
    path = f"/v1/{RESOURCES[made]}"
    newest_first = yield from all_items(path, {"job_id": job.id}, manners)
    return [ResultRecord.model_validate(one) for one in reversed(newest_first)]


def _folders(results: list[ResultRecord]) -> dict[str, Path]:
    """Where below its job's folder each result's files go, by id; no two go to the same."""
    folders: dict[str, Path] = {}
    for result in results:
        wanted = Path(*_folder_names(result.resource, result.details))
        folder, n_taken = wanted, 1
        while folder in folders.values():
            n_taken += 1
            folder = wanted.with_name(f"{wanted.name}-{n_taken}")
        folders[result.id] = folder
    return folders


def _folder_names(resource: str, details: dict[str, Any]) -> list[str]:
    imported = details.get("imported")
    if imported and imported.get("n_experiments", 1) > 1:
        return [f"set-{imported['experiment']}"]
    if resource not in ("model", "calibration"):
        return []
    if "logits" in details:  # of no network made here, so of no seed
        return [str(details["method"])]
    names = [f"seed-{details['seed_index']}"]
    if resource == "calibration":
        words = (details["method"], details["fit_on"], details["mask_ratio"])
        names.insert(0, "-".join(str(word).replace("_", "-") for word in words if word is not None))
    return names
