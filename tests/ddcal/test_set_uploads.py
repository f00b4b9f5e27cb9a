"""Distilled sets made elsewhere, by the client and the command line: as they are sent and told."""

import asyncio
import zipfile

import numpy as np
import pytest

import ddcal
from ddcal.cli.main import main
from tests.core.formats.stored import set_manifest
from tests.ddcal.conftest import url_of

SAID = {"dataset": "digits", "space": "standardised"}


@pytest.fixture
def arrays():
    """A set of digits."""
    images = np.random.default_rng(0).normal(size=(10, 1, 8, 8)).astype(np.float32)
    return {"images": images, "labels": np.arange(10)}


def test_arrays_and_a_pair_of_files_arrive_as_one_file(api, client, tmp_path, arrays):
    """The job that takes them in knows what was said of them; two files come as a zip."""
    job = client.upload_sets("mine", arrays, **SAID, mean=[0.5], std=[0.25], tags={"env": "prod"})
    assert job.record.params["options"] == {**SAID, "mean": [0.5], "std": [0.25]}
    (stored,) = api.uploads()
    assert np.array_equal(np.load(stored)["images"], arrays["images"])
    manifest = set_manifest(method="imported").as_json()
    api.succeed(api.claim("intake"), ("distilled_set", manifest, {"manifest.json": b"{}"}))
    assert job.wait(timeout=60).state == "succeeded"
    assert [one.record.tags for one in client.sets()] == [{"env": "prod"}]
    assert [path.name for path in job.download(tmp_path / "out")] == ["manifest.json"]
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).write_bytes(name.encode())
    pair = (tmp_path / "a.pt", tmp_path / "b.pt")
    assert client.upload_sets("pair", pair, **SAID).record.params["file_format"] == "pair"
    (sent,) = (path for path in api.uploads() if path != stored)
    with zipfile.ZipFile(sent) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "images.pt": b"a.pt", "labels.pt": b"b.pt",
        }  # fmt: skip


def test_the_other_client_sends_them_as_well(api, arrays):
    """Awaited."""

    async def session():
        async with ddcal.AsyncClient(url_of(api)) as client:
            return (await client.upload_sets("mine", arrays, **SAID)).record

    record = asyncio.run(session())
    assert (record.kind, record.name) == ("intake", "mine")


def test_the_command_prints_the_job_or_says_what_is_wrong(
    api, tmp_path, arrays, monkeypatch, capsys
):
    """Numbers of several channels are given once, with commas; refusals name the field."""
    monkeypatch.setenv("DDCAL_URL", url_of(api))
    np.savez(tmp_path / "x.npz", **arrays)
    words = ["upload-set", "mine", str(tmp_path / "x.npz"), "--dataset", "digits"]
    assert main([*words, "--space", "standardised", "--std", "0.5", "--mean", "0.1"]) == 0
    job = api.job(capsys.readouterr().out.strip())
    assert (job["params"]["options"]["mean"], job["name"]) == ([0.1], "mine")
    assert main([*words, "--space", "standardised", "--std", "0.5,0.5,0.5"]) == 1
    assert "std: wanted 1 numbers, one a channel; got 3" in capsys.readouterr().err
