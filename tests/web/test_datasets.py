"""Pages of what users bring: data sets, logits, uploads; and of the service itself."""

import html
import re

import pytest

from app.api.datasets import DatasetUpload
from app.api.logits import LogitsUpload
from app.api.network_uploads import NetworkUpload
from app.api.set_uploads import SetUpload
from app.web.service import SHOWN
from app.web.uploads import KINDS, LATER, fields_of
from tests.api.npz import upload_logits
from tests.api.serving import FACTS, problem
from tests.api.test_datasets import upload
from tests.web.test_pages import HTML


def test_data_sets_of_all_kinds_are_shown(api):
    """Those at hand can be distilled; of the others it is said what they lack."""
    upload(api, "mine")
    page = api.client.get("/datasets").text
    assert 'href="/new?dataset=digits"' in page
    assert 'href="/new?dataset=mnist"' not in page
    assert "DDCAL_ALLOW_DOWNLOADS" in page
    assert 'href="/datasets/mine"' in page
    assert 'data-every="3"' in page
    assert 'href="/new?dataset=mine"' not in page
    api.check_upload()
    page = api.client.get("/datasets").text
    assert 'href="/new?dataset=mine"' in page
    assert "data-every" not in page


def test_a_data_set_has_a_page_with_its_classes(api):
    """Counts of each class and how it was read; deleted by a form."""
    upload(api, "mine")
    assert "still being checked" in html.unescape(api.client.get("/datasets/mine").text)
    api.check_upload(facts={**FACTS, "notes": ["odd <b>"], "recognised": ["bytes"]})
    page = api.client.get("/datasets/mine").text
    for shown in ("zero", "one", "20", "30", "odd &lt;b&gt;", "bytes", "2 classes"):
        assert shown in page
    answer = api.client.post("/datasets/mine/delete")
    assert (answer.status_code, answer.headers["location"]) == (303, "/datasets")
    assert api.client.get("/v1/datasets/mine").status_code == 404


def test_a_thousand_classes_are_folded(api):
    """Their names are there, behind one line."""
    upload(api, "mine")
    names = [f"class <{k}>" for k in range(1000)]
    counts = [3] * 1000
    facts = {**FACTS, "class_names": names, "train_class_counts": counts}
    api.check_upload(facts={**facts, "test_class_counts": counts})
    page = api.client.get("/datasets/mine").text
    assert "<details><summary>Images of each of 1,000 classes" in page
    assert page.count("class &lt;") == 1000


def test_a_rejected_upload_says_why_on_its_page(api):
    """In the words of the intake, whatever they hold."""
    upload(api, "mine")
    api.check_upload(problem={"code": "invalid_data", "detail": "wanted <images>"})
    for path in ("/datasets", "/datasets/mine"):
        assert "wanted &lt;images&gt;" in api.client.get(path).text


def test_a_built_in_data_set_cannot_be_deleted(shared_api):
    """Its page offers nothing of the kind, and the form is refused."""
    assert "/delete" not in shared_api.client.get("/datasets/digits").text
    problem(shared_api.client.post("/datasets/digits/delete"), 409)
    assert shared_api.client.get("/datasets/nothing", headers=HTML).status_code == 404


def test_logits_are_calibrated_from_their_page(api):
    """By one button, with what needs no images; then they can be deleted."""
    upload_logits(api, "theirs")
    facts = {
        "class_names": ["a", "b"], "fit_class_counts": [2, 2],
        "test_class_counts": [1, 1], "dtype": "float32", "values": "logits",
    }  # fmt: skip
    api.check_upload(facts=facts)
    page = api.client.get("/logits/theirs").text
    assert 'action="/logits/theirs/calibrate"' in page
    answer = api.client.post("/logits/theirs/calibrate")
    assert answer.status_code == 303
    job = api.client.get(f"/v1{answer.headers['location']}").json()
    assert (job["kind"], job["params"]["logits"]) == ("calibrate", "theirs")
    assert answer.headers["location"] in api.client.get("/logits/theirs").text


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_of_an_upload_has_a_field(shared_api, kind):
    """But for those that the page of what was uploaded can change."""
    page = shared_api.client.get("/upload", params={"kind": kind}).text
    fields = set(re.findall(r'<(?:input|select) name="(\w+)"', page))
    assert fields == set(KINDS[kind].model.model_fields) - set(LATER)
    required = {one.name for one in fields_of(KINDS[kind].model) if one.is_required}
    assert set(re.findall(r'name="(\w+)"[^>]* required', page)) == required
    assert KINDS[kind].command in html.unescape(page)
    assert "`" not in page


def test_every_upload_of_the_api_has_a_form(shared_api):
    """A new one fails here until it has one."""
    paths = shared_api.client.get("/openapi.json").json()["paths"]
    bodies = {
        path
        for path, operations in paths.items()
        if "application/octet-stream"
        in operations.get("post", {}).get("requestBody", {}).get("content", {})
    }
    assert {kind.collection for kind in KINDS.values()} == bodies
    models = [DatasetUpload, LogitsUpload, SetUpload, NetworkUpload]
    assert [kind.model for kind in KINDS.values()] == models


def test_an_unknown_kind_of_upload_is_that_of_images(shared_api):
    """Nobody is left without a form."""
    assert 'data-to="/v1/datasets"' in shared_api.client.get("/upload?kind=<b>").text


def test_the_service_tells_how_it_is(shared_api):
    """Each part with what was found, and the settings that people ask about, without secrets."""
    page = shared_api.client.get("/settings").text
    for check in shared_api.client.get("/readyz").json()["checks"]:
        assert html.escape(check["detail"]) in page or "free" in check["detail"]
    for name in SHOWN:
        assert f"DDCAL_{name.upper()}" in page
    assert "runs without a key" in page
    assert not set(SHOWN) & {"api_key", "database_url", "redis_url"}
