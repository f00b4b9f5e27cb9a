import base64
import hashlib

import pytest

from tests.api.serving import MODEL, SET, problem

DISTILL = {"dataset": "digits", "distill": {"images_per_class": 1}}
NONE = [{"method": "none"}]
BYTES = bytes(range(256)) * 40
HTML = b"<!doctype html><p>report</p>"
DIGEST = hashlib.sha256(BYTES).hexdigest()


REPORT_FILES = {"report.html": HTML, "report.json": b"{}", "grid.png": b"\x89PNG"}


@pytest.fixture
def chain(api):
    """One of each result, each made from the one before: ids by resource."""
    return made_chain(api, REPORT_FILES)


def made_chain(api, report_files):
    """The same, the report with files of one's own."""
    _, (set_id,) = api.make("distill", DISTILL, ("distilled_set", SET, {"set.npz": BYTES}))
    source = {"training_set": {"source": "distilled", "distilled_set": set_id}}
    model = {**MODEL, "training_set": "distilled", "distilled_set_id": set_id}
    _, (model_id,) = api.make("train", source, ("model", model, {"model.safetensors": BYTES}))
    calibration = {
        "model_id": model_id, "method": "none", "fit_on": None, "status": "ok", "temperature": 1.0,
    }  # fmt: skip
    _, (calibration_id,) = api.make(
        "calibrate", {"models": [model_id], "calibrate": NONE}, ("calibration", calibration, {})
    )
    report = {"dataset": "digits", "calibration_ids": [calibration_id], "rows": [{"ece": 0.1}]}
    _, (report_id,) = api.make(
        "evaluate", {"calibrations": [calibration_id]}, ("report", report, report_files)
    )
    return {
        "distilled-sets": set_id,
        "models": model_id,
        "calibrations": calibration_id,
        "reports": report_id,
    }


def content(api, collection, result_id, name):
    """The address of a result's file."""
    body = api.client.get(f"/v1/{collection}/{result_id}").json()
    return next(file["url"] for file in body["artifacts"] if file["name"] == name)


def test_each_result_knows_what_it_was_made_from(api, chain):
    """From the report back to the data set."""

    def lineage(collection):
        return api.client.get(f"/v1/{collection}/{chain[collection]}").json()["lineage"]

    made_from = {"datasets": ["digits"]}
    assert lineage("distilled-sets") == made_from
    made_from["distilled_sets"] = [chain["distilled-sets"]]
    assert lineage("models") == made_from
    made_from["models"] = [chain["models"]]
    assert lineage("calibrations") == made_from
    made_from["calibrations"] = [chain["calibrations"]]
    assert lineage("reports") == made_from


def test_results_carry_details_and_files(api, chain):
    """What the job reported, and where each file is."""
    body = api.client.get(f"/v1/reports/{chain['reports']}").json()
    assert body["details"]["rows"] == [{"ece": 0.1}]
    assert body["dataset"] == "digits"
    assert [file["name"] for file in body["artifacts"]] == [
        "grid.png",
        "report.html",
        "report.json",
    ]
    assert api.client.get(body["links"]["job"]).json()["kind"] == "evaluate"


@pytest.mark.parametrize("collection", ["distilled-sets", "models", "calibrations", "reports"])
def test_results_are_listed(api, chain, collection):
    """With their files, filtered by job."""
    (item,) = api.client.get(f"/v1/{collection}").json()["items"]
    assert item["id"] == chain[collection]
    query = {"job_id": item["job_id"]}
    assert len(api.client.get(f"/v1/{collection}", params=query).json()["items"]) == 1
    query = {"job_id": "job_00000000000000000000000000"}
    assert api.client.get(f"/v1/{collection}", params=query).json()["items"] == []


def test_results_come_in_pages(api):
    """A token of one collection is refused by another."""
    outputs = [("distilled_set", SET, {}) for _ in range(3)]
    _, ids = api.make("distill", DISTILL, *outputs)
    first = api.client.get("/v1/distilled-sets", params={"page_size": 2}).json()
    query = {"page_size": 2, "page_token": first["next_page_token"]}
    second = api.client.get("/v1/distilled-sets", params=query).json()
    found = [item["id"] for page in (first, second) for item in page["items"]]
    assert found == sorted(ids, reverse=True)
    assert second["next_page_token"] is None
    problem(api.client.get("/v1/models", params=query), 400)


def test_a_download_is_the_file_with_its_digest(api, chain):
    """Strong ETag and Repr-Digest are the sha256 of what was put."""
    url = content(api, "distilled-sets", chain["distilled-sets"], "set.npz")
    answer = api.client.get(url)
    assert (answer.status_code, answer.content) == (200, BYTES)
    headers = answer.headers
    assert headers["etag"] == f'"sha256-{DIGEST}"'
    digest = base64.b64encode(bytes.fromhex(DIGEST)).decode()
    assert headers["repr-digest"] == f"sha-256=:{digest}:"
    assert headers["content-disposition"] == 'attachment; filename="set.npz"'
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["accept-ranges"] == "bytes"
    head = api.client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(BYTES))
    head = api.client.head(url, headers={"Range": "bytes=0-9"})
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(BYTES)))
    assert "content-range" not in head.headers


def test_a_known_file_is_not_sent_again(api, chain):
    """304 by its ETag."""
    url = content(api, "distilled-sets", chain["distilled-sets"], "set.npz")
    answer = api.client.get(url, headers={"If-None-Match": f'"sha256-{DIGEST}"'})
    assert (answer.status_code, answer.content) == (304, b"")
    answer = api.client.get(url, headers={"If-None-Match": '"sha256-0"'})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("given", "status", "expected"),
    [
        ("bytes=0-9", 206, BYTES[:10]),
        ("bytes=100-", 206, BYTES[100:]),
        ("bytes=-5", 206, BYTES[-5:]),
        ("bytes=10000-99999", 206, BYTES[10000:]),
        ("bytes=" + ",".join(["0-1"] * 200), 200, BYTES),
        ("rows=0-9", 200, BYTES),
        ("nonsense", 200, BYTES),
    ],
)
def test_ranges_are_served(api, chain, given, status, expected):
    """A download can be resumed; a header of hundreds of ranges is not worth an answer."""
    url = content(api, "distilled-sets", chain["distilled-sets"], "set.npz")
    answer = api.client.get(url, headers={"Range": given})
    assert (answer.status_code, answer.content) == (status, expected)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("bytes=10240-", 416),
        ("bytes=5-2", 400),
        ("bytes=x", 400),
        ("bytes=", 400),
        ("bytes=0-1,7-3", 400),
    ],
)
def test_wrong_ranges_are_problems(api, chain, given, status):
    """As every refusal is, with the reason; 416 says how long the file is."""
    url = content(api, "distilled-sets", chain["distilled-sets"], "set.npz")
    answer = api.client.get(url, headers={"Range": given})
    words = "lies outside of the content" if status == 416 else "wanted a Range such as bytes=0-99"
    assert words in problem(answer, status)["detail"]
    if status == 416:
        assert answer.headers["content-range"] == f"bytes */{len(BYTES)}"


def test_a_range_of_an_older_file_is_the_whole(api, chain):
    """If-Range compares with our own ETag."""
    url = content(api, "distilled-sets", chain["distilled-sets"], "set.npz")
    headers = {"Range": "bytes=0-9", "If-Range": f'"sha256-{DIGEST}"'}
    assert api.client.get(url, headers=headers).status_code == 206
    headers["If-Range"] = '"other"'
    assert api.client.get(url, headers=headers).status_code == 200


def test_a_report_is_shown_in_a_sandbox(api, chain):
    """Inline, without scripts, forms or network; of our origin, as links need the session."""
    answer = api.client.get(content(api, "reports", chain["reports"], "report.html"))
    assert answer.content == HTML
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-disposition"] == 'inline; filename="report.html"'
    policy = answer.headers["content-security-policy"]
    assert (
        policy
        == "sandbox allow-same-origin allow-downloads allow-top-navigation-by-user-activation; "
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
    )


def test_a_page_reaches_its_neighbours_by_name(api, chain):
    """As it does in a folder of downloads; what is not beside it is not found."""
    url = content(api, "reports", chain["reports"], "report.html")
    beside = api.client.get(url.replace("/content", "/report.json"))
    assert (beside.status_code, beside.content) == (200, b"{}")
    assert beside.headers["content-disposition"].startswith("attachment")
    assert problem(api.client.get(url.replace("/content", "/set.npz")), 404)["detail"] == (
        "there is no set.npz beside report.html"
    )


@pytest.mark.parametrize(
    ("name", "disposition"), [("grid.png", "inline"), ("report.json", "attachment")]
)
def test_pictures_are_shown_and_data_are_saved(api, chain, name, disposition):
    """Only what a browser cannot be harmed by is inline."""
    answer = api.client.get(content(api, "reports", chain["reports"], name))
    assert answer.headers["content-disposition"].startswith(disposition)


def test_a_files_row_is_shown(api, chain):
    """Name, size, digest."""
    url = content(api, "distilled-sets", chain["distilled-sets"], "set.npz")
    body = api.client.get(url.removesuffix("/content")).json()
    assert (body["name"], body["n_bytes"], body["sha256"]) == ("set.npz", len(BYTES), DIGEST)
    assert api.client.head(url.removesuffix("/content")).status_code == 200
