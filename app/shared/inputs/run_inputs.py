"""What a run reads: a job's references, resolved to the files and facts its trainer is given.

References in params are ids of results, or of the jobs that make them. By the time a run starts
they exist: submission has checked them, and the job was blocked until their makers had ended.
"""

from collections.abc import Iterable, Sequence
from typing import Any, assert_never

from sqlalchemy import Connection

from app.shared.errors import ConflictError
from app.shared.inputs.datasets import IMAGES, find_dataset
from app.shared.inputs.logits import find_logits
from app.shared.settings import Settings
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.catalog import (
    Artifact,
    Result,
    artifacts_of_resources,
    find_result,
    results_of_jobs,
)
from app.shared.store.job_records import Job
from ddcal_core.specs.results import Resource


def resolve(
    connection: Connection, owner_id: str, resource: Resource, references: Iterable[str]
) -> list[Result]:
    """The results that references name, in their order; a job stands for all it has made.

    Raises:
        NotFoundError: a result is gone.
    """
    found: dict[str, Result] = {}
    for reference in references:
        if reference.startswith("job_"):
            results = results_of_jobs(connection, owner_id, resource, [reference])
        else:
            results = [find_result(connection, owner_id, resource, reference)]
        found |= {result.id: result for result in results}
    return list(found.values())


def inputs_of(
    connection: Connection, job: Job, settings: Settings, store: ArtifactStore
) -> dict[str, Any]:
    """The `inputs` of a run's job line, by the kind of the job.

    Raises:
        NotFoundError: a result or data set the job names has been deleted meanwhile.
        ConflictError: a data set is not ready, or a job it names has made nothing.
    """
    reader = _Reader(connection, job.owner_id, settings, store)
    match job.kind:
        case "intake":
            return reader.intake(job)
        case "experts":
            return reader.experts(job)
        case "distill":
            return reader.distill(job)
        case "train":
            return reader.train(job)
        case "calibrate":
            return reader.calibrate(job)
        case "evaluate":
            return reader.evaluate(job)
        case "pipeline":
            raise ValueError(f"wanted a kind that is run, got {job.kind}")
        case _:
            assert_never(job.kind)


class _Reader:
    """Reads rows of one owner and turns them into inputs."""

    def __init__(
        self, connection: Connection, owner_id: str, settings: Settings, store: ArtifactStore
    ) -> None:
        self._connection = connection
        self._owner_id = owner_id
        self._settings = settings
        self._store = store

    def intake(self, job: Job) -> dict[str, Any]:
        return {
            "upload_path": str(self._settings.upload_folder / job.params["upload"]),
            "max_decoded_bytes": self._settings.max_decoded_bytes,
            "content": job.params.get("content", IMAGES),
            "options": job.params.get("options", {}),
        }

    def experts(self, job: Job) -> dict[str, Any]:
        return {"dataset": self._dataset(job.params["dataset"], has_test=False)}

    def distill(self, job: Job) -> dict[str, Any]:
        dataset = self._dataset(job.params["dataset"], has_test=False)
        reference = job.params.get("experts")
        if reference is None:
            return {"dataset": dataset, "experts": None}
        experts = self._only_one("expert_set", reference)
        path = self._file(experts, "experts.safetensors")
        return {
            "dataset": dataset,
            "experts": {"id": experts.id, "path": path, "record": experts.details},
        }

    def train(self, job: Job) -> dict[str, Any]:
        reference = job.params["training_set"].get("distilled_set")
        if reference is None:
            dataset = self._dataset(job.params["dataset"], has_test=False)
            return {"dataset": dataset, "distilled_set": None}
        distilled_set = self._only_one("distilled_set", reference)
        return {"dataset": None, "distilled_set": self._set_input(distilled_set)}

    def calibrate(self, job: Job) -> dict[str, Any]:
        if "logits" in job.params:
            return {"logits": self._logits(job.params["logits"])}
        models = self._some("model", job.params["models"])
        dataset = self._dataset(models[0].columns["dataset"], has_test=False)
        return {"dataset": dataset, **self._models(models)}

    def evaluate(self, job: Job) -> dict[str, Any]:
        calibrations = self._some("calibration", job.params["calibrations"])
        model_ids = dict.fromkeys(result.columns["model_id"] for result in calibrations)
        models = self._some("model", model_ids)
        rows = [
            {
                "id": result.id,
                "model_id": result.columns["model_id"],
                "values": result.details,
                "scaling_path": self._files(result.id).get("scaling.json"),
            }
            for result in calibrations
        ]
        dataset = self._dataset(models[0].columns["dataset"], has_test=True)
        return {"dataset": dataset, **self._models(models), "calibrations": rows}

    def _some(self, resource: Resource, references: Iterable[str]) -> list[Result]:
        results = resolve(self._connection, self._owner_id, resource, references)
        if not results:
            raise ConflictError("input_missing", f"no {resource.replace('_', ' ')} to work on")
        return results

    def _only_one(self, resource: Resource, reference: str) -> Result:
        return self._some(resource, [reference])[0]

    def _models(self, models: Sequence[Result]) -> dict[str, Any]:
        set_ids = {result.columns["distilled_set_id"] for result in models} - {None}
        sets = {set_id: self._only_one("distilled_set", set_id) for set_id in sorted(set_ids)}
        return {
            "models": [
                {
                    "id": result.id,
                    "path": self._file(result, "model.safetensors"),
                    "config": result.details,
                    "input_space_path": self._files(result.id).get("input_space.safetensors"),
                }
                for result in models
            ],
            "distilled_sets": {set_id: self._set_input(found) for set_id, found in sets.items()},
        }

    def _set_input(self, result: Result) -> dict[str, Any]:
        path = self._file(result, "distilled_set.safetensors")
        return {"id": result.id, "path": path, "manifest": result.details}

    def _dataset(self, name: str, *, has_test: bool) -> dict[str, Any]:
        """Only an evaluation is told where the test images are."""
        dataset = find_dataset(self._connection, self._owner_id, name, self._settings)
        if dataset.state != "ready" or dataset.facts is None:
            raise ConflictError("dataset_not_ready", f"data set {name!r} is {dataset.state}")
        files = {} if dataset.id is None else self._files(dataset.id)
        return {
            "name": name,
            "source": dataset.source,
            "facts": dataset.facts.model_dump(mode="json"),
            "named_folder": str(self._settings.named_folder),
            "allow_downloads": self._settings.allow_downloads,
            "train_path": files.get("train.safetensors"),
            "test_path": files.get("test.safetensors") if has_test else None,
        }

    def _logits(self, name: str) -> dict[str, Any]:
        logits = find_logits(self._connection, self._owner_id, name)
        if logits.state != "ready" or logits.facts is None:
            raise ConflictError("logits_not_ready", f"logits {name!r} are {logits.state}")
        files = self._files(logits.id)
        return {
            "name": name,
            "sha256": logits.sha256,
            "facts": logits.facts.model_dump(mode="json"),
            "fit_rows_path": files["fit.safetensors"],
            "test_rows_path": files.get("test.safetensors"),
        }

    def _file(self, result: Result, name: str) -> str:
        return self._files(result.id)[name]

    def _files(self, resource_id: str) -> dict[str, str]:
        rows = artifacts_of_resources(self._connection, self._owner_id, [resource_id])
        return {row.name: self._path(row) for row in rows}

    def _path(self, row: Artifact) -> str:
        return str(self._store.path(row.job_id, row.sha256))
