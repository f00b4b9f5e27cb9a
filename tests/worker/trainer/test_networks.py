"""Other networks than the ConvNet on one distilled set: trained, calibrated, put side by side."""

import json
from pathlib import Path

import pytest
import torch

from tests.worker.small_jobs import (
    distill_params,
    file_of,
    model_input,
    run_kind,
    set_input,
    train_params,
    write_dataset,
)

pytestmark = pytest.mark.long

NETWORKS = {
    "convnet": {"norm": "batch", "pooling": "max"},
    "alexnet": {"width": None, "depth": None, "lr": 0.02},
    "vit": {"width": 8, "depth": 1, "heads": 2, "lr": 0.05, "augmentation": ["crop", "scale"]},
}
SPECS = [{"method": "none"}, {"method": "ts", "fit_on": "validation"}]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The data set, one distilled set, and of each network a model with its calibrations."""
    folder = tmp_path_factory.mktemp("networks")
    dataset = write_dataset(folder)
    (distilled,) = run_kind("distill", distill_params(), {"dataset": dataset}, folder / "distill")
    made = {}
    for name, options in NETWORKS.items():
        source = {"source": "distilled", "distilled_set": "set_" + "a" * 26}
        params = train_params(source, network=name, n_seeds=1, epochs=25, **options)
        inputs = {"dataset": None, "distilled_set": set_input(distilled)}
        (output,) = run_kind("train", params, inputs, folder / name)
        model = model_input(output, f"mdl_{name}")
        params = {"models": ["mdl_" + "a" * 26], "seed": 1, "calibrate": SPECS}
        inputs = {"dataset": dataset, "models": [model], "distilled_sets": {}}
        made[name] = (model, run_kind("calibrate", params, inputs, folder / f"calibrate-{name}"))
    return dataset, distilled, made


def test_a_models_config_names_its_network_alone(trained):
    """With the options that belong to it; what was trained how stands in full beside it."""
    _, _, made = trained
    networks = {name: model["config"]["network"] for name, (model, _) in made.items()}
    assert networks["convnet"] == {
        "name": "convnet", "width": 4, "depth": 2, "norm": "batch", "pooling": "max",
        "activation": "relu",
    }  # fmt: skip
    assert networks["alexnet"] == {"name": "alexnet"}
    assert networks["vit"] == {
        "name": "vit", "width": 8, "depth": 1, "heads": 2, "patch_size": None,
    }  # fmt: skip
    assert made["vit"][0]["config"]["train"]["augmentation"] == ["crop", "scale"]


def test_every_network_becomes_a_program(trained):
    """Pixels in, probabilities out, as many images as one likes."""
    _, _, made = trained
    for _, calibrated in made.values():
        scaled = calibrated[1]
        assert scaled.values["method"] == "ts"
        if scaled.values["temperature"] is None:
            continue
        run = torch.export.load(file_of(scaled, "calibrated_model.pt2")).module()
        for n in (1, 3):
            probabilities = run(torch.rand(n, 1, 8, 8))
            torch.testing.assert_close(probabilities.sum(1), torch.ones(n))
    assert any(calibrated[1].values["temperature"] is not None for _, calibrated in made.values())


def test_a_report_puts_networks_side_by_side(trained, tmp_path):
    """One training set each, named by its network; the method section tells their options."""
    dataset, distilled, made = trained
    found = set_input(distilled)
    calibrations = [
        {"id": f"cal_{name}_{k}", "model_id": model["id"], "values": output.values}
        for name, (model, outputs) in made.items()
        for k, output in enumerate(outputs)
    ]
    test_path = Path(dataset["train_path"]).with_name("test.safetensors")
    inputs = {
        "dataset": dataset | {"test_path": str(test_path)},
        "models": [model for model, _ in made.values()],
        "distilled_sets": {found["id"]: found},
        "calibrations": json.loads(json.dumps(calibrations)),
    }
    spec = {"n_bins": 10, "mts_ratios": [0.5]}
    params = {"calibrations": ["cal_" + "a" * 26], "seed": 1, "evaluate": spec}
    (output,) = run_kind("evaluate", params, inputs, tmp_path / "evaluate")
    report = json.loads(file_of(output, "report.json").read_text())
    labels = [one["label"] for one in report["training_sets"]]
    assert [label.rsplit("), ")[1] for label in labels] == ["ConvNet", "AlexNet", "ViT, augmented"]
    assert [row["training_set_label"] for row in report["rows"][::2]] == labels
    page = file_of(output, "report.html").read_text()
    assert "1 network, ConvNet (width 4, depth 2, batch norm, max pooling, relu), trained" in page
    assert "augmentation by one of crop, scale" in page
