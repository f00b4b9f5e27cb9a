from pathlib import Path

import pytest

from app.shared.settings import Settings
from app.submission.examples import EXAMPLES
from tests.api.npz import npz_bytes
from tests.api.serving import MODEL, SET, problem, refusals, running_api

NONE = [{"method": "none"}]
NOBODY = "00000000000000000000000000"
DISTILL = {"dataset": "digits", "distill": {"images_per_class": 1}}
RANDOM = {"dataset": "digits", "training_set": {"source": "random", "images_per_class": 1}}
FULL = {"dataset": "digits", "training_set": {"source": "full"}}
PIPELINE = {"dataset": "digits", "calibrate": NONE}


def refused(api, kind, params, **more):
    """(pointer, code) pairs of a submission that has to be refused, and leaves nothing."""
    before = api.n_jobs()
    answer = api.client.post("/v1/jobs", json={"kind": kind, "params": params, **more})
    assert api.n_jobs() == before
    return refusals(answer)


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_of_the_document_is_accepted(shared_api, name):
    """What the OpenAPI document shows works when pasted."""
    answer = shared_api.client.post("/v1/jobs", json=EXAMPLES[name]["value"])
    assert answer.status_code == 202, answer.text


def test_an_accepted_job_says_where_to_look(api):
    """202 with Location, Retry-After, and the job as it stands, defaults filled in."""
    answer = api.client.post(
        "/v1/jobs", json={"kind": "distill", "params": DISTILL, "priority": 3, "timeout_seconds": 9}
    )
    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{body['id']}"
    assert int(answer.headers["retry-after"]) >= 1
    assert (body["kind"], body["state"], body["dataset"]) == ("distill", "queued", "digits")
    assert (body["priority"], body["timeout_seconds"]) == (3, 9)
    assert body["params"]["distill"]["mask"] == {
        "ratio": 0.0,
        "unit": "pixel",
        "patch_size": None,
        "channels": "shared",
        "scope": "per_sample",
        "fill": "zero",
    }
    assert api.client.get(answer.headers["location"]).json() == body


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], [("", "not_an_object")]),
        ({}, [("/kind", "unknown_kind")]),
        ({"kind": "intake", "params": {}}, [("/kind", "unknown_kind")]),
        ({"kind": ["distill"], "params": {}}, [("/kind", "unknown_kind")]),
        ({"kind": "distill"}, [("/params", "missing_field")]),
        ({"kind": "distill", "params": 3}, [("/params", "wrong_type")]),
        ({"kind": "distill", "params": DISTILL, "state": "x"}, [("/state", "unknown_field")]),
        (
            {"kind": "distill", "params": DISTILL, "timeout_seconds": 0},
            [("/timeout_seconds", "out_of_range")],
        ),
        (
            {"kind": "distill", "params": DISTILL, "priority": 101},
            [("/priority", "out_of_range")],
        ),
        (
            {"kind": "train", "params": {"training_set": {"source": "random"}}},
            [("/params", "invalid_value")],
        ),
        (
            {"kind": "calibrate", "params": {"models": ["x"], "calibrate": NONE}},
            [("/params/models/0", "wrong_form")],
        ),
    ],
)
def test_submissions_of_the_wrong_shape_are_refused(shared_api, document, expected):
    """Each with the place of what is wrong."""
    assert refusals(shared_api.client.post("/v1/jobs", json=document)) == expected


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"kind": "distill", "params": {"dataset": "digits", "seed": NaN}}', 422),
        (b'{"kind": "distill", "params": {"dataset": "digits", "distill": {"lr": 1e400}}}', 422),
        (b'{"kind": "distill", "kind": "train", "params": {}}', 422),
        (b'{"kind": "distill", "params": {"dataset": "\\ud800"}}', 422),
        (b"[" * 100_000, 400),
        (b"", 400),
    ],
)
def test_odd_json_leaves_no_job(shared_api, body, status):
    """What no database could keep is refused before it gets there."""
    before = shared_api.n_jobs()
    headers = {"Content-Type": "application/json"}
    problem(shared_api.client.post("/v1/jobs", content=body, headers=headers), status)
    assert shared_api.n_jobs() == before


# digits: its smallest class has 126 training images, 25 of them go to the validation cut of a
# fifth (259 of 1297); 8 x 8 pixels can be halved three times.
@pytest.mark.parametrize(
    ("kind", "params", "expected"),
    [
        ("distill", {"dataset": "nothing"}, [("/params/dataset", "unknown_dataset")]),
        ("train", {**RANDOM, "dataset": "nothing"}, [("/params/dataset", "unknown_dataset")]),
        ("pipeline", {**PIPELINE, "dataset": "nothing"}, [("/params/dataset", "unknown_dataset")]),
        ("distill", {"dataset": "cifar10"}, [("/params/dataset", "dataset_unavailable")]),
        (
            "distill",
            {"dataset": "digits", "distill": {"images_per_class": 102}},
            [("/params/distill/images_per_class", "images_per_class_too_large")],
        ),
        (
            "distill",
            {"dataset": "digits", "n_validation": 1000, "distill": {"images_per_class": 50}},
            [("/params/distill/images_per_class", "images_per_class_too_large")],
        ),
        (
            "train",
            {**RANDOM, "training_set": {"source": "random", "images_per_class": 102}},
            [("/params/training_set/images_per_class", "images_per_class_too_large")],
        ),
        (
            "pipeline",
            {**PIPELINE, "distill": {"images_per_class": 102, "init": "noise"}},
            [("/params/distill/images_per_class", "images_per_class_too_large")],
        ),
        (
            "distill",
            {**DISTILL, "n_validation": 1288},
            [("/params/n_validation", "n_validation_too_large")],
        ),
        (
            "train",
            {**FULL, "n_validation": 1288},
            [("/params/n_validation", "n_validation_too_large")],
        ),
        (
            "train",
            {**FULL, "training_set": {"source": "full", "n_images": 1039}},
            [("/params/training_set/n_images", "n_images_too_large")],
        ),
        (
            "pipeline",
            {**PIPELINE, "baselines": [{"source": "full", "n_images": 1039}]},
            [("/params/baselines/0/n_images", "n_images_too_large")],
        ),
        (
            "distill",
            {"dataset": "digits", "distill": {"depth": 4}},
            [("/params/distill/depth", "depth_too_large")],
        ),
        (
            "train",
            {**RANDOM, "train": {"depth": 4}},
            [("/params/train/depth", "depth_too_large")],
        ),
        (
            "pipeline",
            {**PIPELINE, "distill": {"depth": 5}, "train": {"depth": 4}},
            [
                ("/params/distill/depth", "depth_too_large"),
                ("/params/train/depth", "depth_too_large"),
            ],
        ),
        (
            "distill",
            {"dataset": "digits", "distill": {"mask": {"unit": "patch", "patch_size": 9}}},
            [("/params/distill/mask/patch_size", "patch_too_large")],
        ),
        (
            "pipeline",
            {
                **PIPELINE,
                "calibrate": [
                    {"method": "mts", "mask": {"ratio": 0.5, "unit": "patch", "patch_size": 8}},
                    {"method": "mts", "mask": {"ratio": 0.5, "unit": "patch", "patch_size": 64}},
                ],
            },
            [("/params/calibrate/1/mask/patch_size", "patch_too_large")],
        ),
        (
            "pipeline",
            {
                **PIPELINE,
                "evaluate": {"mts_masks": [{}, {"unit": "patch", "patch_size": 9}]},
            },
            [("/params/evaluate/mts_masks/1/patch_size", "patch_too_large")],
        ),
        (
            "pipeline",
            {**PIPELINE, "evaluate": {"probes": ["rotation", "colour"]}},
            [("/params/evaluate/probes/1", "no_colour")],
        ),
        (
            "pipeline",
            {**PIPELINE, "evaluate": {"probes": ["rotation", "rotation"]}},
            [("/params/evaluate/probes", "invalid_value")],
        ),
        (
            "pipeline",
            {**PIPELINE, "baselines": [{"source": "random"}, {"source": "random"}]},
            [("/params/baselines/1", "duplicate_baseline")],
        ),
        (
            "pipeline",
            {
                **PIPELINE,
                "baselines": [{"source": "full"}],
                "calibrate": [{"method": "ts", "fit_on": "distilled"}],
            },
            [("/params/calibrate", "no_calibration_left")],
        ),
        (
            "pipeline",
            {
                **PIPELINE,
                "baselines": [{"source": "full"}],
                "calibrate": [
                    {"method": "mts", "fit_on": "validation", "mask": {"ratio": "auto"}},
                    {"method": "ts", "fit_on": "training_set"},
                ],
            },
            [("/params/calibrate", "no_calibration_left")],
        ),
        (
            "train",
            {"training_set": {"source": "distilled", "distilled_set": f"set_{NOBODY}"}},
            [("/params/training_set/distilled_set", "unknown_reference")],
        ),
        (
            "calibrate",
            {"models": [f"mdl_{NOBODY}", f"job_{NOBODY}"], "calibrate": NONE},
            [("/params/models/0", "unknown_reference"), ("/params/models/1", "unknown_reference")],
        ),
        (
            "evaluate",
            {"calibrations": [f"cal_{NOBODY}"]},
            [("/params/calibrations/0", "unknown_reference")],
        ),
    ],
)
def test_what_cannot_be_carried_out_is_refused(shared_api, kind, params, expected):
    """Nothing that is known to fail is queued."""
    assert refused(shared_api, kind, params) == expected


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("distill", {"dataset": "digits", "distill": {"images_per_class": 101}}),
        ("distill", {"dataset": "digits", "distill": {"images_per_class": 500, "init": "noise"}}),
        ("train", {**RANDOM, "training_set": {"source": "random", "images_per_class": 101}}),
        ("train", {**FULL, "training_set": {"source": "full", "n_images": 1038}}),
        ("train", {**FULL, "n_validation": 1287}),
        ("pipeline", {**PIPELINE, "baselines": [], "distill": {"images_per_class": 101}}),
    ],
)
def test_the_most_that_there_is_is_accepted(shared_api, kind, params):
    """The limits themselves are within them."""
    shared_api.submit(kind, params)


def test_a_detail_says_what_was_wanted_and_got(shared_api):
    """Numbers on both sides, and the name of the data set."""
    answer = shared_api.client.post(
        "/v1/jobs",
        json={
            "kind": "distill",
            "params": {"dataset": "digits", "distill": {"images_per_class": 500}},
        },
    )
    detail = problem(answer, 422)["errors"][0]["detail"]
    assert "at most 101" in detail
    assert "'digits'" in detail
    assert detail.endswith("got 500")


def test_named_sets_are_available_by_file_or_by_download(migrated_sqlite, tmp_path):
    """A missing data set is accepted where the service may fetch it, or once its file is there."""
    copy = tmp_path / "ddcal.sqlite"
    copy.write_bytes(Path(migrated_sqlite).read_bytes())
    settings = Settings(
        data_folder=tmp_path, database_url=f"sqlite:///{copy}", allow_downloads=True
    )
    with running_api(settings) as api:
        api.submit("distill", {"dataset": "mnist"})
    raw = tmp_path / "named" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").touch()
    with running_api(settings.model_copy(update={"allow_downloads": False})) as api:
        api.submit("distill", {"dataset": "fashion_mnist"})
        assert refused(api, "distill", {"dataset": "mnist"}) == [
            ("/params/dataset", "dataset_unavailable")
        ]


def test_a_job_waits_for_the_job_it_names(api):
    """Blocked while its maker works, queued when that has succeeded."""
    distill = api.submit("distill", DISTILL)
    params = {"training_set": {"source": "distilled", "distilled_set": distill["id"]}}
    train = api.submit("train", params)
    assert (train["state"], train["dataset"]) == ("blocked", "digits")
    api.succeed(api.claim(), ("distilled_set", SET, {}))
    assert api.job(train["id"])["state"] == "queued"


def test_a_job_on_results_that_exist_is_queued_and_keeps_them(api):
    """Results by id need no waiting; their maker cannot be deleted before they have been read."""
    maker, (model_id, *_) = api.make("train", RANDOM, ("model", MODEL, {}))
    calibrate = api.submit("calibrate", {"models": [model_id], "calibrate": NONE})
    assert (calibrate["state"], calibrate["dataset"]) == ("queued", "digits")
    assert problem(api.client.delete(f"/v1/jobs/{maker}"), 409)["code"] == "job_needed"
    api.client.post(f"/v1/jobs/{calibrate['id']}/cancel")
    assert api.client.delete(f"/v1/jobs/{maker}").status_code == 204


def test_references_have_to_be_of_the_right_kind(api):
    """A job of another kind makes nothing of what is wanted."""
    distill = api.submit("distill", DISTILL)["id"]
    assert refused(api, "calibrate", {"models": [distill], "calibrate": NONE}) == [
        ("/params/models/0", "wrong_kind")
    ]
    assert refused(api, "evaluate", {"calibrations": [distill]}) == [
        ("/params/calibrations/0", "wrong_kind")
    ]
    train = api.submit("train", RANDOM)["id"]
    of_model = {"training_set": {"source": "distilled", "distilled_set": train}}
    assert refused(api, "train", of_model) == [("/params/training_set/distilled_set", "wrong_kind")]


def test_references_must_not_have_ended_without_success(api):
    """A failed or cancelled job will never make what is wanted."""
    failed = api.submit("distill", DISTILL)["id"]
    api.fail(api.claim())
    cancelled = api.submit("distill", DISTILL)["id"]
    api.client.post(f"/v1/jobs/{cancelled}/cancel")
    for reference in (failed, cancelled):
        params = {"training_set": {"source": "distilled", "distilled_set": reference}}
        assert refused(api, "train", params) == [
            ("/params/training_set/distilled_set", "reference_ended")
        ]


def test_another_owners_results_do_not_exist(migrated_url, tmp_path):
    """By reference or by address, all of it is as if it were not there."""
    settings = Settings(data_folder=tmp_path / "data", database_url=migrated_url)

    with running_api(settings) as api:
        job_id, (model_id,) = api.make("train", RANDOM, ("model", MODEL, {"a.json": b"{}"}))
        (artifact,) = api.client.get(f"/v1/jobs/{job_id}/artifacts").json()["items"]
    with running_api(settings, owner_id="stranger") as other:
        for reference in (job_id, model_id):
            assert refused(other, "calibrate", {"models": [reference], "calibrate": NONE}) == [
                ("/params/models/0", "unknown_reference")
            ]
        for path in (f"/v1/jobs/{job_id}", f"/v1/models/{model_id}", artifact["url"],
                     f"/v1/jobs/{job_id}/events", f"/v1/jobs/{job_id}/log"):  # fmt: skip
            problem(other.client.get(path), 404)
        problem(other.client.post(f"/v1/jobs/{job_id}/cancel"), 404)
        problem(other.client.delete(f"/v1/jobs/{job_id}"), 404)
        for collection in ("jobs", "models", "reports"):
            assert other.client.get(f"/v1/{collection}").json()["items"] == []


def test_a_mask_ratio_is_a_number_or_auto_in_mts_alone(api):
    """What is wrong is pointed at where it stands, whichever shape the mask has."""
    masks = [{"ratio": 1.5}, {"ratio": "most"}, {"ratio": "auto", "unit": "pixel"}, 3]
    calibrate = [{"method": "mts", "mask": mask} for mask in masks]
    distill = {"mask": {"ratio": "auto"}}
    params = {"dataset": "digits", "distill": distill, "calibrate": calibrate}
    assert {pointer for pointer, _ in refused(api, "pipeline", params)} == {
        "/params/distill/mask/ratio",
        "/params/calibrate/0/mask/ratio",
        "/params/calibrate/1/mask/ratio",
        "/params/calibrate/2/mask/unit",
        "/params/calibrate/3/mask",
    }
    drawn = [{"method": "mts", "mask": {"ratio": "auto"}, "draws_per_image": 2}]
    assert refused(api, "pipeline", {"dataset": "digits", "calibrate": drawn}) == [
        ("/params/calibrate/0/draws_per_image", "not_with_auto")
    ]
    api.submit("pipeline", {**params, "distill": {}, "calibrate": [
        {"method": "mts", "mask": {"ratio": "auto"}}]})  # fmt: skip


@pytest.mark.parametrize("by", ["job", "result"])
def test_full_data_networks_have_no_distilled_set_to_fit_on(api, by):
    """Whether the network exists already or not."""
    job_id = api.submit("train", FULL)["id"]
    reference = job_id
    if by == "result":
        (reference,) = api.succeed(api.claim(), ("model", {**MODEL, "training_set": "full"}, {}))
    auto = {"method": "mts", "fit_on": "validation", "mask": {"ratio": "auto"}}
    fits = [{"method": "none"}, {"method": "ts"}, {"method": "mts"}, auto]
    assert refused(api, "calibrate", {"models": [reference], "calibrate": fits}) == [
        ("/params/calibrate/2/fit_on", "no_distilled_set"),
        ("/params/calibrate/3/mask/ratio", "no_distilled_set"),
    ]
    api.submit("calibrate", {"models": [reference], "calibrate": fits[:2]})


def test_one_report_covers_one_data_set(api):
    """Calibrations, and models, of different data sets do not mix."""
    api.client.post("/v1/datasets", params={"name": "mine"}, **npz_bytes())
    api.check_upload()
    models = [
        api.submit("train", {**RANDOM, "dataset": dataset})["id"] for dataset in ("digits", "mine")
    ]
    assert refused(api, "calibrate", {"models": models, "calibrate": NONE}) == [
        ("/params/models", "mixed_datasets")
    ]
    calibrations = [
        api.submit("calibrate", {"models": [model], "calibrate": NONE})["id"] for model in models
    ]
    assert refused(api, "evaluate", {"calibrations": calibrations}) == [
        ("/params/calibrations", "mixed_datasets")
    ]


def test_a_job_waits_for_the_check_of_its_data_set(api):
    """Blocked while the upload is checked; limits of its content hold once they are known."""
    api.client.post("/v1/datasets", params={"name": "mine"}, **npz_bytes())
    too_many = {"dataset": "mine", "distill": {"images_per_class": 17}}
    job = api.submit("distill", too_many)
    assert (job["state"], job["dataset"]) == ("blocked", "mine")
    api.check_upload()
    assert api.job(job["id"])["state"] == "queued"
    assert refused(api, "distill", too_many) == [
        ("/params/distill/images_per_class", "images_per_class_too_large")
    ]


def test_a_rejected_data_set_is_refused_with_its_reason(api):
    """The problem the check found stands in the refusal."""
    api.client.post("/v1/datasets", params={"name": "mine"}, **npz_bytes())
    api.check_upload(problem={"code": "labels", "detail": "label 7 is out of range"})
    answer = api.client.post("/v1/jobs", json={"kind": "distill", "params": {"dataset": "mine"}})
    assert refusals(answer) == [("/params/dataset", "dataset_rejected")]
    assert "label 7 is out of range" in answer.text


def test_an_upload_whose_check_was_cancelled_is_refused(api):
    """It will never be ready."""
    upload = api.client.post("/v1/datasets", params={"name": "mine"}, **npz_bytes()).json()
    api.client.post(f"/v1/jobs/{upload['job_id']}/cancel")
    assert [pointer for pointer, _ in refused(api, "distill", {"dataset": "mine"})] == [
        "/params/dataset"
    ]
    assert api.client.get("/v1/datasets/mine").json()["available"] is False


def test_results_of_a_replaced_upload_are_refused(api):
    """The name is the same, the images are others."""
    api.client.post("/v1/datasets", params={"name": "mine"}, **npz_bytes())
    api.check_upload()
    params = {**RANDOM, "dataset": "mine"}
    _, (model,) = api.make("train", params, ("model", {**MODEL, "dataset": "mine"}, {}))
    assert api.client.delete("/v1/datasets/mine").status_code == 204
    calibrate = {"models": [model], "calibrate": NONE}
    assert refused(api, "calibrate", calibrate) == [("/params/models", "unknown_dataset")]
    api.client.post("/v1/datasets", params={"name": "mine"}, **npz_bytes())
    api.check_upload()
    assert refused(api, "calibrate", calibrate) == [("/params/models/0", "dataset_replaced")]


def test_a_job_keeps_the_id_of_its_request(api):
    """Shown of the job, and of a pipeline in each child's row."""
    headers = {"X-Request-ID": "from-me"}
    asked = {"kind": "pipeline", "params": PIPELINE}
    body = api.client.post("/v1/jobs", json=asked, headers=headers).json()
    assert body["request_id"] == "from-me"
    assert {api.job(child["id"])["request_id"] for child in body["children"]} == {"from-me"}
