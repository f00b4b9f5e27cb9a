"""Recording and reading results and data sets, always through their owner."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.shared.engine import deletion, jobs
from app.shared.errors import ConflictError, DdcalError, NotFoundError
from app.shared.inputs import datasets
from app.shared.inputs.run_inputs import inputs_of, resolve
from app.shared.settings import Settings
from app.shared.store import catalog
from app.shared.store.artifacts import ArtifactStore
from app.shared.store.database import Connection, Database
from app.shared.store.job_queries import find_job
from app.shared.store.job_records import Job
from app.shared.store.kinds import RESOURCES
from ddcal_core.data.dataset_facts import NAMED_DATASETS
from tests.shared.conftest import OWNER, new_job

Submit = Callable[..., Job]
SET = {"dataset": "digits", "method": "dm", "images_per_class": 2, "mask_ratio": 0.3}


class Chain:
    """A distilled set, a model on it, a calibration of that and a report, with their jobs."""

    def __init__(self, connection: Connection) -> None:
        self.jobs = {
            kind: jobs.insert_job(connection, OWNER, new_job(kind=kind))
            for kind in ("experts", "distill", "train", "calibrate", "evaluate", "compare")
        }
        experts = {"dataset": "digits", "n_experts": 2}
        self.expert_set_id = self._record(connection, "experts", "expert_set", experts)
        distilled = {**SET, "expert_set_id": self.expert_set_id}
        self.set_id = self._record(connection, "distill", "distilled_set", distilled)
        model = {
            "dataset": "digits",
            "training_set": "distilled",
            "distilled_set_id": self.set_id,
            "seed_index": 0,
        }
        self.model_id = self._record(connection, "train", "model", model)
        calibration = {
            "model_id": self.model_id,
            "method": "ts",
            "fit_on": "distilled",
            "status": "separable",
            "temperature": None,
        }
        self.calibration_id = self._record(connection, "calibrate", "calibration", calibration)
        report = {"dataset": "digits", "calibration_ids": [self.calibration_id]}
        self.report_id = self._record(connection, "evaluate", "report", report)
        compared = {"dataset": "digits", "report_ids": [self.report_id]}
        self.comparison_id = self._record(connection, "compare", "comparison", compared)

    def _record(
        self, connection: Connection, kind: str, resource: str, values: dict[str, object]
    ) -> str:
        result_id = catalog.record_result(connection, self.jobs[kind], resource, values)
        for name in ("distilled_set.safetensors", "model.safetensors"):
            catalog.record_artifact(
                connection,
                self.jobs[kind],
                result_id,
                name=name,
                media_type="application/octet-stream",
                sha256="0" * 64,
                n_bytes=1,
            )
        return result_id


@pytest.fixture
def chain(database: Database) -> Chain:
    """One result of each kind."""
    with database.write() as connection:
        return Chain(connection)


def test_a_result_comes_back_as_recorded(database: Database, chain: Chain) -> None:
    """Columns are taken from what the trainer said; all of it stays in details."""
    with database.read() as connection:
        result = catalog.find_result(connection, OWNER, "distilled_set", chain.set_id)

    assert result.details == {**SET, "expert_set_id": chain.expert_set_id}
    assert result.columns["expert_set_id"] == chain.expert_set_id
    assert result.columns["images_per_class"] == 2
    assert result.job_id == chain.jobs["distill"].id
    assert result.id.startswith("set_")


def test_lineage_reaches_from_report_to_data_set(database: Database, chain: Chain) -> None:
    """Each result knows what it was made from."""
    with database.read() as connection:
        found = catalog.lineage(connection, OWNER, "report", chain.report_id)
        of_calibration = catalog.lineage(connection, OWNER, "calibration", chain.calibration_id)

        above = catalog.lineage(connection, OWNER, "comparison", chain.comparison_id)

    assert above == {"reports": [chain.report_id]}
    assert found == {
        "datasets": ["digits"],
        "distilled_sets": [chain.set_id],
        "models": [chain.model_id],
        "calibrations": [chain.calibration_id],
    }
    assert of_calibration["distilled_sets"] == [chain.set_id]
    assert of_calibration["models"] == [chain.model_id]


@pytest.mark.parametrize("resource", sorted(RESOURCES))
def test_another_owners_results_do_not_exist(
    database: Database, chain: Chain, resource: str
) -> None:
    """Every read is filtered by owner."""
    ids = {
        "distilled_set": chain.set_id,
        "model": chain.model_id,
        "calibration": chain.calibration_id,
        "report": chain.report_id,
        "expert_set": chain.expert_set_id,
        "comparison": chain.comparison_id,
    }
    with database.read() as connection:
        (file, *_) = catalog.artifacts_of_resources(connection, OWNER, [ids[resource]])
        with pytest.raises(NotFoundError):
            catalog.find_result(connection, "other", resource, ids[resource])
        with pytest.raises(NotFoundError):
            catalog.lineage(connection, "other", resource, ids[resource])
        with pytest.raises(NotFoundError):
            catalog.find_artifact(connection, "other", file.id)
        assert catalog.list_results(connection, "other", resource, wanted=catalog.Wanted()) == []
        assert catalog.artifacts_of_resources(connection, "other", [ids[resource]]) == []
        job_ids = [job.id for job in chain.jobs.values()]
        assert catalog.results_of_jobs(connection, "other", resource, job_ids) == []


def test_a_job_reference_stands_for_all_it_made(database: Database, chain: Chain) -> None:
    """Ids of results and of their makers resolve alike, each result once."""
    with database.read() as connection:
        by_job = resolve(connection, OWNER, "model", [chain.jobs["train"].id])
        twice = resolve(connection, OWNER, "model", [chain.model_id, chain.jobs["train"].id])

    assert [result.id for result in by_job] == [chain.model_id]
    assert by_job == twice


def test_only_an_evaluation_learns_where_the_test_images_are(
    database: Database, migrated_settings: Settings, chain: Chain, tmp_path: Path
) -> None:
    """Honest splits: no other kind is given a path to the test split."""
    store = ArtifactStore(tmp_path)
    with database.write() as connection:
        intake = jobs.insert_job(connection, OWNER, new_job(kind="intake", queue="intake"))
        new = datasets.NewDataset(name="mine", sha256="0" * 64, n_bytes=1)
        datasets.insert_dataset(connection, OWNER, new, intake)
        facts = NAMED_DATASETS["mnist"].model_dump(mode="json")
        dataset_id = datasets.accept_dataset(connection, intake, facts)
        for name in ("train.safetensors", "test.safetensors"):
            catalog.record_artifact(
                connection,
                intake,
                dataset_id,
                name=name,
                media_type="application/octet-stream",
                sha256=name[:4] * 16,
                n_bytes=1,
            )
        distill = jobs.insert_job(connection, OWNER, new_job(params={"dataset": "mine"}))

    with database.read() as connection:
        inputs = inputs_of(connection, distill, migrated_settings, store).given

    assert inputs["dataset"]["train_path"].endswith("trai" * 16)
    assert inputs["dataset"]["test_path"] is None
    assert inputs["dataset"]["facts"]["image_shape"] == [1, 28, 28]


def test_an_evaluation_gets_its_models_sets_and_calibrations(
    database: Database, migrated_settings: Settings, chain: Chain, tmp_path: Path
) -> None:
    """All that a report needs comes from one reference."""
    with database.write() as connection:
        params = {"calibrations": [chain.jobs["calibrate"].id]}
        job = jobs.insert_job(connection, OWNER, new_job(kind="evaluate", params=params))
        inputs = inputs_of(connection, job, migrated_settings, ArtifactStore(tmp_path)).given

    assert [model["id"] for model in inputs["models"]] == [chain.model_id]
    assert list(inputs["distilled_sets"]) == [chain.set_id]
    assert inputs["calibrations"] == [
        {
            "id": chain.calibration_id,
            "model_id": chain.model_id,
            "values": {
                "model_id": chain.model_id,
                "method": "ts",
                "fit_on": "distilled",
                "status": "separable",
                "temperature": None,
            },
            "scaling_path": None,
        }
    ]


def add_upload(connection: Connection, name: str) -> Job:
    """A data set that is being checked."""
    intake = jobs.insert_job(
        connection, OWNER, new_job(kind="intake", queue="intake", dataset=name)
    )
    new = datasets.NewDataset(name=name, sha256="0" * 64, n_bytes=1)
    datasets.insert_dataset(connection, OWNER, new, intake)
    return intake


@pytest.mark.parametrize("name", ["mine", "digits"])
def test_a_name_is_taken_once(database: Database, name: str) -> None:
    """By an upload or by a named data set."""
    with database.write() as connection:
        add_upload(connection, "mine")

    with pytest.raises(ConflictError, match=name), database.write() as connection:
        add_upload(connection, name)


def test_named_data_sets_say_whether_their_files_are_there(
    database: Database, migrated_settings: Settings
) -> None:
    """Digits needs no file; the others are ready once theirs lie in the folder, or may come."""
    with database.read() as connection:
        found = {
            row.name: row for row in datasets.list_datasets(connection, OWNER, migrated_settings)
        }
    assert found["digits"].state == "ready"
    assert found["mnist"].state == "unavailable"
    assert "downloads are off" in found["mnist"].problem["detail"]

    (migrated_settings.named_folder / "MNIST/raw").mkdir(parents=True)
    (migrated_settings.named_folder / datasets.NEEDED_FILES["mnist"]).touch()
    may_download = migrated_settings.model_copy(update={"allow_downloads": True})
    with database.read() as connection:
        assert datasets.find_dataset(connection, OWNER, "mnist", migrated_settings).state == "ready"
        assert datasets.find_dataset(connection, OWNER, "cifar10", may_download).state == "ready"


def test_a_data_set_in_use_is_not_deleted(database: Database) -> None:
    """Neither while it is checked nor while a job reads it; afterwards it is."""
    with database.write() as connection:
        intake = add_upload(connection, "mine")
        job = jobs.insert_job(connection, OWNER, new_job(dataset="mine"))

    def delete() -> list[str]:
        with database.write() as connection:
            return datasets.delete_dataset(connection, OWNER, "mine")

    with pytest.raises(ConflictError, match="uses"):
        delete()
    for job_id in (job.id, intake.id):
        with database.write() as connection:
            jobs.request_cancel(connection, OWNER, job_id, grace_seconds=1)
    with pytest.raises(ConflictError, match="delete that"), database.write() as connection:
        deletion.delete_job(connection, OWNER, intake.id)
    with pytest.raises(NotFoundError), database.write() as connection:
        datasets.delete_dataset(connection, "other", "mine")

    assert delete() == [intake.id]
    with pytest.raises(DdcalError), database.read() as connection:
        find_job(connection, OWNER, intake.id)
