"""What a run reads: a job's references, resolved to the files and facts its trainer is given.

References in params are ids of results, or of the jobs that make them. By the time a run starts
they exist: submission has checked them, and the job was blocked until their makers had ended.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

from sqlalchemy import Connection

from app.shared.errors import ConflictError, DamagedFileError, NotFoundError
from app.shared.inputs.datasets import Dataset, find_dataset, upload_sha256
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
from app.shared.store.job_queries import find_job
from app.shared.store.job_records import Job
from app.shared.store.kinds import import_computation
from app.shared.store.tables import DATASET_CONTENTS
from app.shared.store.verification import OF_THIS_PROCESS, OnRead
from ddcal_core.specs.exports import FILES_READ
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


@dataclass(frozen=True, kw_only=True)
class RunInputs:
    """What a run reads.

    Attributes:
        given: the `inputs` of its job line.
        files: the results' files whose paths stand in it.
        uploads: the sha256 of each upload whose path stands in it.
    """

    given: dict[str, Any]
    files: tuple[Artifact, ...]
    uploads: Mapping[Path, str]

    def verify(self, store: ArtifactStore, on_read: OnRead) -> None:
        """Verify every file that a trainer is about to read; not within a transaction.

        Raises:
            DamagedFileError: one is gone or has other bytes than were stored.
            OSError: this process cannot read it.
        """
        for file in self.files:
            store.verified(file, on_read=on_read)
        for path, sha256 in self.uploads.items():
            damage = OF_THIS_PROCESS.damage(path, sha256, on_read=on_read)
            if damage is not None:
                raise DamagedFileError(
                    f"the upload is damaged: {damage}; delete it and send it again"
                )


def inputs_of(
    connection: Connection, job: Job, settings: Settings, store: ArtifactStore
) -> RunInputs:
    """What a run reads, by the kind of the job.

    Raises:
        NotFoundError: a result or data set the job names has been deleted meanwhile.
        ConflictError: a data set is not ready, or a job it names has made nothing.
    """
    reader = _Reader(connection, job.owner_id, settings, store)
    given = _given(reader, job)
    return RunInputs(given=given, files=tuple(reader.files), uploads=reader.uploads)


def _given(reader: "_Reader", job: Job) -> dict[str, Any]:
    match job.kind:
        case "intake":
            return reader.intake(job)
        case "export":
            return reader.export(job)
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
        case "compare":
            return reader.compare(job)
        case "pipeline" | "study":
            raise ValueError(f"wanted a kind that is run, got {job.kind}")
        case _:
            assert_never(job.kind)


class _Reader:
    """Reads rows of one owner and turns them into inputs; keeps the files that it hands out."""

    def __init__(
        self, connection: Connection, owner_id: str, settings: Settings, store: ArtifactStore
    ) -> None:
        self._connection = connection
        self._owner_id = owner_id
        self._settings = settings
        self._store = store
        self.files: list[Artifact] = []
        self.uploads: dict[Path, str] = {}

    def intake(self, job: Job) -> dict[str, Any]:
        path = self._settings.upload_folder / job.params["upload"]
        inputs = {
            "upload_path": str(path),
            "max_decoded_bytes": self._settings.max_decoded_bytes,
            "content": job.upload_content,
            "options": job.params.get("options", {}),
        }
        if job.upload_content in DATASET_CONTENTS:
            self.uploads[path] = upload_sha256(self._connection, job)
            return inputs
        self.uploads[path] = sha256 = job.params["sha256"]
        inputs |= {"sha256": sha256, "name": job.name}
        if job.upload_content == "network":
            return inputs | self._data_for_network(job.params["options"])
        if import_computation("distilled_sets", inputs["options"]) is not None:
            return {
                **inputs,
                "dataset": self._dataset(inputs["options"]["dataset"], has_test=False),
            }
        return {**inputs, "facts": self._facts_for_sets(job)}

    def _data_for_network(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The images that an uploaded network is tried on, and the set that it was trained on."""
        reference = options.get("distilled_set")
        found = None if reference is None else self._only_one("distilled_set", reference)
        return {
            "dataset": self._dataset(options["dataset"], has_test=False),
            "distilled_set": None if found is None else self._set_input(found),
        }

    def _facts_for_sets(self, job: Job) -> dict[str, Any]:
        """Of the data set that uploaded sets were made from; its images need not be here."""
        name = job.params["options"]["dataset"]
        dataset = find_dataset(self._connection, self._owner_id, name, self._settings)
        if dataset.facts is None:
            raise ConflictError("dataset_not_ready", f"data set {name!r} is {dataset.state}")
        return dataset.facts.model_dump(mode="json")

    def export(self, job: Job) -> dict[str, Any]:
        resource: Resource = job.params["resource"]
        result = self._only_one(resource, job.params["result"])
        found = {name: self._path_if_any(result.id, name) for name in FILES_READ[resource]}
        return {
            "details": result.details,
            "files": {name: {"path": path} for name, path in found.items() if path is not None},
            "reports": [
                {"id": report_id, "path": self._path(report_id, "report.json")}
                for report_id in job.params["reports"]
            ],
        }

    def experts(self, job: Job) -> dict[str, Any]:
        return {"dataset": self._dataset(job.params["dataset"], has_test=False)}

    def distill(self, job: Job) -> dict[str, Any]:
        init = job.params.get("distill", {}).get("init")
        return {
            "dataset": self._dataset(job.params["dataset"], has_test=False),
            "experts": self._experts_input(job.params.get("experts")),
            "start": self._set_named(init["set"] if isinstance(init, dict) else None),
        }

    def train(self, job: Job) -> dict[str, Any]:
        found = self._set_named(job.params["training_set"].get("distilled_set"))
        dataset = None
        if found is None:
            dataset = self._dataset(job.params["dataset"], has_test=False)
        return {"dataset": dataset, "distilled_set": found}

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
                "scaling_path": self._path_if_any(result.id, "scaling.json"),
            }
            for result in calibrations
        ]
        dataset = self._dataset(models[0].columns["dataset"], has_test=True)
        return {"dataset": dataset, **self._models(models), "calibrations": rows}

    def compare(self, job: Job) -> dict[str, Any]:
        references = [str(one["report"]) for one in job.params["reports"]]
        found = {reference: self._report(reference) for reference in dict.fromkeys(references)}
        if not any("path" in one for one in found.values()):
            raise ConflictError("input_missing", "none of what was to be compared has a report")
        return {"reports": [found[reference] for reference in references]}

    def _report(self, reference: str) -> dict[str, Any]:
        """A report's file; of a job that has made none, how it ended."""
        results = resolve(self._connection, self._owner_id, "report", [reference])
        if results:
            path = self._path(results[0].id, "report.json")
            return {"report_id": results[0].id, "job_id": results[0].job_id, "path": path}
        job = find_job(self._connection, self._owner_id, reference)
        message = None if job.error is None else job.error.get("message")
        return {"job_id": job.id, "state": job.state, "message": message}

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
                    "path": self._model_path(result.id),
                    "config": result.details,
                    "input_space_path": self._path_if_any(result.id, "input_space.safetensors"),
                }
                for result in models
            ],
            "distilled_sets": {set_id: self._set_input(found) for set_id, found in sets.items()},
        }

    def _experts_input(self, reference: str | None) -> dict[str, Any] | None:
        if reference is None:
            return None
        experts = self._only_one("expert_set", reference)
        path = self._path(experts.id, "experts.safetensors")
        return {"id": experts.id, "path": path, "record": experts.details}

    def _set_named(self, reference: str | None) -> dict[str, Any] | None:
        if reference is None:
            return None
        return self._set_input(self._only_one("distilled_set", reference))

    def _set_input(self, result: Result) -> dict[str, Any]:
        path = self._path(result.id, "distilled_set.safetensors")
        return {"id": result.id, "path": path, "manifest": result.details}

    def _dataset(self, name: str, *, has_test: bool) -> dict[str, Any]:
        """Only an evaluation is told where the test images are."""
        dataset = find_dataset(self._connection, self._owner_id, name, self._settings)
        if dataset.state != "ready" or dataset.facts is None:
            raise ConflictError("dataset_not_ready", f"data set {name!r} is {dataset.state}")
        return {
            "name": name,
            "source": dataset.source,
            "facts": dataset.facts.model_dump(mode="json"),
            "named_folder": str(self._settings.named_folder),
            "allow_downloads": self._settings.allow_downloads,
            "train_path": self._part(dataset, "train"),
            "test_path": self._part(dataset, "test") if has_test else None,
        }

    def _part(self, dataset: Dataset, part: str) -> str | None:
        if dataset.id is None:  # a named one, whose files its reader knows
            return None
        return self._path_if_any(dataset.id, f"{part}.safetensors")

    def _logits(self, name: str) -> dict[str, Any]:
        logits = find_logits(self._connection, self._owner_id, name)
        if logits.state != "ready" or logits.facts is None:
            raise ConflictError("logits_not_ready", f"logits {name!r} are {logits.state}")
        return {
            "name": name,
            "sha256": logits.sha256,
            "facts": logits.facts.model_dump(mode="json"),
            "fit_rows_path": self._path(logits.id, "fit.safetensors"),
            "test_rows_path": self._path_if_any(logits.id, "test.safetensors"),
        }

    def _model_path(self, model_id: str) -> str:
        """A network's parameters, or the graph of one made elsewhere."""
        return self._path_if_any(model_id, "model.onnx") or self._path(
            model_id, "model.safetensors"
        )

    def _path(self, resource_id: str, name: str) -> str:
        path = self._path_if_any(resource_id, name)
        if path is None:
            raise NotFoundError("input_missing", f"{resource_id} has no {name}")
        return path

    def _path_if_any(self, resource_id: str, name: str) -> str | None:
        """Where a file lies that a trainer is given, and that is verified before."""
        rows = artifacts_of_resources(self._connection, self._owner_id, [resource_id])
        file = next((row for row in rows if row.name == name), None)
        if file is None:
            return None
        self.files.append(file)
        return str(self._store.path(file.job_id, file.sha256))
