"""The kinds, one after the other on a small data set, as a pipeline runs them."""

import ast
import csv
import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ddcal_core.data.input_space import Standard
from ddcal_core.errors import InvalidDataError, StoppedError
from ddcal_core.formats.manifests import ModelConfig, SetManifest, SetProvenance, Split
from ddcal_core.formats.records import read_record
from ddcal_core.formats.sets import write_distilled_set
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.training import CrossEntropy, TrainSpec
from ddcal_core.training.attribution import (
    areas_by_removal,
    concentration,
    integrated_gradients,
)
from ddcal_core.training.probing import linear_probe, probe_task
from ddcal_core.training.train import predict_logits, train_network
from tests.worker.small_jobs import (
    distill_params,
    file_of,
    model_input,
    run_kind,
    set_input,
    train_params,
    write_dataset,
)
from worker.trainer.fitting.calibration_images import CalibrationImages
from worker.trainer.inputs import DatasetInput, ModelInput, SetInput, parse_json
from worker.trainer.loading import cut, load_model, load_train_images
from worker.trainer.report.training_sets import group_models

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[3]
SPECS = [
    {"method": "none"},
    {"method": "ts", "fit_on": "validation"},
    {"method": "ts", "fit_on": "distilled"},
    {"method": "mts", "fit_on": "distilled", "mask": {"ratio": 0.7}},
]


class Pipeline:
    """Everything that distill, train and calibrate made of one small data set."""

    def __init__(self, folder):
        self.dataset = write_dataset(folder)
        (self.distilled,) = run_kind(
            "distill", distill_params(), {"dataset": self.dataset}, folder / "distill"
        )
        self.set = set_input(self.distilled)
        self.sets = {self.set["id"]: self.set}
        self.trained = {
            "distilled": self.train(
                {"source": "distilled", "distilled_set": self.set["id"]}, folder / "a"
            ),
            "random": self.train({"source": "random", "images_per_class": 2}, folder / "b"),
            "full": self.train({"source": "full", "n_images": 40}, folder / "c"),
        }
        self.models = {
            name: [model_input(output, f"mdl_{name}_{k}") for k, output in enumerate(outputs)]
            for name, outputs in self.trained.items()
        }
        self.calibrated = {
            name: self.calibrate(self.models[name], specs, folder / f"calibrate-{name}")
            for name, specs in (("distilled", SPECS), ("random", SPECS), ("full", SPECS[1:2]))
        }

    def train(self, training_set, folder, **changes):
        """Run a train job."""
        is_distilled = training_set["source"] == "distilled"
        inputs = {
            "dataset": None if is_distilled else self.dataset,
            "distilled_set": self.set if is_distilled else None,
        }
        return run_kind("train", train_params(training_set, **changes), inputs, folder)

    def calibrate(self, models, specs, folder):
        """Run a calibrate job."""
        params = {"models": ["mdl_" + "a" * 26], "seed": 1, "calibrate": specs}
        inputs = {"dataset": self.dataset, "models": models, "distilled_sets": self.sets}
        return run_kind("calibrate", params, inputs, folder)

    def evaluate(self, folder, calibrated=None, **changes):
        """Run an evaluate job over everything; give its output and report.json."""
        calibrated = calibrated or self.calibrated
        calibrations = [
            {
                "id": f"cal_{name}_{k}",
                "model_id": output.values["model_id"],
                "values": output.values,
            }
            for name, outputs in calibrated.items()
            for k, output in enumerate(outputs)
        ]
        test_path = Path(self.dataset["train_path"]).with_name("test.safetensors")
        inputs = {
            "dataset": self.dataset | {"test_path": str(test_path)},
            "models": [model for models in self.models.values() for model in models],
            "distilled_sets": self.sets,
            "calibrations": json.loads(json.dumps(calibrations)),
        }
        spec = {"n_bins": 10, "mts_ratios": [0.0, 0.5, 0.9]} | changes
        params = {"calibrations": ["cal_" + "a" * 26], "seed": 1, "evaluate": spec}
        (output,) = run_kind("evaluate", params, inputs, folder)
        return output, json.loads(file_of(output, "report.json").read_text())


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """One run of distill, train and calibrate for all tests here."""
    return Pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def report(pipeline, tmp_path_factory):
    """The report of that run: (output, report.json)."""
    return pipeline.evaluate(tmp_path_factory.mktemp("report") / "evaluate")


def facts_of(pipeline):
    """The data set's facts."""
    return DatasetFacts.model_validate_json(json.dumps(pipeline.dataset["facts"]))


def test_a_distilled_set_has_its_images_and_its_story(pipeline, tmp_path):
    """The files hold K times images_per_class images; the manifest carries normalisation, split."""
    values = pipeline.distilled.values
    tensors = load_file(file_of(pipeline.distilled, "distilled_set.safetensors"))
    assert tensors["images"].shape == (6, 1, 8, 8)
    assert tensors["labels"].tolist() == [0, 0, 1, 1, 2, 2]
    assert values["split"] == {
        "dataset": "small", "seed": 1, "n_validation": None, "classes": None, "imbalance": None,
    }  # fmt: skip
    assert values["real_class_counts"] == [24, 24, 24]
    assert values["n_real_images"] == 90 - 18
    assert (values["mask_ratio"], values["images_per_class"]) == (0.25, 2)
    assert values["mean"] == pipeline.dataset["facts"]["mean"]
    assert values == json.loads(file_of(pipeline.distilled, "manifest.json").read_text())


def test_the_same_recipe_gives_the_same_bytes(pipeline, tmp_path):
    """Distilling and training again on this machine repeats every byte of the tensors."""
    inputs = {"dataset": pipeline.dataset}
    (again,) = run_kind("distill", distill_params(), inputs, tmp_path / "distill")
    for name in ("distilled_set.safetensors", "distilled_set.npz"):
        assert file_of(again, name).read_bytes() == file_of(pipeline.distilled, name).read_bytes()
    random = pipeline.train({"source": "random", "images_per_class": 2}, tmp_path / "train")
    for new, old in zip(random, pipeline.trained["random"], strict=True):
        name = "model.safetensors"
        assert file_of(new, name).read_bytes() == file_of(old, name).read_bytes()


def test_networks_of_a_job_differ_by_seed(pipeline):
    """Each network has parameters of its own, and random baselines images of their own."""
    for outputs in pipeline.trained.values():
        first, second = (load_file(file_of(output, "model.safetensors")) for output in outputs)
        assert not torch.equal(first["classifier.weight"], second["classifier.weight"])
        assert [output.values["seed_index"] for output in outputs] == [0, 1]


def written_set(pipeline, folder, labels, **learned):
    """A distilled set as a train job is given it, of random images."""
    folder.mkdir()
    images = torch.randn(len(labels), 1, 8, 8, generator=seeded_generator(5))
    manifest = read_record(SetManifest, pipeline.set["manifest"])
    fields = dict(manifest)
    provenance = SetProvenance(**{name: fields[name] for name in SetProvenance.model_fields})
    manifest = write_distilled_set(
        folder, images, labels, space=Standard(facts_of(pipeline)), provenance=provenance, **learned
    )
    path = str(folder / "distilled_set.safetensors")
    return images, {"id": "set_" + "b" * 26, "path": path, "manifest": manifest.as_json()}


@pytest.mark.parametrize(("asked", "lr"), [({"lr": None}, 0.07), ({"lr": 0.2}, 0.2)])
def test_soft_labels_and_a_learned_learning_rate_are_trained_with(pipeline, tmp_path, asked, lr):
    """Training by hand with both gives the model's bytes; a learning rate asked for wins."""
    soft = torch.softmax(torch.randn(6, 3, generator=seeded_generator(6)), 1)
    images, inputs = written_set(pipeline, tmp_path / "set", soft, learned_lr=0.07)
    training_set = {"source": "distilled", "distilled_set": inputs["id"]}
    params = train_params(training_set, n_seeds=1, epochs=5, **asked)
    whole = {"dataset": None, "distilled_set": inputs}
    (output,) = run_kind("train", params, whole, tmp_path / "train")
    assert (output.values["train"]["lr"], output.values["lr_is_learned"]) == (lr, lr == 0.07)
    assert output.values["has_soft_labels"]
    spec = parse_json(TrainSpec, output.values["train"])
    network = build_network(spec, facts_of(pipeline), seeded_generator(1, "network", 0))
    train_network(network, images, soft, spec, generator=seeded_generator(1, "order", 0))
    stored = load_file(file_of(output, "model.safetensors"))
    assert all(torch.equal(stored[key], value) for key, value in network.state_dict().items())


def calibration_images(pipeline):
    """The finder of images, as a calibrate job has it."""
    sets = {key: parse_json(SetInput, value) for key, value in pipeline.sets.items()}
    return CalibrationImages(parse_json(DatasetInput, pipeline.dataset), sets, torch.device("cpu"))


def rows_as_bytes(images):
    """Images as a set of bytes, to look for one among others."""
    return {image.numpy().tobytes() for image in images}


def test_a_random_baselines_images_are_found_again(pipeline):
    """Training by hand on the images that calibration finds gives the model's own bytes."""
    images = calibration_images(pipeline)
    seen = []
    for k, model in enumerate(pipeline.models["random"]):
        own = images.of(parse_json(ModelInput, model), "training_set")
        assert own.labels.bincount().tolist() == [2, 2, 2]
        spec = parse_json(TrainSpec, model["config"]["train"])
        network = build_network(spec, facts_of(pipeline), seeded_generator(1, "network", k))
        order = seeded_generator(1, "order", k)
        train_network(network, own.images, own.labels, spec, generator=order)
        trained = load_file(model["path"])
        assert all(torch.equal(trained[key], value) for key, value in network.state_dict().items())
        seen.append(rows_as_bytes(own.images[:]))
    assert seen[0] != seen[1]


@pytest.mark.parametrize(
    "drop",
    [
        {"what": "pixels", "share": 0.5},
        {"what": "patches", "share": 0.5, "patch_size": 2},
        {"what": "components", "share": 0.5, "which": "random"},
        {"what": "images", "share": 0.5},
    ],
    ids=lambda drop: drop["what"],
)
@pytest.mark.parametrize("source", ["random", "distilled"])
def test_what_was_dropped_is_missing_where_temperatures_are_fitted(
    pipeline, tmp_path, source, drop
):
    """Training by hand on the images that calibration finds gives the model's own bytes."""
    own = {"images_per_class": 2} if source == "random" else {"distilled_set": pipeline.set["id"]}
    outputs = pipeline.train({"source": source, **own}, tmp_path / "train", drop=drop)
    images, seen = calibration_images(pipeline), []
    for k, output in enumerate(outputs):
        model = {
            "id": f"mdl_{k}",
            "path": str(file_of(output, "model.safetensors")),
            "config": output.values,
        }
        left = images.of(parse_json(ModelInput, json.loads(json.dumps(model))), "training_set")
        config = output.values
        assert config["train"]["drop"] == drop
        n_left = 3 if drop["what"] == "images" else 6
        assert config["n_train"] == len(left.labels) == len(left.images) == n_left
        spec = parse_json(TrainSpec, config["train"])
        network = build_network(spec, facts_of(pipeline), seeded_generator(1, "network", k))
        order = seeded_generator(1, "order", k)
        train_network(network, left.images, left.labels, spec, generator=order)
        stored = load_file(model["path"])
        assert all(torch.equal(stored[key], value) for key, value in network.state_dict().items())
        seen.append(rows_as_bytes(left.images[:]))
    if n_left == 6:  # of two images per class, two networks may draw the same
        assert seen[0] != seen[1]


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_teacher_labels_the_random_images(pipeline, tmp_path, temperature):
    """A teacher trained by hand on all real images gives the labels, and so the models' bytes."""
    teacher = {"epochs": 3, "temperature": temperature}
    training_set = {"source": "taught", "images_per_class": 2, "teacher": teacher}
    loss = {"name": "label_smoothing", "smoothing": 0.1}
    outputs = pipeline.train(training_set, tmp_path / "train", loss=loss)
    facts, dataset = facts_of(pipeline), parse_json(DatasetInput, pipeline.dataset)
    data = load_train_images(dataset)
    places, _ = cut(data, Split(dataset=dataset.name, seed=1, n_validation=None), 3)
    real = Standard(facts)(data.images[places].float() / 255)
    spec = parse_json(TrainSpec, outputs[0].values["train"])
    plain = {"epochs": 3, "loss": CrossEntropy(name="cross_entropy")}
    taught_by = build_network(spec, facts, seeded_generator(1, "teacher", "network"))
    train_network(
        taught_by,
        real,
        data.labels[places],
        spec.model_copy(update=plain),
        generator=seeded_generator(1, "teacher", "order"),
    )
    images = calibration_images(pipeline)
    for k, output in enumerate(outputs):
        config = output.values
        assert (config["training_set"], config["has_soft_labels"]) == ("taught", True)
        assert (config["teacher"], config["images_per_class"]) == (teacher, 2)
        model = {"id": f"mdl_{k}", "path": str(file_of(output, "model.safetensors"))}
        found = parse_json(ModelInput, json.loads(json.dumps({**model, "config": config})))
        own = images.of(found, "training_set")
        at_random = images.of(parse_json(ModelInput, pipeline.models["random"][k]), "training_set")
        assert torch.equal(own.images[:], at_random.images[:])
        logits = predict_logits(taught_by, own.images).double()
        soft = (logits / temperature).softmax(1).float()
        network = build_network(spec, facts, seeded_generator(1, "network", k))
        order = seeded_generator(1, "order", k)
        train_network(network, own.images, soft, spec, generator=order)
        stored = load_file(model["path"])
        assert all(torch.equal(stored[key], value) for key, value in network.state_dict().items())


def test_a_full_set_without_components_is_trained_on_batch_by_batch(pipeline, tmp_path):
    """More images than numbers, kept as pixels; the report tells the networks apart."""
    drop = {"what": "components", "share": 0.9}
    dropped = pipeline.train({"source": "full"}, tmp_path / "dropped", drop=drop)
    whole = pipeline.train({"source": "full"}, tmp_path / "whole")
    assert dropped[0].values["n_train"] == whole[0].values["n_train"] == 72
    first, second = (load_file(file_of(one[0], "model.safetensors")) for one in (dropped, whole))
    assert not torch.equal(first["classifier.weight"], second["classifier.weight"])
    config = read_record(ModelConfig, dropped[0].values)
    models = [ModelInput(id="mdl_0", path=Path("/"), config=config)]
    (group,) = group_models(models, {})
    assert group.label == "full (72 images), 90\u202f% of smallest components dropped"


def test_validation_images_were_never_trained_on(pipeline):
    """Validation has the counts of the split and no image in common with what was trained on."""
    images = calibration_images(pipeline)
    for model in pipeline.models["random"]:
        parsed = parse_json(ModelInput, model)
        validation = images.of(parsed, "validation")
        assert validation.labels.bincount().tolist() == [6, 6, 6]
        own = images.of(parsed, "training_set")
        assert not rows_as_bytes(validation.images[:]) & rows_as_bytes(own.images[:])


def test_a_network_on_the_full_data_has_no_small_set(pipeline, tmp_path):
    """fit_on: training_set is refused for it, in words."""
    with pytest.raises(ValueError, match="wants a network trained on a small set; mdl_full_0"):
        pipeline.calibrate(pipeline.models["full"], SPECS[2:3], tmp_path / "calibrate")


def test_more_images_than_there_are_is_refused(pipeline, tmp_path):
    """A full baseline of more images than the cut leaves is refused, saying how many there are."""
    with pytest.raises(InvalidDataError, match=r"wanted 73 training images.*leaves 72"):
        pipeline.train({"source": "full", "n_images": 73}, tmp_path / "train")


def test_a_separable_fit_succeeds_without_a_program(pipeline):
    """TS on the set a network has learnt by heart: status, null temperature, no .pt2."""
    by_method = [output for output in pipeline.calibrated["random"] if output.key.endswith("_2")]
    assert [output.values["status"] for output in by_method] == ["separable", "separable"]
    for output in by_method:
        assert output.values["temperature"] is None
        assert [path.name for path in output.files] == ["model.safetensors", "config.json"]


def test_calibrations_come_model_by_model_with_their_files(pipeline):
    """Four specs on two networks give eight calibrations; weights are the model's own bytes."""
    outputs = pipeline.calibrated["distilled"]
    assert [output.values["method"] for output in outputs] == ["none", "ts", "ts", "mts"] * 2
    weights = Path(pipeline.models["distilled"][1]["path"]).read_bytes()
    assert file_of(outputs[-1], "model.safetensors").read_bytes() == weights
    config = json.loads(file_of(outputs[-1], "config.json").read_text())
    assert config["temperature"] == outputs[-1].values["temperature"] > 0
    assert outputs[-1].values["mask_ratio"] == 0.7
    json.dumps([dict(output.values) for output in outputs], allow_nan=False)


def test_calibrations_name_what_went_wrong(pipeline):
    """Guards are in the values: accuracies unmasked and masked, T over the spread, failures."""
    for outputs in pipeline.calibrated.values():
        for values in (output.values for output in outputs):
            if values["method"] == "none":
                assert (values["failures"], values["logit_spread"]) == ([], None)
                continue
            assert (values["relative_temperature"] is None) == (values["temperature"] is None)
            if values["temperature"] is not None:
                ratio = values["temperature"] / values["logit_spread"]
                assert values["relative_temperature"] == pytest.approx(ratio)
            if values["method"] == "mts":
                lost = values["masked_accuracy"] - 1 / 3 < (values["clean_accuracy"] - 1 / 3) / 2
                assert ("accuracy_lost" in values["failures"]) == lost
            if values["fit_on"] == "training_set":
                assert not {"over_calibration", "under_calibration"} & set(values["failures"])


def test_a_mask_of_nearly_everything_loses_the_accuracy(pipeline, tmp_path):
    """At 99 % masked the calibration says that the network only guesses."""
    specs = [{"method": "mts", "fit_on": "distilled", "mask": {"ratio": 0.99}}]
    outputs = pipeline.calibrate(pipeline.models["random"], specs, tmp_path / "calibrate")
    assert all("accuracy_lost" in output.values["failures"] for output in outputs)


def test_a_ratio_left_open_is_found_and_says_how(pipeline, tmp_path):
    """From the small set alone, or by the NLL of labelled validation images; the same again."""
    specs = [
        {"method": "mts", "fit_on": fit_on, "mask": {"ratio": "auto"}}
        for fit_on in ("training_set", "validation")
    ]
    models = pipeline.models["random"][:1]
    first, second = (
        [output.values for output in pipeline.calibrate(models, specs, tmp_path / folder)]
        for folder in ("first", "second")
    )
    assert first == second
    alone, by_labels = first
    assert (alone["method"], alone["found_by"], alone["mask_ratio"]) == ("mts", "folds", None)
    assert alone["temperature"] == pytest.approx(alone["half_way_temperature"] * alone["factor"])
    assert (alone["n"], alone["n_folds"]) == (6, 2)
    assert by_labels["found_by"] == "real_nll"
    side = by_labels.get("mask_patch_size")
    patches = {} if side is None else {"unit": "patch", "patch_size": side}
    fixed = [{"method": "mts", "mask": {"ratio": by_labels["mask_ratio"], **patches}}]
    (again,) = pipeline.calibrate(models, fixed, tmp_path / "fixed")
    assert again.values["temperature"] == by_labels["temperature"]


def test_a_network_that_says_the_same_of_all_is_not_called_perfect(pipeline, tmp_path):
    """No ratio has a temperature then, either: each fits alike."""
    model = dict(pipeline.models["random"][0])
    tensors = {name: torch.zeros_like(one) for name, one in load_file(model["path"]).items()}
    model["path"] = str(tmp_path / "model.safetensors")
    save_file(tensors, model["path"])
    specs = [{"method": "mts", "fit_on": "validation", "mask": {"ratio": "auto"}}]
    (output,) = pipeline.calibrate([model], specs, tmp_path / "calibrate")
    assert (output.values["status"], output.values["temperature"]) == ("unidentified", None)


def ece_by_loop(probabilities, labels, n_bins):
    """ECE by its definition, one sample at a time."""
    bins = [[0, 0.0, 0] for _ in range(n_bins)]
    for row, label in zip(probabilities, labels, strict=True):
        confidence = max(row)
        place = max(0, math.ceil(confidence * n_bins) - 1)
        bins[place][0] += 1
        bins[place][1] += confidence
        bins[place][2] += int(np.argmax(row)) == label
    return sum(abs(right - total) for n, total, right in bins if n) / len(labels)


def test_the_report_says_what_the_exported_programs_show(pipeline, report):
    """Accuracy, ECE, NLL and Brier of the report are those of the .pt2 on the test images."""
    _, numbers = report
    test = load_file(Path(pipeline.dataset["train_path"]).with_name("test.safetensors"))
    pixels, labels = test["images"].float() / 255, test["labels"].numpy()
    networks = {
        network["calibration_id"]: network for row in numbers["rows"] for network in row["networks"]
    }
    n_compared = 0
    for name, outputs in pipeline.calibrated.items():
        for k, output in enumerate(outputs):
            if output.values["temperature"] is None:
                continue
            program = torch.export.load(file_of(output, "calibrated_model.pt2")).module()
            shown = program(pixels).detach().double().numpy()
            found = networks[f"cal_{name}_{k}"]
            at_label = shown[np.arange(len(labels)), labels]
            onehot = np.eye(3)[labels]
            assert found["accuracy"] == (shown.argmax(1) == labels).mean()
            assert found["ece"] == pytest.approx(ece_by_loop(shown, labels, 10), abs=2e-5)
            assert found["nll"] == pytest.approx(-np.log(at_label).mean(), rel=1e-4)
            assert found["brier"] == pytest.approx(((shown - onehot) ** 2).sum(1).mean(), abs=1e-5)
            n_compared += 1
    assert n_compared >= 12


def test_the_predictions_are_those_behind_the_table(report):
    """predictions.csv.gz gives each calibration's accuracy, confidence and ECE back."""
    output, numbers = report
    path = file_of(output, "predictions.csv.gz")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    networks = [network for row in numbers["rows"] for network in row["networks"]]
    assert len(lines) == 60 * len(networks)
    for network in networks:
        own = [
            line
            for line in lines
            if line["model_id"] == network["model_id"]
            and line["calibration_id"] == (network["calibration_id"] or "")
        ]
        assert [int(line["image"]) for line in own] == list(range(60))
        assert {line["label_name"] for line in own} == {"cat & dog", "<b>bold</b>", "Ärger"}
        right = np.array([int(line["correct"]) for line in own])
        shown = np.array([float(line["confidence"]) for line in own])
        assert network["accuracy"] == right.mean()
        assert network["signed_gap"] == pytest.approx(shown.mean() - right.mean(), abs=1e-8)
        places = np.clip(np.ceil(shown * 10).astype(int) - 1, 0, 9)
        gaps = [abs((shown - right)[places == m].sum()) for m in range(10)]
        assert network["ece"] == pytest.approx(sum(gaps) / 60, abs=1e-6)


def test_the_report_has_the_two_causes(report, pipeline):
    """Logits of every training set on common axes; the set's spectrum beside five real sets."""
    _, numbers = report
    logits = numbers["logit_analysis"]
    labels = [one["label"] for one in numbers["training_sets"]]
    assert [one["training_set_label"] for one in logits] == labels
    for name in ("largest_logit", "margin"):
        assert len({tuple(one[name]["edges"]) for one in logits}) == 1
        assert [sum(one[name]["counts"]) for one in logits] == [2 * 60] * 3
    (spectrum,) = numbers["spectrum_analysis"]
    assert (spectrum["n_images"], spectrum["n_real_sets"]) == (6, 5)
    images = load_file(pipeline.set["path"])["images"].double().flatten(1)
    values = torch.linalg.svdvals(images - images.mean(0))
    shown = spectrum["centred"]["distilled"]["relative_values"]
    assert shown == pytest.approx((values / values[0]).tolist(), abs=1e-9)
    assert spectrum["centred"]["real"]["effective_rank"]["std"] > 0


def test_random_sets_beside_a_spectrum_are_the_baselines_own(pipeline):
    """The first of them are the images that random baselines of that seed were trained on."""
    images = calibration_images(pipeline)
    distilled = parse_json(SetInput, pipeline.set)
    sets = images.random_real(distilled, 3)
    for model, own in zip(pipeline.models["random"], sets, strict=False):
        found = images.of(parse_json(ModelInput, model), "training_set").images
        assert torch.equal(found[:], own)
    too_many = distilled.manifest.model_copy(update={"images_per_class": 99})
    assert images.random_real(distilled.model_copy(update={"manifest": too_many}), 3) == []


def test_limits_stand_where_there_is_no_temperature(report):
    """A separable row shows ECE and gap 1 - accuracy, twice that as Brier, no finite NLL."""
    _, numbers = report
    rows = [row for row in numbers["rows"] if row["status"] == "separable"]
    assert rows
    for row in rows:
        for network in row["networks"]:
            wrong = 1 - network["accuracy"]
            assert wrong > 0
            assert network["ece"] == pytest.approx(wrong)
            assert network["signed_gap"] == pytest.approx(wrong)
            assert network["brier"] == pytest.approx(2 * wrong)
            assert network["nll"] is None
            assert network["null_p95"] == 0
        assert row["nll"] == {"mean": None, "std": None, "word": "infinite"}
        assert "No temperature is best" in row["words"]


def test_the_table_has_every_training_set_and_its_reference(report):
    """One row a training set and calibration; `none` comes first, asked for or not."""
    _, numbers = report
    table = [(row["training_set"], row["calibration"]) for row in numbers["rows"]]
    calibrations = [
        "none",
        "TS on validation",
        "TS on training set",
        "MTS 70\u202f% on training set",
    ]
    assert table == [
        *(("distilled", calibration) for calibration in calibrations),
        *(("random", calibration) for calibration in calibrations),
        ("full", "none"),
        ("full", "TS on validation"),
    ]
    assert numbers["rows"][-2]["calibration_ids"] == []
    for row in numbers["rows"]:
        assert (row["n_networks"], row["n_test"], row["n_bins"]) == (2, 60, 10)
        eces = [network["ece"] for network in row["networks"]]
        assert row["ece"]["mean"] == pytest.approx(np.mean(eces))
        assert row["ece"]["std"] == pytest.approx(np.std(eces, ddof=1))
        assert 0 <= row["null_mean"]["mean"] <= row["null_p95"]["mean"]
        assert sum(row["networks"][0]["bins"]["count"]) == 60


def test_the_curve_meets_the_calibrations_at_their_ratio(report, pipeline):
    """At ratio 0 the curve is TS on the same images; each small set has two curves."""
    _, numbers = report
    curves = numbers["mts_curves"]
    assert [curve["fit_on"] for curve in curves] == ["training_set", "validation"] * 2
    assert [[point["ratio"] for point in curve["points"]] for curve in curves] == [
        [0.0, 0.5, 0.9]
    ] * 4
    for curve in curves:
        name = f"TS on {curve['fit_on'].replace('_', ' ')}"
        (row,) = [
            row
            for row in numbers["rows"]
            if row["training_set_label"] == curve["training_set_label"]
            and row["calibration"] == name
        ]
        assert curve["points"][0]["statuses"] == row["statuses"]
        assert curve["points"][0]["ece"]["mean"] == pytest.approx(row["ece"]["mean"])


def test_probes_read_frozen_features(pipeline, tmp_path):
    """Of every training set, beside an untrained network and shuffled targets, by hand."""
    asked = ["rotation", "position", "brightness"]
    output, numbers = pipeline.evaluate(tmp_path / "evaluate", mts_ratios=[], probes=asked)
    labels = [one["label"] for one in numbers["training_sets"]]
    assert [one["training_set_label"] for one in numbers["probes"]] == labels
    images = calibration_images(pipeline)
    for one, models in zip(numbers["probes"], pipeline.models.values(), strict=True):
        assert [scores["probe"] for scores in one["probes"]] == asked
        for scores in one["probes"]:
            assert scores["chance"] == 0.25
            read = {"accuracy": [], "untrained": []}
            for k, model in enumerate(models):
                parsed = parse_json(ModelInput, model)
                data, _, places = images._cut(parsed.config.split)
                pixels = data.images[places].float() / 255
                draw = seeded_generator(1, "probe", scores["probe"])
                task = probe_task(scores["probe"], pixels, parsed.config.mean, draw)
                shown = Standard(parsed.config.facts)(task.pixels)
                fresh = seeded_generator(1, "untrained", 1, k)
                untrained = build_network(parsed.config.network, parsed.config.facts, fresh)
                for name, network in (
                    ("accuracy", load_model(parsed, torch.device("cpu"))),
                    ("untrained", untrained.eval()),
                ):
                    with torch.no_grad():
                        features = network.embed(shown)
                    read[name].append(linear_probe(features, task.targets))
            for name, found in read.items():
                assert scores[name]["mean"] == pytest.approx(np.mean(found)), name
            assert 0 <= scores["shuffled"]["mean"] < 0.7
    assert "What do the networks know" in file_of(output, "report.html").read_text()


def test_attributions_are_of_the_networks_own_answers(pipeline, tmp_path):
    """Of every training set and network, by hand; each explained for what it answers."""
    _, numbers = pipeline.evaluate(tmp_path / "evaluate", mts_ratios=[], attributions=True)
    labels = [one["label"] for one in numbers["training_sets"]]
    assert [one["training_set_label"] for one in numbers["attributions"]] == labels
    images = calibration_images(pipeline)
    for one, models in zip(numbers["attributions"], pipeline.models.values(), strict=True):
        assert len(one["networks"]) == len(models)
        for model, scores in zip(models, one["networks"], strict=True):
            parsed = parse_json(ModelInput, model)
            pixels = images.validation_pixels(parsed, 200)
            assert one["n_images"] == len(pixels)
            network = load_model(parsed, torch.device("cpu"))
            shown = Standard(parsed.config.facts)(pixels)
            answers = network(shown).argmax(1)
            saliency = integrated_gradients(network, shown, answers).sum(1)
            deletion, insertion = areas_by_removal(network, shown, saliency.abs(), answers)
            assert scores["concentration"] == pytest.approx(float(concentration(saliency).mean()))
            assert scores["deletion"] == pytest.approx(float(deletion.mean()), rel=1e-4)
            assert scores["insertion"] == pytest.approx(float(insertion.mean()), rel=1e-4)
            assert 0 < scores["random_order"] < 1


def test_hlr_and_ior_stand_beside_accuracy(report):
    """Of the distilled set, from the rows without a calibration."""
    _, numbers = report
    (scores,) = numbers["ranking"]
    mean = {
        row["training_set"]: row["accuracy"]["mean"]
        for row in numbers["rows"]
        if row["method"] == "none"
    }
    wanted = mean["distilled"] - mean["random"]
    assert scores["improvement_over_random"]["mean"] == pytest.approx(wanted)
    assert scores["hard_label_recovery"]["mean"] == pytest.approx(mean["full"] - mean["distilled"])


def test_logits_are_looked_at_under_masks(report, pipeline):
    """Of every training set at the ratios of the curves: those of the networks themselves."""
    _, numbers = report
    curves = numbers["masked_logits"]
    labels = [one["label"] for one in numbers["training_sets"]]
    assert [curve["training_set_label"] for curve in curves] == labels
    images = calibration_images(pipeline)
    for curve, models in zip(curves, pipeline.models.values(), strict=True):
        assert [point["ratio"] for point in curve["points"]] == [0.0, 0.5, 0.9]
        plain = curve["points"][0]
        assert plain["over_masks"]["mean"] == 0
        assert all(point["over_masks"]["mean"] > 0 for point in curve["points"][1:])
        means, deviations = [], []
        for model in models:
            parsed = parse_json(ModelInput, model)
            shown = images.of(parsed, "validation").images
            network = load_model(parsed, torch.device("cpu"))
            largest = predict_logits(network, shown).double().amax(1)
            means.append(float(largest.mean()))
            deviations.append(float(largest.std()))
        assert plain["largest_logit"]["mean"] == pytest.approx(np.mean(means))
        assert plain["deviation"]["mean"] == pytest.approx(np.mean(deviations))
        assert curve["words"].startswith(f"{curve['training_set_label']}: from 0")


def test_a_calibration_of_two_jobs_is_two_rows(pipeline, tmp_path):
    """No network is counted twice; one that a network lacks is shown and not compared."""
    again = pipeline.calibrated["distilled"]
    first = again[0].values["model_id"]
    more = {
        "again": again,
        "once more": [one for one in again if one.values["model_id"] == first],
    }
    _, numbers = pipeline.evaluate(
        tmp_path / "evaluate", calibrated={**pipeline.calibrated, **more}, mts_ratios=[]
    )
    rows = [row for row in numbers["rows"] if row["training_set"] == "distilled"]
    names = [row["calibration"] for row in rows if row["method"] == "ts"]
    fits = ("TS on validation", "TS on training set")
    assert names == [f"{fit}{n}" for n in ("", " #2", " #3") for fit in fits]
    for row in rows:
        ids = [network["model_id"] for network in row["networks"]]
        assert len(set(ids)) == len(ids) == (1 if "#3" in row["calibration"] else 2)
    for compared in numbers["comparisons"]:
        assert "#3" not in compared["words"]


def test_masks_of_calibrate_and_evaluate_are_the_same(pipeline, tmp_path):
    """With equal seeds the curve's temperature at a ratio is the calibration's own."""
    _, numbers = pipeline.evaluate(tmp_path / "evaluate", mts_ratios=[0.7])
    for row in numbers["rows"]:
        if row["method"] == "mts":
            (point,) = next(
                curve["points"]
                for curve in numbers["mts_curves"]
                if curve["training_set_label"] == row["training_set_label"]
            )
            found = [network["temperature"] for network in row["networks"]]
            assert [network["temperature"] for network in point["networks"]] == found


def test_a_mask_has_curves_of_its_own(pipeline, tmp_path):
    """Curves are drawn with each mask asked for; at ratio 0 all masks are one."""
    patches = {"unit": "patch", "patch_size": 4}
    _, numbers = pipeline.evaluate(
        tmp_path / "evaluate", mts_ratios=[0.0, 0.6], mts_masks=[{}, patches]
    )
    curves = numbers["mts_curves"]
    assert [(curve["mask"]["patch_size"], curve["fit_on"]) for curve in curves] == [
        (None, "training_set"),
        (None, "validation"),
        (4, "training_set"),
        (4, "validation"),
    ] * 2
    for pixels, in_patches in zip(curves[4:6], curves[6:8], strict=True):
        assert pixels["points"][0] == in_patches["points"][0]
        assert pixels["points"][1]["ece"] != in_patches["points"][1]["ece"]
        accuracies = [one["masked_accuracy"] for one in pixels["points"][1]["networks"]]
        mean = pixels["points"][1]["masked_accuracy"]["mean"]
        assert mean == pytest.approx(np.mean(accuracies))


def test_what_is_stored_of_a_report_is_its_table(report):
    """The values are finite JSON with the rows but not each network's bins."""
    output, numbers = report
    stored = json.loads(json.dumps(dict(output.values), allow_nan=False))
    assert stored["headline"] == numbers["headline"]
    assert len(stored["rows"]) == len(numbers["rows"])
    assert all("networks" not in row for row in stored["rows"])
    assert len(stored["calibration_ids"]) == 18


def test_every_kind_stops_when_asked(pipeline, tmp_path):
    """A progress callback that raises StoppedError ends distill, train and calibrate."""

    def stop(progress):
        raise StoppedError

    training = {"dataset": pipeline.dataset, "distilled_set": None}
    jobs = {
        "distill": (distill_params(), {"dataset": pipeline.dataset}),
        "train": (train_params({"source": "random", "images_per_class": 2}), training),
        "calibrate": (
            {"models": ["mdl_" + "a" * 26], "calibrate": SPECS[:1]},
            {"dataset": pipeline.dataset, "models": pipeline.models["full"], "distilled_sets": {}},
        ),
    }
    for kind, (params, inputs) in jobs.items():
        with pytest.raises(StoppedError):
            run_kind(kind, params, inputs, tmp_path / kind, stop)


def names_used(path):
    """Every name and attribute a module mentions."""
    tree = ast.parse(path.read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    return names | attributes | imported


def test_only_evaluate_reads_test_images():
    """No other module of the worker mentions the test reader, nor the readers beneath it."""
    users = {
        name: {
            path.relative_to(ROOT).as_posix()
            for path in sorted((ROOT / "worker").rglob("*.py"))
            if name in names_used(path)
        }
        for name in ("load_test_images", "load_named", "read_torchvision", "test_path")
    }
    assert users == {
        "load_test_images": {"worker/trainer/kinds/evaluate.py"},
        "load_named": {"worker/trainer/loading.py"},
        "read_torchvision": set(),
        "test_path": {"worker/trainer/inputs.py", "worker/trainer/loading.py"},
    }


def test_training_images_are_checked_against_the_facts(pipeline):
    """Tensors that are not what the data set's facts say are refused."""
    facts = facts_of(pipeline).model_dump(mode="json") | {"train_class_counts": [30, 30, 31]}
    wrong = parse_json(DatasetInput, pipeline.dataset | {"facts": facts})
    with pytest.raises(InvalidDataError, match=r"wanted 91 images.*got \(90, 1, 8, 8\)"):
        load_train_images(wrong)
