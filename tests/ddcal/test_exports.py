"""Results in other formats, by both clients and the command line."""

import asyncio
import threading

import pytest

import ddcal
from tests.api.serving import SET, Api
from tests.ddcal.cli.conftest import run
from tests.ddcal.conftest import url_of
from tests.waiting import until

__all__ = ["run"]

DISTILL = {"dataset": "digits", "distill": {"images_per_class": 1}}
FILES = {"distilled_set.safetensors": b"tensors", "distilled_set.npz": b"arrays"}
SOFT = {**SET, "tensors": {"soft_labels": "float32 (2, 2)"}}


@pytest.fixture
def set_id(api) -> str:
    """A distilled set."""
    _, (made,) = api.make("distill", DISTILL, ("distilled_set", SET, FILES))
    return made


def once_asked(api: Api, content: bytes) -> threading.Thread:
    """A worker that makes what is asked for next."""

    def work():
        until(lambda: api.client.get("/v1/jobs", params={"kind": "export"}).json()["items"])
        api.export(content)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_format_is_waited_for_and_fetched_whole(api, client, set_id, tmp_path):
    """Under its name; the result's own files are those that its job has written."""
    result = client.result("distilled_set", set_id)
    words = {one.format: one for one in result.record.formats}
    assert words["imagefolder"].why_not is None
    assert "ImageFolder" in words["imagefolder"].use
    worker = once_asked(api, b"folders")
    (path,) = result.download(tmp_path / "out", format="imagefolder")
    worker.join()
    assert path == tmp_path / "out" / "distilled_set.imagefolder.zip"
    assert path.read_bytes() == b"folders"
    again = client.result("distilled_set", set_id)
    assert len(again.record.artifacts) == len(FILES) + 1
    assert {one.name for one in again.download(tmp_path / "all")} == set(FILES)


def test_a_format_that_does_not_fit_is_refused(api, client, tmp_path):
    """With what is in the way; `record.formats` says so before."""
    _, (soft_id,) = api.make("distill", DISTILL, ("distilled_set", SOFT, FILES))
    result = client.result("distilled_set", soft_id)
    with pytest.raises(ddcal.InvalidRequestError, match="got soft ones: take safetensors or npz"):
        result.download(tmp_path, format="imagefolder")
    told = {one.format: one.why_not for one in result.record.formats}
    assert told["imagefolder"] == told["dc"] is not None
    assert told["webdataset"] is None
    assert list(tmp_path.glob("distilled_set*")) == []


def test_the_other_client_does_the_same(api, set_id, tmp_path):
    """Awaited."""

    async def session():
        async with ddcal.AsyncClient(url_of(api)) as client:
            result = await client.result("distilled_set", set_id)
            worker = once_asked(api, b"folders")
            written = await result.download(tmp_path, format="imagefolder")
            worker.join()
            return written

    (path,) = asyncio.run(session())
    assert path.read_bytes() == b"folders"


def test_the_command_line_fetches_a_format(api, run, set_id, tmp_path, capsys):
    """Of a result by its id, and of all results of a job that it holds."""
    assert run("download", set_id, "--format", "npz", "--out", tmp_path / "a") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'a' / 'distilled_set.npz'}\n"
    job_id = api.client.get(f"/v1/distilled-sets/{set_id}").json()["job_id"]
    assert run("download", job_id, "--format", "safetensors", "--out", tmp_path / "b") == 0
    assert (tmp_path / "b" / "distilled_set.safetensors").read_bytes() == b"tensors"
    assert run("download", job_id, "--format", "onnx", "--out", tmp_path / "c") == 1
    assert f"{job_id} has made nothing that onnx holds" in capsys.readouterr().err
    assert run("download", set_id, "--out", tmp_path / "d") == 0
    assert {path.name for path in (tmp_path / "d").iterdir()} == set(FILES)


def test_show_says_how_to_use_a_result(run, set_id, capsys):
    """Its formats, and lines that read one of them."""
    assert run("show", set_id) == 0
    told = capsys.readouterr().out
    assert "huggingface" in told
    assert f"ddcal download {set_id} --format safetensors --out ." in told
    assert 'load_file("distilled_set.safetensors")' in told
