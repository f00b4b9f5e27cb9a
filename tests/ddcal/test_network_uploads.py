"""Networks made elsewhere, by the clients and the command line: as they are sent and told."""

import asyncio

import pytest

import ddcal
from ddcal.cli.main import main
from ddcal_core.formats.records import write_json
from tests.api.test_network_uploads import config
from tests.core.formats.onnx_made import linear, onnx_model
from tests.core.formats.stored import model_config
from tests.ddcal.conftest import url_of

SAID = {"dataset": "digits", "space": "standardised"}


@pytest.fixture
def file(tmp_path):
    """A network for digits."""
    path = tmp_path / "x.onnx"
    path.write_bytes(onnx_model(linear(10)).SerializeToString())
    return path


def test_a_file_arrives_with_what_is_said_of_it(api, client, file, tmp_path, monkeypatch, capsys):
    """The job that tries it is told; its model is found, and its files downloaded."""
    job = client.upload_model("mine", file, **SAID, mean=[0.5], side=8, tags={"env": "prod"})
    assert {"mean": [0.5], "side": 8, **SAID}.items() <= job.record.params["options"].items()
    (stored,) = api.uploads()
    assert stored.read_bytes() == file.read_bytes()
    files = {"model.onnx": b"graph", "config.json": b"{}"}
    api.succeed(api.claim("gpu"), ("model", config(), files))
    assert job.wait(timeout=60).state == "succeeded"
    monkeypatch.setenv("DDCAL_URL", url_of(api))
    assert main(["models"]) == 0
    assert " imported " in capsys.readouterr().out
    assert [one.record.tags for one in client.models()] == [{"env": "prod"}]
    (result,) = job.results
    assert result.record.resource == "model"
    written = {path.relative_to(tmp_path).as_posix() for path in job.download(tmp_path / "out")}
    assert written == {"out/seed-0/config.json", "out/seed-0/model.onnx"}


def test_the_other_client_sends_them_as_well(api, file):
    """Awaited."""

    async def session():
        async with ddcal.AsyncClient(url_of(api)) as client:
            return (await client.upload_model("mine", file, **SAID)).record

    record = asyncio.run(session())
    assert (record.kind, record.name) == ("intake", "mine")


def test_the_command_prints_the_job_or_says_what_is_wrong(api, file, monkeypatch, capsys):
    """Numbers once, with commas; classes once each; options of a network of ours by name."""
    monkeypatch.setenv("DDCAL_URL", url_of(api))
    words = ["upload-model", "mine", str(file), "--dataset", "digits", "--space", "standardised"]
    order = [word for k in "9876543210" for word in ("--class-order", k)]
    assert main([*words, "--mean", "0.1,0.2,0.3", "--layout", "nchw", *order]) == 0
    options = api.job(capsys.readouterr().out.strip())["params"]["options"]
    assert options["mean"] == [0.1, 0.2, 0.3]
    assert options["class_order"] == list("9876543210")
    assert main([*words, "--std", "0.5,0.5"]) == 1
    assert "std: wanted 1 or 3 numbers, one a channel; got 2" in capsys.readouterr().err
    assert main([*words, "--architecture", "convnet", "--option", "width=8"]) == 1
    assert "wanted safetensors with the parameters of convnet" in capsys.readouterr().err
    assert main([*words, "--option", "width"]) == 2
    assert "wanted NAME=VALUE" in capsys.readouterr().err


def test_a_folder_says_what_its_network_is(api, client, tmp_path):
    """As a service gives it: one trained there, and one that was imported."""
    written = {"model.safetensors": b"\x10\0\0\0\0\0\0\0{", "model.onnx": b"\x08\x08"}
    for name, content in written.items():
        (tmp_path / name).write_bytes(content)
    trained = model_config(dataset="digits")
    write_json(tmp_path / "config.json", trained.as_json())
    options = client.upload_model("again", tmp_path).record.params["options"]
    assert options["architecture"] == "convnet"
    assert options["width"] == trained.network.width
    assert (options["mean"], options["std"]) == (list(trained.mean), list(trained.std))
    imported = config() | {"class_names": list("0123456789")}
    imported["imported"] |= {"columns": [*range(1, 10), 0]}
    write_json(tmp_path / "config.json", imported)
    options = client.upload_model("again", tmp_path, side=8).record.params["options"]
    assert options["class_order"] == ["9", *"012345678"]
    assert (options["space"], options["side"], options["architecture"]) == ("pixels", 8, "onnx")
    write_json(
        tmp_path / "config.json", trained.as_json() | {"input_space": {"name": "zca", "eps": 0.1}}
    )
    with pytest.raises(ddcal.UploadRejectedError, match="standardised images: zca"):
        client.upload_model("again", tmp_path)
