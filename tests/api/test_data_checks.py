"""Classes, long tails and input spaces as submissions name them."""

import pytest

from tests.api.npz import npz_bytes
from tests.api.serving import FACTS, MODEL, refusals

NONE = [{"method": "none"}]
DISTILL = {"dataset": "digits", "distill": {"images_per_class": 1}}
RANDOM = {"dataset": "digits", "training_set": {"source": "random", "images_per_class": 1}}
FULL = {"dataset": "digits", "training_set": {"source": "full"}}
PIPELINE = {"dataset": "digits", "calibrate": NONE}
CHOICE = {
    "classes": ["8", 3, "0"],
    "imbalance": {"factor": 0.1},
    "input_space": {"name": "zca", "eps": 0.05},
}


def refused(api, kind, params):
    """(pointer, code) pairs of a submission that has to be refused, and leaves nothing."""
    before = api.n_jobs()
    answer = api.client.post("/v1/jobs", json={"kind": kind, "params": params})
    assert api.n_jobs() == before
    return refusals(answer)


# digits 8, 3 and 0 have 126, 132 and 128 training images; a fifth of 386 is cut: 25, 26 and 26.
@pytest.mark.parametrize(
    ("kind", "params", "expected"),
    [
        (
            "distill",
            {**DISTILL, "classes": ["8", "eight", 10]},
            [("/params/classes/1", "unknown_class"), ("/params/classes/2", "unknown_class")],
        ),
        ("pipeline", {**PIPELINE, "classes": [3, "3"]}, [("/params/classes/1", "duplicate_class")]),
        ("train", {**RANDOM, "classes": [3]}, [("/params/classes", "wrong_length")]),
        ("train", {**FULL, "classes": [3, -1]}, [("/params/classes/1", "out_of_range")]),
        ("train", {**FULL, "classes": [3, None]}, [("/params/classes/1", "wrong_type")]),
        ("train", {**FULL, "classes": [3, True]}, [("/params/classes/1", "wrong_type")]),
        ("train", {**FULL, "classes": "38"}, [("/params/classes", "wrong_type")]),
        (
            "distill",
            {**DISTILL, "imbalance": {"factor": 0}},
            [("/params/imbalance/factor", "out_of_range")],
        ),
        (
            "distill",
            {**DISTILL, "imbalance": {"factor": 1.5}},
            [("/params/imbalance/factor", "out_of_range")],
        ),
        ("distill", {**DISTILL, "imbalance": {}}, [("/params/imbalance/factor", "missing_field")]),
        (
            "distill",
            {**DISTILL, "input_space": {"name": "whitened"}},
            [("/params/input_space/name", "unknown_value")],
        ),
        (
            "distill",
            {**DISTILL, "input_space": {"name": "zca", "eps": 0}},
            [("/params/input_space/eps", "out_of_range")],
        ),
        (
            "distill",
            {**DISTILL, "input_space": {"name": "zca_per_image", "eps": 0.1}},
            [("/params/input_space/eps", "unknown_field")],
        ),
        (
            "distill",
            {**DISTILL, "classes": ["8", 3, 0], "n_validation": 384},
            [("/params/n_validation", "n_validation_too_large")],
        ),
        (
            "distill",
            {**CHOICE, "dataset": "digits", "distill": {"images_per_class": 11}},
            [("/params/distill/images_per_class", "images_per_class_too_large")],
        ),
        (
            "pipeline",
            {**PIPELINE, **CHOICE, "distill": {"images_per_class": 11, "init": "noise"}},
            [("/params/distill/images_per_class", "images_per_class_too_large")],
        ),
        (
            "train",
            {**FULL, **CHOICE, "training_set": {"source": "full", "n_images": 150}},
            [("/params/training_set/n_images", "n_images_too_large")],
        ),
    ],
)
def test_data_that_cannot_be_is_refused(shared_api, kind, params, expected):
    """At the field, before anything is written."""
    assert refused(shared_api, kind, params) == expected


def test_the_smallest_class_of_a_long_tail_is_said(shared_api):
    """After the cut 101, 106 and 102 are left; class k of 3 keeps 106 * 0.1^(k/2): 101, 33, 10."""
    params = {**CHOICE, "dataset": "digits", "distill": {"images_per_class": 11}}
    answer = shared_api.client.post("/v1/jobs", json={"kind": "distill", "params": params})
    detail = answer.json()["detail"]
    assert "wanted at most 10" in detail
    assert "validation cut and the long tail of factor 0.1; got 11" in detail
    params["distill"] = {"images_per_class": 10}
    assert shared_api.submit("distill", params)["params"]["imbalance"] == {"factor": 0.1}
    full = {**FULL, **CHOICE, "training_set": {"source": "full", "n_images": 101 + 33 + 10}}
    shared_api.submit("train", full)


def test_a_distilled_set_brings_its_data_along(api):
    """Training on one, classes, long tail and input space are the set's: none may be named."""
    maker = api.submit("distill", {**DISTILL, **CHOICE})
    training_set = {"source": "distilled", "distilled_set": maker["id"]}
    for name, value in CHOICE.items():
        params = {"training_set": training_set, name: value}
        answer = api.client.post("/v1/jobs", json={"kind": "train", "params": params})
        assert refusals(answer) == [("/params", "invalid_value")]
        assert f"got {name}" in answer.json()["detail"]
    job = api.submit("train", {"training_set": training_set})
    assert [job["params"][name] for name in CHOICE] == [None, None, None]


def test_children_of_a_pipeline_see_the_same_data(api):
    """Distill, random and full are told the same classes, long tail and space; training is not."""
    baselines = [{"source": "random"}, {"source": "full"}]
    body = api.submit("pipeline", {**PIPELINE, **CHOICE, "baselines": baselines})
    children = {child["role"]: api.job(child["id"])["params"] for child in body["children"]}
    for role in ("distill", "train-random", "train-full"):
        assert {name: children[role][name] for name in CHOICE} == CHOICE
    assert [children["train-distilled"][name] for name in CHOICE] == [None, None, None]


def test_images_too_large_to_whiten_are_refused(api):
    """48 x 48 in colour has 6,912 features; the standard space takes them."""
    api.client.post("/v1/datasets?name=large", **npz_bytes())
    whitened = {"dataset": "large", "input_space": {"name": "zca_per_image"}, "classes": ["one", 0]}
    spec = {"distill": {"images_per_class": 1}}
    api.submit("distill", {**whitened, **spec})
    facts = {"image_shape": [3, 48, 48], "mean": [0.5] * 3, "std": [0.25] * 3}
    api.check_upload(facts=FACTS | facts)
    expected = [("/params/input_space/name", "images_too_large_to_whiten")]
    assert refused(api, "distill", {**whitened, **spec}) == expected
    assert refused(api, "pipeline", {**whitened, "calibrate": NONE}) == expected
    api.submit("distill", {**whitened, **spec, "input_space": {"name": "standard"}})
    assert refused(api, "distill", {**whitened, **spec, "classes": ["one", "two"]}) == [
        *expected,
        ("/params/classes/1", "unknown_class"),
    ]


def test_components_of_a_large_set_of_large_images_are_refused(api):
    """Only where both sides of the matrix are too long; a small set of the images is not."""
    api.client.post("/v1/datasets?name=large", **npz_bytes())
    facts = {"image_shape": [3, 48, 48], "mean": [0.5] * 3, "std": [0.25] * 3}
    counts = {"train_class_counts": [5_000, 5_000]}
    api.check_upload(facts=FACTS | facts | counts)
    train = {"drop": {"what": "components", "share": 0.5}}
    data = {"dataset": "large", "train": train}
    expected = [("/params/train/drop/what", "too_large_to_decompose")]
    assert refused(api, "train", {**data, "training_set": {"source": "full"}}) == expected
    full = {"baselines": [{"source": "full"}], "calibrate": NONE, "distill": {"init": "noise"}}
    assert refused(api, "pipeline", {**data, **full}) == expected
    api.submit("train", {**data, "training_set": {"source": "full", "n_images": 4_096}})
    api.submit("train", {**data, "training_set": {"source": "random", "images_per_class": 9}})


def calibrate_job(api, **choice):
    """A calibrate job on a train job on random images of some classes."""
    train = api.submit("train", {**RANDOM, **choice})
    return api.submit("calibrate", {"models": [train["id"]], "calibrate": NONE})["id"]


def test_a_report_has_networks_of_the_same_classes(api):
    """Jobs not yet run are looked through; long tails and spaces may differ, classes may not."""
    one = calibrate_job(api, classes=["8", 3], imbalance={"factor": 0.5})
    alike = calibrate_job(api, classes=[8, "3"], input_space={"name": "zca"})
    turned = calibrate_job(api, classes=[3, 8])
    whole = calibrate_job(api)
    every = calibrate_job(api, classes=[str(k) for k in range(10)])
    api.submit("evaluate", {"calibrations": [one, alike]})
    api.submit("evaluate", {"calibrations": [whole, every]})
    for other in (turned, whole):
        params = {"calibrations": [one, alike, other]}
        assert refused(api, "evaluate", params) == [("/params/calibrations/2", "mixed_classes")]


def test_results_know_their_classes(api):
    """Calibrations made already are asked through their models; those of old know of no classes."""
    split = {"dataset": "digits", "seed": 0, "n_validation": None}
    splits = [split, {**split, "classes": None}, {**split, "classes": [8, 3]}]
    ids = []
    for one in splits:
        train = api.submit("train", RANDOM)
        (model,) = api.succeed(api.claim(), ("model", {**MODEL, "split": one}, {}))
        api.submit("calibrate", {"models": [train["id"]], "calibrate": NONE})
        values = {"model_id": model, "method": "none", "fit_on": None, "status": "ok"}
        ids += api.succeed(api.claim(), ("calibration", {**values, "temperature": 1.0}, {}))
    api.submit("evaluate", {"calibrations": ids[:2]})
    answer = api.client.post(
        "/v1/jobs", json={"kind": "evaluate", "params": {"calibrations": ids[1:]}}
    )
    assert refusals(answer) == [("/params/calibrations/1", "mixed_classes")]
    assert "tell apart all 10; got 8, 3" in answer.json()["detail"]


def test_a_validation_split_of_its_own_is_not_cut(api):
    """n_validation is refused; all training images are there to train on, and it can be fitted."""
    api.client.post("/v1/datasets?name=own", **npz_bytes())
    api.check_upload(facts=FACTS | {"validation_class_counts": [2, 3]})
    body = api.client.get("/v1/datasets/own").json()["facts"]
    assert (body["n_train"], body["n_validation"], body["n_test"]) == (50, 5, 10)
    assert body["validation_class_counts"] == [2, 3]
    mine = {"dataset": "own", "distill": {"images_per_class": 20}}
    expected = [("/params/n_validation", "has_own_validation")]
    assert refused(api, "distill", {**mine, "n_validation": 5}) == expected
    fit = {"calibrate": [{"method": "ts", "fit_on": "validation"}]}
    assert refused(api, "pipeline", {**mine, **fit, "n_validation": 5}) == expected
    api.submit("distill", mine)
    api.submit("pipeline", {**mine, **fit})
    more = {**mine, "distill": {"images_per_class": 21}}
    answer = api.client.post("/v1/jobs", json={"kind": "distill", "params": more}).json()
    assert "has for training; got 21" in answer["errors"][0]["detail"]
    assert api.client.get("/v1/datasets/digits").json()["facts"]["n_validation"] is None
