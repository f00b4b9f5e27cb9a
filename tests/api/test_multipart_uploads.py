"""Files as forms send them, under the names that systems have for types, and JSON with a BOM."""

import hashlib
import json
import zipfile

import httpx
import pytest

from tests.api.npz import logits_npz, npz
from tests.core.intake.known_files_made import cifar, mnist, tarred
from tests.image_files import one_level, zipped


def post(api, files, **query):
    """Send files as a form does."""
    parts = [("file", (name, data, "application/x-anything")) for name, data in files.items()]
    return api.client.post("/v1/datasets", params={"name": "mine", **query}, files=parts)


def test_one_file_is_what_a_raw_body_would_be(api):
    """The same bytes on disk, the same digest."""
    content = zipped(one_level())
    body = post(api, {"my images.zip": content}, seed=3).json()
    assert body["sha256"] == hashlib.sha256(content).hexdigest()
    assert (body["n_bytes"], body["image_files"]["seed"]) == (len(content), 3)
    (path,) = api.uploads()
    assert path.read_bytes() == content


def test_several_files_are_a_zip_of_them(api):
    """By their names; the same files make the same zip, so that a request can be repeated."""
    members = mnist()[0]
    answer = post(api, members)
    assert answer.status_code == 202, answer.text
    (path,) = api.uploads()
    with zipfile.ZipFile(path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == members
    body = answer.json()
    assert body["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    again = post(api, members, name="again").json()
    assert again["sha256"] == body["sha256"]


def test_a_form_is_repeated_under_its_key(api):
    """As other uploads are: taken once; other files under the key are refused."""
    headers = {"Idempotency-Key": '"k"'}
    members = mnist()[0]

    def send(files):
        parts = [("f", item) for item in files.items()]
        return api.client.post("/v1/datasets?name=mine", files=parts, headers=headers)

    first, second = send(members), send(members)
    assert first.json()["job_id"] == second.json()["job_id"]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert send({**members, "more.txt": b"x"}).status_code == 422
    assert len(api.uploads()) == 1


def test_a_file_in_small_pieces_is_whole(api):
    """Boundaries may fall anywhere."""
    content = b"\r\n--x\r\n" * 3 + zipped(one_level())
    head = b'--x-y\r\nContent-Disposition: form-data; name="f"; filename="a.zip"\r\n\r\n'
    body = head + content + b"\r\n--x-y--\r\n"
    pieces = (body[k : k + 7] for k in range(0, len(body), 7))
    answer = api.client.post(
        "/v1/datasets?name=mine",
        content=pieces,
        headers={"Content-Type": 'Multipart/Form-Data; boundary="x-y"'},
    )
    assert answer.status_code == 202, answer.text
    (path,) = api.uploads()
    assert path.read_bytes() == content


def test_logits_come_as_forms_too(api):
    """All uploads are read alike."""
    files = {"file": ("logits.npz", logits_npz())}
    assert api.client.post("/v1/logits?name=mine", files=files).status_code == 202


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        ("application/x-zip-compressed", zipped(one_level())),
        ("application/x-npz", npz()),
        ("application/gzip", tarred(cifar()[0])),
        ("application/x-tar", tarred(cifar()[0], "w")),
        ("application/vnd.apache.parquet", b"PAR1 and so on"),
    ],
)
def test_names_that_systems_have_for_types_are_taken(api, media_type, content):
    """What the file is, its bytes tell; what only the check can look into waits for it."""
    answer = api.client.post(
        "/v1/datasets?name=mine", content=content, headers={"Content-Type": media_type}
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["state"] == "checking"


def test_json_may_begin_with_a_byte_order_mark(api):
    """As Windows writes it."""
    job = {"kind": "distill", "params": {"dataset": "digits", "distill": {"images_per_class": 1}}}
    content = b"\xef\xbb\xbf" + json.dumps(job).encode()
    headers = {"Content-Type": "application/json"}
    answer = api.client.post("/v1/jobs", content=content, headers=headers)
    assert answer.status_code == 202, answer.text
    twice = b"\xef\xbb\xbf" + content
    assert api.client.post("/v1/jobs", content=twice, headers=headers).status_code == 400


def test_a_form_that_breaks_off_leaves_nothing(api):
    """Of none of its files."""

    def pieces():
        yield b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.zip"\r\n\r\nsome'
        yield b'\r\n--x\r\nContent-Disposition: form-data; name="f"; filename="b.zip"\r\n\r\nsome'
        raise httpx.ReadError("gone")

    with pytest.raises(httpx.ReadError):
        api.client.post(
            "/v1/datasets?name=mine",
            content=pieces(),
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )
    assert api.uploads() == []
