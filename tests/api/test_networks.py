"""Which networks and coresets can be asked for, alone and in a pipeline."""

import pytest

from tests.api.npz import npz_bytes
from tests.api.serving import FACTS, refusals

NONE = [{"method": "none"}]
HERDING = {"source": "herding", "images_per_class": 3}
TRAIN = {"dataset": "digits", "training_set": {"source": "random", "images_per_class": 1}}
PIPELINE = {"dataset": "digits", "calibrate": NONE, "distill": {"images_per_class": 3}}
NETWORKS = [
    {"network": "alexnet"},
    {"network": "vit", "width": 32, "heads": 2},
    {"network": "resnet18", "norm": "batch"},
    {"network": "resnet18"},
]


def refused(api, kind, params):
    """(pointer, code) pairs of a submission that has to be refused, and leaves nothing."""
    before = api.n_jobs()
    answer = api.client.post("/v1/jobs", json={"kind": kind, "params": params})
    assert api.n_jobs() == before
    return refusals(answer)


@pytest.mark.parametrize(
    ("train", "filled_in"),
    [
        ({}, {"network": "convnet", "width": 32, "depth": 3, "norm": "instance", "heads": None}),
        ({"network": "convnet", "width": 8, "depth": 2}, {"pooling": "avg", "activation": "relu"}),
        ({"pooling": "none", "depth": 9}, {"depth": 9}),
        ({"network": "alexnet"}, {"width": None, "depth": None, "norm": None}),
        ({"network": "vgg11", "norm": "batch"}, {"norm": "batch", "width": None}),
        ({"network": "resnet18"}, {"norm": "instance"}),
        ({"network": "vit"}, {"width": 128, "depth": 4, "heads": 4, "patch_size": None}),
        ({"network": "vit", "patch_size": 8}, {"patch_size": 8}),
        ({"augmentation": ["flip", "crop"]}, {"augmentation": ["flip", "crop"], "lr": None}),
    ],
)
def test_networks_are_taken_with_their_options(shared_api, train, filled_in):
    """The job's params have the options that belong to the network, defaults filled in."""
    body = shared_api.submit("train", {**TRAIN, "train": train})
    found = body["params"]["train"]
    assert {name: found[name] for name in filled_in} == filled_in


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ({"network": "alexnet", "width": 32}, [("/params/train/width", "invalid_value")]),
        ({"network": "resnet18", "depth": 18}, [("/params/train/depth", "out_of_range")]),
        (
            {"network": "vgg11", "depth": 11, "pooling": "max"},
            [("/params/train/depth", "invalid_value"), ("/params/train/pooling", "invalid_value")],
        ),
        ({"network": "lenet"}, [("/params/train/network", "unknown_value")]),
        ({"network": None}, [("/params/train/network", "unknown_value")]),
        ({"network": ["vit"]}, [("/params/train/network", "unknown_value")]),
        ({"norm": "group", "width": 6}, [("/params/train/norm", "invalid_value")]),
        ({"network": "vit", "heads": 3}, [("/params/train/heads", "invalid_value")]),
        ({"augmentation": ["flip", "flip"]}, [("/params/train/augmentation", "invalid_value")]),
        (
            {"drop": {"what": "patches", "share": 0.3, "patch_size": 9}},
            [("/params/train/drop/patch_size", "patch_too_large")],
        ),
        ({"drop": {"what": "pixels", "share": 1}}, [("/params/train/drop/share", "out_of_range")]),
        ({"drop": {"what": "pixels"}}, [("/params/train/drop/share", "missing_field")]),
        ({"drop": {"what": "rows", "share": 0}}, [("/params/train/drop/what", "unknown_value")]),
        (
            {"drop": {"what": "images", "share": 0.5, "patch_size": 2}},
            [("/params/train/drop/patch_size", "unknown_field")],
        ),
        (
            {"optimiser": {"name": "adamw", "warm_up": 1.0}},
            [("/params/train/optimiser/warm_up", "out_of_range")],
        ),
        ({"optimiser": {"name": "adamw"}, "momentum": 0.5}, [("/params/train", "invalid_value")]),
        ({"optimiser": {"name": "adam"}}, [("/params/train/optimiser/name", "unknown_value")]),
        ({"network": "resnet50", "depth": 3}, [("/params/train/depth", "invalid_value")]),
        ({"augmentation": ["blur"]}, [("/params/train/augmentation/0", "unknown_value")]),
        # Digits are 8 x 8.
        ({"network": "vit", "patch_size": 9}, [("/params/train/patch_size", "patch_too_large")]),
        ({"pooling": "max", "depth": 4}, [("/params/train/depth", "depth_too_large")]),
    ],
)
def test_what_no_network_can_be_is_refused(shared_api, train, expected):
    """At the field, before anything is queued."""
    assert refused(shared_api, "train", {**TRAIN, "train": train}) == expected


def test_a_teacher_is_asked_for_within_its_ranges(shared_api):
    """As a training set, and as a baseline, which has the size of the distilled set."""
    taught = {"source": "taught", "images_per_class": 3, "teacher": {"epochs": 0}}
    expected = [("/params/training_set/teacher/epochs", "out_of_range")]
    assert refused(shared_api, "train", {**TRAIN, "training_set": taught}) == expected
    baseline = {"source": "taught", "images_per_class": 3}
    expected = [("/params/baselines/0/images_per_class", "unknown_field")]
    asked = {"dataset": "digits", "baselines": [baseline]}
    assert refused(shared_api, "pipeline", asked) == expected
    many = {"source": "taught", "images_per_class": 5_000}
    expected = [("/params/training_set/images_per_class", "images_per_class_too_large")]
    assert refused(shared_api, "train", {**TRAIN, "training_set": many}) == expected


def test_each_further_network_is_a_row_beside_small_baselines(api):
    """On the distilled set, on random and on herded images, not on the full data."""
    baselines = [{"source": "random"}, {"source": "herding"}, {"source": "full", "n_images": 50}]
    changes = {"train_networks": NETWORKS, "baselines": baselines, "train": {"epochs": 7}}
    body = api.submit("pipeline", PIPELINE | changes)
    params = {child["role"]: api.job(child["id"])["params"] for child in body["children"]}
    names = ["", "-alexnet", "-vit", "-resnet18", "-resnet18-2"]
    rows = [f"{source}{name}" for source in ("distilled", "random", "herding") for name in names]
    assert set(params) == {
        "distill",
        "evaluate",
        *(f"{kind}-{row}" for kind in ("train", "calibrate") for row in [*rows, "full"]),
    }
    for source in ("distilled", "random", "herding"):
        trained = [params[f"train-{source}{name}"] for name in names]
        assert [one["train"]["network"] for one in trained] == [
            "convnet", "alexnet", "vit", "resnet18", "resnet18",
        ]  # fmt: skip
        assert [one["train"]["width"] for one in trained] == [32, None, 32, None, None]
        assert [one["train"]["norm"] for one in trained] == [
            "instance", None, None, "batch", "instance",
        ]  # fmt: skip
        assert {one["train"]["epochs"] for one in trained} == {7}
        assert all(one["training_set"] == trained[0]["training_set"] for one in trained)
    assert params["train-herding-vit"]["training_set"] == {
        "source": "herding",
        "images_per_class": 3,
        "features": {"name": "convnet", "width": 32, "depth": 3, "epochs": 10, "n_images": 5000},
    }
    assert len(params["evaluate"]["calibrations"]) == len(rows) + 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"train_networks": [{"network": "vit"}, {"network": "vit", "depth": 4}]},
            [("/params/train_networks", "invalid_value")],
        ),
        (
            {"train": {"width": 8}, "train_networks": [{"width": 8}]},
            [("/params/train_networks", "invalid_value")],
        ),
        (
            {"train_networks": [{"network": "alexnet", "norm": "batch"}]},
            [("/params/train_networks/0/norm", "invalid_value")],
        ),
        (
            {"train_networks": [{"network": "alexnet", "epochs": 3}]},
            [("/params/train_networks/0/epochs", "unknown_field")],
        ),
        (
            {"train_networks": [{"network": "vgg11"}, {"depth": 4}]},
            [("/params/train_networks/1/depth", "depth_too_large")],
        ),
        (
            {"baselines": [{"source": "herding"}, {"source": "herding"}]},
            [("/params/baselines/1", "duplicate_baseline")],
        ),
        (
            {"baselines": [{"source": "herding", "features": {"name": "convnet", "depth": 4}}]},
            [("/params/baselines/0/features/depth", "depth_too_large")],
        ),
        (
            {
                "baselines": [{"source": "herding"}],
                "distill": {"images_per_class": 102, "init": "noise"},
            },
            [("/params/distill/images_per_class", "images_per_class_too_large")],
        ),
    ],
)
def test_pipelines_of_what_cannot_be_are_refused(shared_api, changes, expected):
    """Each with the place of what is wrong."""
    assert refused(shared_api, "pipeline", PIPELINE | changes) == expected


@pytest.mark.parametrize(
    ("training_set", "expected"),
    [
        ({"images_per_class": 102}, ("images_per_class", "images_per_class_too_large")),
        ({"features": {"name": "convnet", "depth": 4}}, ("features/depth", "depth_too_large")),
        ({"features": {"name": "pixels", "depth": 1}}, ("features/depth", "unknown_field")),
        ({"features": {"name": "sift"}}, ("features/name", "unknown_value")),
    ],
)
def test_herding_of_what_cannot_be_is_refused(shared_api, training_set, expected):
    """More than the smallest class has; a network deeper than the image; no such features."""
    params = {"dataset": "digits", "training_set": {**HERDING, **training_set}}
    field, code = expected
    assert refused(shared_api, "train", params) == [(f"/params/training_set/{field}", code)]


def test_herded_training_sets_are_taken(shared_api):
    """By pixels and by a network; without a data set there is nothing to choose from."""
    for features in ({"name": "pixels"}, {"name": "convnet", "epochs": 0}):
        training_set = {**HERDING, "features": features}
        shared_api.submit("train", {"dataset": "digits", "training_set": training_set})
    assert refused(shared_api, "train", {"training_set": HERDING}) == [("/params", "invalid_value")]


def test_networks_that_large_images_make_too_large_are_refused(api):
    """By tokens and by parameters; what fits images of 256 x 256 is taken."""
    api.client.post("/v1/datasets?name=large", **npz_bytes())
    facts = {"image_shape": [3, 256, 256], "mean": [0.5] * 3, "std": [0.25] * 3}
    api.check_upload(facts=FACTS | facts)
    large = {**TRAIN, "dataset": "large"}
    wide = {"width": 512, "depth": 1, "pooling": "none"}
    # 65,536 x 512 numbers a class, and 128 x 128 tokens.
    api.submit("train", {**large, "train": wide})
    many = {**FACTS, **facts, "class_names": list("abcdefghij")}
    many |= {f"{part}_class_counts": [5] * 10 for part in ("train", "test")}
    api.client.post("/v1/datasets?name=many", **npz_bytes())
    api.check_upload(facts=many)
    found = refused(api, "train", {**large, "dataset": "many", "train": wide})
    assert found == [("/params/train/width", "network_too_large")]
    vit = {"network": "vit", "patch_size": 2}
    expected = [("/params/train/patch_size", "too_many_tokens")]
    assert refused(api, "train", {**large, "train": vit}) == expected
    for network in ("convnet", "alexnet", "vgg11", "resnet18", "vit"):
        api.submit("train", {**large, "train": {"network": network}})
