"""A folder of image files through the whole service: packed, taken in, distilled."""

import contextlib
import json

import psutil
import pytest

from ddcal.client import Client
from tests.image_files import encoded, noise
from tests.services import TINY_DISTILL, run_ddcal
from tests.waiting import until


@pytest.fixture
def folder(tmp_path):
    """40 images of two classes, of several sizes and kinds, with what macOS leaves."""
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for k in range(20):
            pixels = noise(k, 20 + k, 24, 3) // (1 if name == "cat" else 2)
            kind = "JPEG" if k % 2 else "PNG"
            (tmp_path / "pets" / name / f"{k}.{kind.lower()}").write_bytes(encoded(pixels, kind))
        (tmp_path / "pets" / name / "Thumbs.db").write_bytes(b"x")
    return tmp_path / "pets"


def test_a_folder_of_images_is_uploaded_and_distilled(service, folder, tmp_path):
    """One command each; the distilled set has the classes and the size asked for."""
    sent = run_ddcal("upload", "pets", folder, "--resize", "16", "--watch", url=service.url)
    assert sent.returncode == 0, sent.stderr
    request = tmp_path / "job.json"
    params = {"dataset": "pets", "distill": {**TINY_DISTILL, "images_per_class": 1}}
    request.write_text(json.dumps({"kind": "distill", "params": params}))
    made = run_ddcal("submit", request, "--watch", url=service.url)
    assert made.returncode == 0, made.stderr
    with Client(service.url) as client:
        body = client.get("/v1/datasets/pets")
        (result,) = client.job(made.stdout.split()[0]).results
        details = result.record.details
    assert body["facts"]["image_shape"] == [3, 16, 16]
    assert (body["facts"]["n_train"], body["facts"]["n_test"]) == (32, 8)
    assert (body["image_files"]["n_images"], body["image_files"]["n_ignored"]) == (40, 2)
    assert details["dataset"] == "pets"
    assert list((service.folder / "uploads").iterdir()) == []


def test_two_uploads_can_be_checked_at_once(service):
    """A process that checks them waits in each of two children of their worker."""

    def n_waiting() -> int:
        lines = [" ".join(command_of(pid)) for pid in service.pids()]
        return sum("-m ddcal_core.intake.process" in line for line in lines)

    until(lambda: n_waiting() == 2, seconds=60)


def command_of(pid):
    """The command line of a process; empty where it has ended."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).cmdline()
    return []


def test_a_text_called_an_image_is_rejected_by_name(service, folder):
    """Found only when it is decoded: the command says so and fails."""
    (folder / "cat" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more of an image than this")
    sent = run_ddcal("upload", "fakes", folder, "--resize", "16", "--watch", url=service.url)
    assert sent.returncode == 1
    with Client(service.url) as client:
        body = client.get("/v1/datasets/fakes")
    assert body["state"] == "rejected"
    assert body["problem"]["detail"].startswith("cat/0.png: wanted a whole PNG")
