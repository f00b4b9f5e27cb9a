"""Networks made elsewhere: tried when they come in, then calibrated and measured as ours are."""

import json
import resource

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from safetensors.torch import load_file, save_file
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from torch.nn.functional import interpolate

import ddcal.torch
from ddcal_core.data.labelled import split_validation
from ddcal_core.data.torchvision_readers import torchvision_network
from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.foreign_networks import in_parts
from ddcal_core.formats.manifests import ModelConfig
from ddcal_core.formats.models import read_input_space, read_model
from ddcal_core.formats.onnx_models import write_onnx
from ddcal_core.formats.records import read_record
from ddcal_core.networks import build_network
from ddcal_core.seeding import seeded_generator
from ddcal_core.specs.networks import NetworkSpec
from tests.core.formats.onnx_made import linear, onnx_model
from tests.core.formats.test_network_files import space_of
from tests.worker.small_jobs import (
    CLASS_NAMES,
    distill_params,
    file_of,
    run_kind,
    set_input,
    write_dataset,
)

pytestmark = pytest.mark.long

TS = {"method": "ts", "fit_on": "validation"}
MTS = {"method": "mts", "fit_on": "validation", "mask": {"ratio": 0.3}}
MODEL_ID = "mdl_" + "a" * 26


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the data set lies."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def dataset(folder):
    """Three classes of grey 8 x 8 images."""
    return write_dataset(folder, n_train_each=150)


@pytest.fixture(scope="module")
def images(folder, dataset):
    """Its parts as arrays: pixels in [0, 1] float32 (N, 1, 8, 8), and labels."""
    held = {part: load_file(folder / f"{part}.safetensors") for part in ("train", "test")}
    return {
        part: (one["images"].numpy().astype(np.float32) / 255, one["labels"].numpy())
        for part, one in held.items()
    }


@pytest.fixture(scope="module")
def weights(images):
    """Of a linear network that is right most of the time, and too sure of itself."""
    return least_squares(*images["train"])


def least_squares(given, labels, *, noise_share=0.7):
    """Weights of a linear network, float32 (D, K), with noise in them."""
    flat = given.reshape(len(given), -1).astype(np.float64)
    found = np.linalg.pinv(flat, rcond=1e-3) @ (12 * np.eye(3)[labels])
    noise = np.random.default_rng(1).normal(size=found.shape)
    noise *= noise_share * (flat @ found).std() / (flat @ noise).std(0)
    return (found + noise).astype(np.float32)


def taken_in(dataset, model, folder, **options):
    """What the check of an upload gives."""
    folder.mkdir(parents=True, exist_ok=True)
    upload = folder / "upload"
    upload.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    inputs = {
        "upload_path": str(upload),
        "sha256": "0" * 64,
        "options": {"dataset": "small", "space": "pixels", **options},
        "dataset": dataset,
    }
    (output,) = run_kind("intake", {"content": "network"}, inputs, folder / "work")
    return output


def calibrated(dataset, output, specs, folder, file="model.onnx"):
    """What a calibrate job makes of a model that was taken in."""
    inputs = {"dataset": dataset, "distilled_sets": {}, "models": [model_of(output, file)]}
    params = {"models": [MODEL_ID], "seed": 0, "calibrate": specs}
    return run_kind("calibrate", params, inputs, folder / "calibrate")


def model_of(output, file="model.onnx"):
    """A model as the supervisor hands it on."""
    path = str(file_of(output, file))
    return {"id": MODEL_ID, "path": path, "config": dict(output.values)}


def reported(dataset, output, calibrations, folder, test_path):
    """The report of its calibrations."""
    rows = [
        {"id": f"cal_{k}" + "a" * 25, "model_id": MODEL_ID, "values": dict(one.values)}
        for k, one in enumerate(calibrations)
    ]
    inputs = {
        "dataset": dataset | {"test_path": str(test_path)},
        "distilled_sets": {},
        "models": [model_of(output)],
        "calibrations": rows,
    }
    params = {
        "calibrations": [row["id"] for row in rows],
        "seed": 0,
        "evaluate": {"mts_ratios": [0.0, 0.5]},
    }
    (report,) = run_kind("evaluate", params, inputs, folder / "evaluate")
    return report


def validation_of(images):
    """The images that are cut for validation unless told otherwise."""
    pixels, labels = images["train"]
    _, places = split_validation(torch.from_numpy(labels), None, 3, 0)
    return pixels[places], labels[places]


def best_temperature(logits, labels):
    """The T of least NLL, found by somebody else."""

    def nll(log_t):
        return -log_softmax(logits / np.exp(log_t), 1)[np.arange(len(labels)), labels].mean()

    return float(np.exp(minimize_scalar(nll, bounds=(-5, 5), method="bounded").x))


def ece_by_hand(probabilities, labels, n_bins=15):
    """Bin by bin, (a, b]."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    error = 0.0
    for k in range(n_bins):
        inside = (confidence > k / n_bins) & (confidence <= (k + 1) / n_bins)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return error


def run_onnx(path, outputs=None, **inputs):
    """What ONNX Runtime alone gives."""
    return onnxruntime.InferenceSession(str(path)).run(outputs, inputs)


def test_its_numbers_are_those_of_onnx_runtime(dataset, images, weights, folder, tmp_path):
    """T, accuracy and ECE, as reported and as the calibrated file that comes out has them."""
    output = taken_in(dataset, onnx_model(weights), tmp_path)
    fitted = calibrated(dataset, output, [{"method": "none"}, TS, MTS], tmp_path)
    pixels, labels = validation_of(images)
    wanted = best_temperature(pixels.reshape(len(pixels), -1) @ weights, labels)
    assert fitted[1].values["temperature"] == pytest.approx(wanted, rel=1e-3)
    assert fitted[2].values["temperature"] > 0
    report = reported(dataset, output, fitted, tmp_path, folder / "test.safetensors")
    rows = json.loads(file_of(report, "report.json").read_text())["rows"]
    pixels, labels = images["test"]
    (logits,) = run_onnx(file_of(output, "model.onnx"), images=pixels)
    for row, one in zip(rows, fitted, strict=True):
        by_hand = softmax(logits / one.values["temperature"], 1)
        path = file_of(one, "calibrated_model.onnx")
        probabilities, raw = run_onnx(path, ["probabilities", "logits"], pixels=pixels)
        np.testing.assert_allclose(probabilities, by_hand, atol=1e-5)
        np.testing.assert_allclose(raw, logits, atol=1e-4)
        assert row["accuracy"]["mean"] == pytest.approx((by_hand.argmax(1) == labels).mean())
        assert row["ece"]["mean"] == pytest.approx(ece_by_hand(by_hand, labels), abs=1e-5)
    assert rows[0]["accuracy"]["mean"] < 1


def test_the_report_says_where_it_came_from(dataset, weights, folder, tmp_path):
    """In its label, on its page, in its record; curves by validation images alone."""
    output = taken_in(dataset, onnx_model(weights), tmp_path)
    fitted = calibrated(dataset, output, [{"method": "none"}, TS], tmp_path)
    report = reported(dataset, output, fitted, tmp_path, folder / "test.safetensors")
    held = json.loads(file_of(report, "report.json").read_text())
    (trained,) = held["training_sets"]
    assert (trained["training_set"], trained["train"]) == ("unknown", None)
    assert trained["label"] == "ONNX network, imported"
    assert {row["loss"] for row in held["rows"]} == {"not known"}
    assert trained["imported"]["sha256"] == "0" * 64
    assert {curve["fit_on"] for curve in held["mts_curves"]} == {"validation"}
    page = file_of(report, "report.html").read_text()
    assert "made elsewhere and imported from a file of onnx" in page
    assert "Nobody here knows which images it was trained on" in page


@pytest.mark.parametrize("batch", ["N", 1, 4])
@pytest.mark.parametrize("outputs", ["logits", "probabilities"])
def test_outputs_in_another_order_and_any_batch(dataset, images, weights, batch, outputs, tmp_path):
    """Brought into the data set's order; probabilities by their logarithms; batches filled up."""
    order = [2, 0, 1]
    nodes = [("Softmax", ["logits"], ["answers"], {"axis": 1})]
    model = onnx_model(
        weights[:, order], batch=batch, nodes=nodes if outputs == "probabilities" else None
    )
    names = [CLASS_NAMES[k] for k in order]
    output = taken_in(dataset, model, tmp_path, class_order=names, outputs=outputs)
    assert output.values["imported"]["columns"] == [1, 2, 0]
    (found,) = calibrated(dataset, output, [TS], tmp_path)
    pixels, labels = validation_of(images)
    logits = pixels.reshape(len(pixels), -1) @ weights
    assert output.values["imported"]["tried_accuracy"] == (logits.argmax(1) == labels).mean()
    wanted = best_temperature(logits, labels)
    assert found.values["temperature"] == pytest.approx(wanted, rel=1e-3)
    some = pixels[: 4 if batch == "N" else batch]
    (probabilities,) = run_onnx(
        file_of(found, "calibrated_model.onnx"), ["probabilities"], pixels=some
    )
    np.testing.assert_allclose(probabilities, softmax(logits / wanted, 1)[: len(some)], atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 16, 16), {}),
        ((1, 5, 5), {}),
        ((1, 12, 12), {"space": "standardised", "mean": [0.4], "std": [0.3]}),
        ((3, 8, 8), {"space": "standardised", "mean": [0.4, 0.5, 0.6], "std": [0.3, 0.2, 0.1]}),
        ((3, 16, 16), {"space": "standardised", "mean": [0.4]}),
        ((16, 16, 3), {"layout": "nhwc"}),
        ((8, 8, 1), {"layout": "nhwc", "space": "standardised"}),
    ],
)
def test_images_are_given_as_it_reads_them(dataset, images, shape, options, tmp_path):
    """Resampled as torch does it, repeated, standardised, channels last: inside and in the file."""
    pixels, labels = validation_of(images)
    channels, side = (shape[2], shape[0]) if "layout" in options else (shape[0], shape[1])
    given = interpolate(
        torch.from_numpy(pixels), (side, side), mode="bilinear", antialias=True
    ).numpy()
    given = given.repeat(channels, 1)
    if options.get("space") == "standardised":
        facts = dataset["facts"]
        mean, std = (options.get(name, facts[name]) for name in ("mean", "std"))
        given = (given - np.reshape(mean, (-1, 1, 1))) / np.reshape(std, (-1, 1, 1))
    if "layout" in options:
        given = given.transpose(0, 2, 3, 1)
    own = least_squares(given, labels)
    output = taken_in(dataset, onnx_model(own, shape), tmp_path, **options)
    (found,) = calibrated(dataset, output, [{"method": "vector"}], tmp_path)
    logits = given.reshape(len(given), -1) @ own
    tried = output.values["imported"]
    assert tried["n_tried"] == len(labels)
    assert tried["tried_accuracy"] == pytest.approx((logits.argmax(1) == labels).mean())
    path = file_of(found, "calibrated_model.onnx")
    probabilities, raw = run_onnx(path, ["probabilities", "logits"], pixels=pixels)
    np.testing.assert_allclose(raw, logits, atol=1e-4)
    scaling = json.loads(file_of(found, "scaling.json").read_text())
    centred = logits - logits.mean(1, keepdims=True)
    by_hand = softmax(centred * scaling["weights"] + scaling["biases"], 1)
    np.testing.assert_allclose(probabilities, by_hand, atol=1e-4)


def noisy(nodes, **extra):
    """A linear network with further nodes."""
    return onnx_model(linear(), nodes=nodes, extra=extra)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (onnx_model(linear(4)), {}, "wanted 3 outputs, one a class of the data set; got 4"),
        (onnx_model(linear(4), n_outputs=3), {}, r"wanted answers \(8, 3\), .*; got \(8, 4\)"),
        (onnx_model(linear(shape=(8, 8, 1)), (8, 8, 1)), {}, r"elsewhere \(layout=nhwc\)"),
        (onnx_model(linear()), {"side": 9}, "side: wanted 8, the height .* fixed to; got 9"),
        (
            onnx_model(linear()),
            {"outputs": "probabilities"},
            r"wanted probabilities, .*outputs=logits\?",
        ),
        (
            noisy([("Softmax", ["logits"], ["answers"], {"axis": 1})]),
            {},
            r"look like probabilities, .*\(outputs=probabilities\)",
        ),
        (
            noisy(
                [
                    ("ReduceMean", ["logits"], ["mean"], {"axes": [0]}),
                    ("Sub", ["logits", "mean"], ["answers"], {}),
                ]
            ),
            {},
            "same answers for an image alone and among others",
        ),
        (
            noisy(
                [
                    ("Shape", ["images"], ["sizes"], {"end": 1}),
                    ("Cast", ["sizes"], ["n"], {"to": TensorProto.FLOAT}),
                    ("Max", ["n", "eight"], ["least"], {}),
                    ("Div", ["logits", "least"], ["answers"], {}),
                ],
                eight=np.float32(8),
            ),
            {},
            "same answers for an image alone and among others",
        ),
        (
            noisy([("Div", ["logits", "zero"], ["answers"], {})], zero=np.float32(0)),
            {},
            "wanted finite answers",
        ),
        (
            noisy(
                [
                    ("ReduceMax", ["images"], ["one"], {"keepdims": 0}),
                    ("Ceil", ["one"], ["whole"], {}),
                    ("Cast", ["whole"], ["count"], {"to": TensorProto.INT64}),
                    ("Mul", ["count", "many"], ["size"], {}),
                    ("ConstantOfShape", ["size"], ["huge"], {}),
                    ("ReduceSum", ["huge"], ["sum"], {"keepdims": 0}),
                    ("Add", ["logits", "sum"], ["answers"], {}),
                ],
                many=np.array([1 << 33], np.int64),
            ),
            {},
            "at most 6 GiB to read and to ask",
        ),
        (onnx_model(linear(), batch=300), {}, "at most 256 at once"),
        (onnx_model(linear()), {"class_order": ["a", "b", "c"]}, "class_order: .*; got 'a'"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(dataset, tmp_path, model, options, words):
    """Found by looking at the graph, or by trying it on a few images."""
    with pytest.raises(InvalidDataError, match=words):
        taken_in(dataset, model, tmp_path, **options)


def test_odd_answers_are_told_not_refused(dataset, images, tmp_path):
    """Another order of the classes than declared, and the same answer to everything."""
    weights = least_squares(*images["train"], noise_share=0.1)
    turned = taken_in(dataset, onnx_model(weights[:, [1, 2, 0]]), tmp_path / "a")
    assert "class_order" in turned.values["imported"]["notes"][0]
    constant = taken_in(dataset, onnx_model(0 * weights), tmp_path / "b")
    assert "same for every image" in constant.values["imported"]["notes"][0]


def saved(network, folder):
    """A network's parameters, as safetensors hold them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(dict(network.state_dict()), folder / "x.safetensors")
    return (folder / "x.safetensors").read_bytes()


def own_network(image_shape=(1, 8, 8)):
    """A small network of this service's kind, as it is drawn."""
    facts = space_of(image_shape).facts
    spec = NetworkSpec(width=4, depth=2, norm="batch")
    return build_network(spec, facts, seeded_generator(0)).eval()


def test_parameters_of_a_network_of_ours_make_it_again(dataset, images, tmp_path):
    """It answers as it did where it came from; a .pt2 comes out, and ONNX can be made of it."""
    network = own_network((1, 16, 16))
    output = taken_in(
        dataset,
        saved(network, tmp_path / "a"),
        tmp_path,
        architecture="convnet",
        width=4,
        depth=2,
        norm="batch",
        side=16,
    )
    assert output.values["network"]["norm"] == "batch"
    (found,) = calibrated(dataset, output, [{"method": "none"}], tmp_path, "model.safetensors")
    pixels = torch.from_numpy(validation_of(images)[0])
    with torch.no_grad():
        logits = network(interpolate(pixels, (16, 16), mode="bilinear"))
        program = torch.export.load(file_of(found, "calibrated_model.pt2")).module()
        np.testing.assert_allclose(program(pixels), torch.softmax(logits, 1), atol=1e-5)
    config = read_record(ModelConfig, output.values)
    path = tmp_path / "model.onnx"
    again = read_model(file_of(output, "model.safetensors"), config)
    write_onnx(again, read_input_space(path, config), path, temperature=2.0)
    (probabilities,) = run_onnx(path, ["probabilities"], pixels=pixels.numpy())
    np.testing.assert_allclose(probabilities, torch.softmax(logits / 2, 1), atol=1e-5)


def test_torchvisions_networks_are_known_by_name(dataset, images, tmp_path):
    """ResNet-18 on grey images of 8 pixels, given 32 of three channels, standardised."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision_network("torchvision.resnet18", 3).to_empty(device="cpu")
        for module in network.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    output = taken_in(
        dataset,
        saved(network.eval(), tmp_path / "a"),
        tmp_path,
        architecture="torchvision.resnet18",
        space="standardised",
        side=32,
        mean=mean,
        std=std,
    )
    assert output.values["imported"]["input_shape"] == [3, 32, 32]
    (found,) = calibrated(dataset, output, [{"method": "none"}], tmp_path, "model.safetensors")
    pixels = torch.from_numpy(validation_of(images)[0])[:9]
    given = interpolate(pixels, (32, 32), mode="bilinear").expand(-1, 3, -1, -1)
    with torch.no_grad():
        each = (1, 3, 1, 1)
        logits = network((given - torch.tensor(mean).view(each)) / torch.tensor(std).view(each))
        program = torch.export.load(file_of(found, "calibrated_model.pt2")).module()
        np.testing.assert_allclose(program(pixels), torch.softmax(logits, 1), atol=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda held: held.pop("classifier.bias"), "the file lacks classifier.bias"),
        (lambda held: held.update(more=torch.ones(1)), "it has no more"),
        (
            lambda held: held.update({"classifier.bias": torch.ones(4)}),
            r"classifier.bias: wanted torch.float32 of shape \(3,\); got .* shape \(4,\)",
        ),
        (
            lambda held: held.update({"classifier.bias": torch.ones(3, dtype=torch.int64)}),
            "wanted torch.float32 .*; got torch.int64",
        ),
        (lambda held: held["classifier.bias"].fill_(float("nan")), "wanted finite numbers"),
        (
            lambda held: held.update(
                {"classifier.bias": torch.full((3,), torch.nan).to(torch.float8_e4m3fn)}
            ),
            "wanted finite numbers",
        ),
    ],
)
def test_other_parameters_are_refused_by_name(dataset, tmp_path, change, words):
    """The first that is wrong, and what it would have to be."""
    held = dict(own_network().state_dict())
    change(held)
    save_file(held, tmp_path / "x.safetensors")
    how = {"architecture": "convnet", "width": 4, "depth": 2, "norm": "batch"}
    with pytest.raises(InvalidDataError, match=words):
        taken_in(dataset, (tmp_path / "x.safetensors").read_bytes(), tmp_path, **how)


def test_half_precision_is_read_as_single(dataset, tmp_path):
    """Rounded as it came, and computed with in float32."""
    held = {name: one.half() for name, one in own_network().state_dict().items() if one.ndim}
    counts = {name: one for name, one in own_network().state_dict().items() if not one.ndim}
    save_file(held | counts, tmp_path / "x.safetensors")
    how = {"architecture": "convnet", "width": 4, "depth": 2, "norm": "batch"}
    output = taken_in(dataset, (tmp_path / "x.safetensors").read_bytes(), tmp_path, **how)
    config = read_record(ModelConfig, output.values)
    model = read_model(file_of(output, "model.safetensors"), config)
    assert {one.dtype for one in model.parameters()} == {torch.float32}


def test_its_distilled_set_is_what_it_is_calibrated_on(dataset, images, weights, tmp_path):
    """TS and MTS on the images of the set, which are in a space of the set's own."""
    (made,) = run_kind("distill", distill_params(), {"dataset": dataset}, tmp_path / "distill")
    distilled = set_input(made)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "upload").write_bytes(onnx_model(weights).SerializeToString())
    options = {"dataset": "small", "space": "pixels", "distilled_set": distilled["id"]}
    inputs = {
        "upload_path": str(folder / "upload"),
        "sha256": "0" * 64,
        "options": options,
        "dataset": dataset,
        "distilled_set": distilled,
    }
    (output,) = run_kind("intake", {"content": "network"}, inputs, folder / "work")
    values = output.values
    assert (values["training_set"], values["distilled_set_id"]) == ("distilled", distilled["id"])
    assert values["split"] == made.values["split"]
    specs = [
        {"method": "ts", "fit_on": "training_set"},
        {"method": "mts", "fit_on": "training_set", "mask": {"ratio": 0.3}},
    ]
    given = {
        "dataset": dataset,
        "distilled_sets": {distilled["id"]: distilled},
        "models": [model_of(output)],
    }
    params = {"models": [MODEL_ID], "seed": 0, "calibrate": specs}
    ts, mts = run_kind("calibrate", params, given, tmp_path / "calibrate")
    held = load_file(distilled["path"])
    mean, std = (torch.tensor(made.values[name]).view(1, -1, 1, 1) for name in ("mean", "std"))
    pixels = (held["images"] * std + mean).numpy()
    logits = pixels.reshape(len(pixels), -1) @ weights
    by_hand = softmax(logits, 1)
    assert ts.values["n"] == len(logits) < mts.values["n"]
    right = (by_hand.argmax(1) == held["labels"].numpy()).mean()
    assert ts.values["clean_accuracy"] == pytest.approx(right)
    assert ts.values["status"] in ("ok", "separable", "worse_than_chance")


def test_networks_beside_it_keep_their_own_numbers(dataset, images, weights, tmp_path):
    """One of pixels and one of standardised images, calibrated by one job, are given their own."""
    facts = dataset["facts"]
    shift, other = np.full(64, facts["mean"][0]), weights * np.float32(facts["std"][0])
    of_pixels = taken_in(dataset, onnx_model(weights), tmp_path / "a")
    # (x - mean) / std times std W is x W less a constant a class, which a bias puts back.
    nodes = [("Add", ["logits", "bias"], ["answers"], {})]
    bias = (shift @ weights).astype(np.float32)
    of_standard = taken_in(
        dataset,
        onnx_model(other, nodes=nodes, extra={"bias": bias}),
        tmp_path / "b",
        space="standardised",
    )
    second = model_of(of_standard) | {"id": "mdl_" + "b" * 26}
    inputs = {"dataset": dataset, "distilled_sets": {}, "models": [model_of(of_pixels), second]}
    params = {"models": [MODEL_ID, second["id"]], "seed": 0, "calibrate": [TS]}
    first, other_one = run_kind("calibrate", params, inputs, tmp_path / "calibrate")
    assert other_one.values["temperature"] == pytest.approx(first.values["temperature"], rel=1e-4)


def test_what_was_downloaded_is_called_by_torch(dataset, images, weights, tmp_path):
    """ddcal.torch reads a folder with a graph as one with parameters."""
    output = taken_in(dataset, onnx_model(weights), tmp_path)
    (found,) = calibrated(dataset, output, [TS], tmp_path)
    model = ddcal.torch.load_model(file_of(found, "config.json").parent)
    pixels = torch.from_numpy(images["test"][0])
    wanted = run_onnx(file_of(found, "calibrated_model.onnx"), pixels=pixels.numpy())
    np.testing.assert_allclose(model(pixels), wanted[0], atol=1e-5)
    np.testing.assert_allclose(model.logits(pixels), wanted[1], atol=1e-4)


def test_large_images_are_given_a_few_at_once(dataset, weights, tmp_path):
    """300 images of 512 x 512, a gigabyte of input, by the 16 MiB."""
    shape = (3, 512, 512)
    model = onnx_model(np.zeros((3 * 512 * 512, 3), np.float32), shape)
    config = read_record(ModelConfig, taken_in(dataset, model, tmp_path).values)
    read = in_parts(read_model(tmp_path / "work" / "model.onnx", config))
    assert read.n_at_once == 5
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.no_grad():
        assert read(torch.zeros(300, 1, 8, 8)).shape == (300, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # KiB


def test_it_is_downloaded_as_onnx_and_with_a_card(dataset, images, weights, tmp_path):
    """The format onnx of the model is at T = 1; the card says that it was imported."""
    output = taken_in(dataset, onnx_model(weights), tmp_path)
    files = {path.name: {"path": str(path)} for path in output.files}
    given = {"details": dict(output.values), "files": files, "reports": []}
    pixels = images["test"][0]
    written = {}
    for word in ("onnx", "card"):
        params = {"resource": "model", "format": word, "result": MODEL_ID, "declared": {}}
        (made,) = run_kind("export", params, given, tmp_path / word)
        (written[word],) = made.files
    probabilities, logits = run_onnx(written["onnx"], pixels=pixels)
    np.testing.assert_allclose(logits, pixels.reshape(len(pixels), -1) @ weights, atol=1e-4)
    np.testing.assert_allclose(probabilities, softmax(logits, 1), atol=1e-5)
    card = written["card"].read_text()
    assert "made elsewhere and imported from a file of onnx" in card
    assert "Nobody here knows which images it was trained on" in card
