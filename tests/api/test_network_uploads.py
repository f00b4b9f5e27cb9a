"""Networks made elsewhere, over HTTP: taken by a job, refused in words, calibrated like others."""

import pytest

from ddcal_core.formats.imported_networks import ImportedNetwork
from ddcal_core.formats.manifests import ModelConfig
from tests.api.npz import npz_bytes
from tests.api.serving import problem, refusals
from tests.core.formats.onnx_made import linear, onnx_model
from tests.core.formats.stored import calibration_values, model_config, set_manifest

CLASSES = list("0123456789")
CALIBRATE_ON_SET = [{"method": "ts", "fit_on": "training_set"}]


def upload(api, name="mine", content=None, headers=(), **query):
    """Post a network for digits, of pixels unless the query says otherwise."""
    return api.client.post(
        "/v1/models",
        params={"name": name, "dataset": "digits", "space": "pixels", **query},
        content=onnx_model(linear(10)).SerializeToString() if content is None else content,
        headers={"Content-Type": "application/octet-stream", **dict(headers)},
    )


def config(**changes):
    """What the check of such a network gives."""
    imported = ImportedNetwork(
        file_format="onnx",
        sha256="0" * 64,
        declared_space="pixels",
        mean=(0.0,),
        std=(1.0,),
        input_shape=(1, 8, 8),
        layout="nchw",
        outputs="logits",
        opset=17,
        n_tried=256,
        tried_accuracy=0.9,
        notes=(),
    )
    held = model_config(dataset="digits").as_json()
    unknown = {"training_set": "unknown", "train": None, "n_train": None, "train_accuracy": None}
    return ModelConfig.model_validate(
        held | unknown | {"network": {"name": "onnx"}, "imported": imported.as_json()} | changes,
        strict=False,
    ).as_json()


def take_in(api, **changes):
    """End the next check as a trainer would, with the model."""
    api.succeed(api.claim("gpu"), ("model", config(**changes), {"model.onnx": b"graph"}))


def made_set(api, **changes):
    """A distilled set of digits; its id."""
    job = api.submit("distill", {"dataset": "digits"})
    manifest = set_manifest(dataset="digits", **changes).as_json()
    api.succeed(api.claim("gpu"), ("distilled_set", manifest, {}))
    return api.job(job["id"])["results"][0]["id"]


def calibrating(api, reference, specs):
    """Ask for calibrations of it."""
    params = {"models": [reference], "calibrate": specs}
    return api.client.post("/v1/jobs", json={"kind": "calibrate", "params": params})


def test_a_network_is_tried_by_a_trainer_and_calibrated_by_its_id(api):
    """202 with the job, whose result is the model; a calibration waits for it, or names it."""
    answer = upload(api, tag="env:prod", notes="from a colleague")
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["name"], job["dataset"]) == ("intake", "mine", "digits")
    assert (job["params"]["content"], job["params"]["file_format"]) == ("network", "onnx")
    waiting = calibrating(api, job["id"], [{"method": "ts"}])
    assert (waiting.status_code, waiting.json()["state"]) == (202, "blocked")
    take_in(api)
    assert api.job(waiting.json()["id"])["state"] == "queued"
    (found,) = api.client.get("/v1/models").json()["items"]
    assert (found["job_id"], found["tags"]) == (job["id"], {"env": "prod"})
    assert [one["id"] for one in api.job(job["id"])["results"]] == [found["id"]]
    whole = api.client.get(f"/v1/models/{found['id']}").json()
    assert whole["lineage"] == {"datasets": ["digits"]}
    assert whole["details"]["imported"]["opset"] == 17
    assert calibrating(api, found["id"], [{"method": "ts"}]).status_code == 202


@pytest.mark.parametrize("is_ended", [False, True])
def test_what_needs_its_training_set_is_refused_at_submission(api, is_ended):
    """By the job or the model: nobody knows what it was trained on."""
    reference = upload(api).json()["id"]
    if is_ended:
        take_in(api)
        reference = api.client.get("/v1/models").json()["items"][0]["id"]
    specs = [{"method": "mts"}, *CALIBRATE_ON_SET, {"method": "mts", "fit_on": "validation"}]
    answer = calibrating(api, reference, specs)
    assert refusals(answer) == [
        ("/params/calibrate/0/fit_on", "no_distilled_set"),
        ("/params/calibrate/1/fit_on", "no_distilled_set"),
        ("/params/calibrate/2/mask/ratio", "no_distilled_set"),
    ]
    assert "an imported network of which no distilled_set was named" in answer.text


def test_with_its_distilled_set_it_is_calibrated_on_that(api):
    """And a ratio left open needs a factor that the set carries."""
    without, with_factor = made_set(api, calibration_factor=None), made_set(api)
    reference = upload(api, distilled_set=without).json()["id"]
    fixed = {"method": "mts", "mask": {"ratio": 0.5}}
    assert calibrating(api, reference, [*CALIBRATE_ON_SET, fixed]).status_code == 202
    answer = calibrating(api, reference, [fixed, {"method": "mts"}])
    assert refusals(answer) == [("/params/calibrate/1/mask/ratio", "imported_network")]
    reference = upload(api, distilled_set=with_factor).json()["id"]
    assert calibrating(api, reference, [{"method": "mts"}]).status_code == 202


def test_a_distilled_set_of_a_replaced_upload_is_refused(api):
    """The name is the same, the images are others."""
    api.client.post("/v1/datasets", params={"name": "images"}, **npz_bytes())
    api.check_upload()
    job = api.submit("distill", {"dataset": "images", "distill": {"images_per_class": 1}})
    manifest = set_manifest(dataset="images").as_json()
    api.succeed(api.claim("gpu"), ("distilled_set", manifest, {}))
    set_id = api.job(job["id"])["results"][0]["id"]
    assert api.client.delete("/v1/datasets/images").status_code == 204
    api.client.post("/v1/datasets", params={"name": "images"}, **npz_bytes())
    api.check_upload()
    answer = upload(api, dataset="images", distilled_set=set_id)
    assert ("/query/distilled_set", "dataset_replaced") in refusals(answer)


def test_the_job_and_its_model_can_be_deleted(api):
    """The upload is gone with the check."""
    job = upload(api).json()
    take_in(api)
    assert api.client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert api.client.get("/v1/models").json()["items"] == []


@pytest.mark.parametrize("word", ["pt2", "safetensors"])
def test_a_graph_has_no_format_of_pytorch(api, word):
    """Neither has its calibration; onnx is what to take."""
    upload(api)
    take_in(api)
    model_id = api.client.get("/v1/models").json()["items"][0]["id"]
    values = calibration_values(model_id=model_id, method="ts", temperature=2.0, status="ok")
    assert calibrating(api, model_id, [{"method": "ts"}]).status_code == 202
    files = {"model.onnx": b"graph"}
    (made,) = api.succeed(api.claim("gpu"), ("calibration", values.as_json(), files))
    for url in (f"/v1/models/{model_id}", f"/v1/calibrations/{made}"):
        answer = api.client.get(f"{url}/content", params={"format": word})
        body = problem(answer, 422)
        assert "got a graph of ONNX that was imported: take onnx" in body["detail"]


def test_a_request_sent_again_under_its_key_makes_one_job(api):
    """And is answered with that."""
    key = {"Idempotency-Key": "one"}
    first, second = upload(api, headers=key), upload(api, headers=key)
    assert first.json()["id"] == second.json()["id"]
    assert api.n_jobs() == 1
    assert len(api.uploads()) == 1


@pytest.mark.parametrize(
    ("query", "content", "words"),
    [
        ({"dataset": "digitz"}, None, 'did you mean "digits"'),
        ({"space": "zca"}, None, "space"),
        ({"mean": 0.5}, None, "mean: wanted none, as pixels have no such numbers"),
        ({"space": "standardised", "std": [0.5, 0.0, 1.0]}, None, "std: wanted numbers above 0"),
        ({"space": "standardised", "std": [0.5, 0.1]}, None, "wanted 1 or 3 numbers"),
        ({"side": 1024}, None, "side"),
        ({"architecture": "resnet19"}, None, "architecture"),
        ({"architecture": "convnet", "heads": 2}, None, "wanted an option of convnet"),
        ({"width": 8}, None, "wanted no width of onnx"),
        ({"class_order": CLASSES[:-1]}, None, "lacking is '9'"),
        ({"class_order": [*CLASSES[:-1], "nine"]}, None, "no class is 'nine'"),
        ({"class_order": [*CLASSES, "0"]}, None, "twice is '0'"),
        ({"distilled_set": "set_" + "a" * 26}, None, "there is no set_"),
        ({"distilled_set": "mine"}, None, "distilled_set"),
        ({"architecture": "torchvision.resnet18", "layout": "nhwc"}, None, "wanted nchw"),
        ({}, b"PK a zip of torch.save", "safetensors.torch.save_file"),
        ({}, b"\x80\x02cos\nsystem\n.", "nothing is ever executed"),
        ({}, b"\x10\0\0\0\0\0\0\0{}", "say which network they are of (architecture)"),
        ({"architecture": "convnet"}, None, "an ONNX file (architecture=onnx)"),
        ({}, b"GIF89a, a picture", "got a file that starts with b'GIF89a,"),
    ],
)
def test_what_can_be_told_at_once_is_refused_at_once(shared_api, query, content, words):
    """422 in words; no job and no file is left."""
    before = shared_api.n_jobs()
    body = problem(upload(shared_api, content=content, **query), 422)
    assert words in str(body)
    assert shared_api.uploads() == []
    assert shared_api.n_jobs() == before
