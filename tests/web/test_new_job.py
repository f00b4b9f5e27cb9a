import html
import json
import re

import pytest

from app.submission.examples import EXAMPLES
from app.submission.requests import PipelineRequest
from app.web.request_fields import fields_of
from app.web.request_forms import pipeline_fields, ticked_by_default
from ddcal_core.specs.calibration import CALIBRATIONS
from ddcal_core.specs.distillation import METHODS
from ddcal_core.specs.kinds.pipeline import BASELINES
from tests.api.serving import problem
from tests.api.test_datasets import upload
from tests.api.test_results import DISTILL

UNASKED = ["params.evaluate.mts_masks"]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_the_first_example_is_one_click_away(api):
    """Home's button submits a pipeline with every default, and leads to it."""
    assert 'action="/new/example"' in api.client.get("/").text
    answer = api.client.post("/new/example", headers=FORM)
    assert answer.status_code == 303
    job_id = answer.headers["location"].removeprefix("/jobs/")
    assert api.job(job_id)["kind"] == "pipeline"
    assert api.job(job_id)["params"]["dataset"] == "digits"
    assert api.client.get(answer.headers["location"]).status_code == 200
    problem(api.client.get("/new/example"), 405)


DIGITS = {"params.dataset": "digits"}
TICKED = ticked_by_default()


def posted(api, path="/new", *, do="check", **fields):
    """A form, sent as a browser does: the boxes that are ticked, and the fields with dots."""
    given = {**TICKED, **DIGITS, "do": do, **fields}
    return api.client.post(path, data=given)


def sent(answer):
    """The JSON that a page says is sent."""
    (text,) = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", answer.text, re.DOTALL)
    return json.loads(html.unescape(text))


def problems_at(answer):
    """The fields beside which a problem stands."""
    return re.findall(r'id="([\w.]+)-problem" class="field-problem" role="alert"', answer.text)


def test_every_field_of_a_pipeline_can_be_asked_for():
    """Those that a form cannot say are named here; a new one that is like them has to be, too."""
    assert [one.name for one in fields_of(PipelineRequest) if one.kind == "json"] == UNASKED
    names = [one.name for one in pipeline_fields()]
    assert len(names) == len(set(names))
    for method in METHODS.values():
        for name in method.model_fields:
            assert any(one.startswith(f"params.distill.{name}") for one in names), name
    assert all(one.help for one in pipeline_fields() if one.path[-2:] != ("mask", "ratio"))


def test_every_method_and_calibration_is_offered(api):
    """With what each is, and the usual ones chosen."""
    page = api.client.get("/new").text
    for method in METHODS:
        assert f">{method}: " in page
    labels = " ".join(re.findall(r'name="params.calibrate" [^>]*> ([^<]*)<', page))
    assert set(CALIBRATIONS) <= set(labels.split())
    assert set(BASELINES) <= set(re.findall(r'name="params.baselines" [^>]*> ([^<]*)<', page))
    assert page.count(" checked>") == sum(map(len, TICKED.values()))


def test_the_form_shows_what_it_will_send(api):
    """Only what was chosen; and what would come of it, without writing anything."""
    answer = posted(api)
    assert answer.status_code == 200
    assert sent(answer) == {"kind": "pipeline", "params": {"dataset": "digits"}}
    assert "<dt>Jobs</dt><dd>6</dd>" in answer.text
    assert "not known yet" in answer.text
    answer = posted(
        api,
        **{
            "params.distill.method": "dc",
            "params.distill.images_per_class": "1",
            "params.distill.mask.ratio": "0.3",
            "params.calibrate": ['{"method": "none"}'],
            "params.calibrate.mts_ratios": "0.3, 0.5",
            "params.baselines": [],
            "tags": "env:prod\r\nurl: http://x:1\r\n",
            "reuse": "false",
        },
    )
    assert answer.status_code == 200
    assert sent(answer) == {
        "kind": "pipeline",
        "reuse": False,
        "tags": {"env": "prod", "url": "http://x:1"},
        "params": {
            "dataset": "digits",
            "distill": {"method": "dc", "images_per_class": 1, "mask": {"ratio": 0.3}},
            "baselines": [],
            "calibrate": [
                {"method": "none"},
                {"method": "mts", "mask": {"ratio": 0.3}},
                {"method": "mts", "mask": {"ratio": 0.5}},
            ],
        },
    }
    assert api.n_jobs() == 0


def test_the_form_submits(api):
    """And leads to the job."""
    answer = posted(api, do="submit", **{"name": "mine", "params.distill.images_per_class": "2"})
    assert answer.status_code == 303
    job = api.job(answer.headers["location"].removeprefix("/jobs/"))
    assert (job["name"], job["params"]["distill"]["images_per_class"]) == ("mine", 2)


WRONG = {
    "params.dataset": "nothing",
    "params.distill.images_per_class": "ten",
    "params.distill.mask.ratio": "1",
    "params.distill.clip_norm": "3",
    "params.seed": "-1",
    "params.classes": "0",
    "params.calibrate": [],
    "name": "x" * 101,
    "tags": "no-value",
    "start_at": "tomorrow",
    "params.train.lr": "1e999",
}


@pytest.mark.parametrize("do", ["check", "submit"])
def test_each_problem_stands_at_its_field(api, do):
    """With what was typed still there, and nothing written."""
    answer = posted(api, do=do, **WRONG)
    assert answer.status_code == 422
    assert set(problems_at(answer)) == set(WRONG)
    assert 'value="ten"' in answer.text
    assert "11 problems: see the marked fields" in answer.text
    assert answer.text.count("open><summary>") == 5
    assert api.n_jobs() == 0


@pytest.mark.parametrize("do", ["check", "submit"])
def test_a_key_said_twice_is_refused(api, do):
    """An object would keep one of its values, and nobody would know of the other."""
    answer = posted(api, do=do, tags="env: prod\nkind:x\nenv: test")
    assert answer.status_code == 422
    assert problems_at(answer) == ["tags"]
    assert "wanted &#34;env&#34; once, got it 2 times" in answer.text
    assert api.n_jobs() == 0


@pytest.mark.parametrize("text", ["1_0", "٣", "007", "+5", "0x1", "1.", ".", "-", "1e", "inf"])
def test_only_numbers_as_json_has_them_are_numbers(api, text):
    """Python reads more of them; what is meant by them is for whoever typed them to say."""
    answer = posted(api, **{"params.seed": text})
    assert answer.status_code == 422
    assert problems_at(answer) == ["params.seed"]


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), (".5", 0.5), ("0.30", 0.3), ("1e-1", 0.1), ("5E-2", 0.05)]
)
def test_numbers_are_read_as_people_type_them(api, text, number):
    """With or without the zero before the point."""
    answer = posted(api, **{"params.distill.mask.ratio": f" {text} "})
    assert answer.status_code == 200
    assert sent(answer)["params"]["distill"]["mask"]["ratio"] == number


def test_reuse_is_told(api):
    """That what has been done is not done again; or that it is, if that is asked for."""
    again = "is not done again"
    assert again in posted(api).text
    answer = posted(api, reuse="false")
    assert "All of it is computed anew" in answer.text
    assert again not in answer.text


def test_what_is_typed_is_text(api):
    """Markup in any field is shown as it was typed."""
    markup = "<img src=x onerror=alert(1)>&\"'"
    names = [one.name for one in pipeline_fields()]
    answer = posted(api, **dict.fromkeys(names, markup), json=markup)
    assert answer.status_code == 422
    assert "<img src=x" not in answer.text
    assert "&lt;img src=x" in answer.text


DEEP = "[" * 10_000 + "]" * 10_000
UNFINISHED = {
    "nothing": {},
    "no data set": {"name": "mine", "do": "submit"},
    "a box that there is not": {**DIGITS, "params.calibrate": "[]", "params.baselines": "x"},
    "a box of nested lists": {**DIGITS, "params.calibrate": DEEP},
}


@pytest.mark.parametrize("path", ["/new", "/new/study"])
@pytest.mark.parametrize("given", UNFINISHED.values(), ids=UNFINISHED)
def test_a_form_that_no_browser_would_send_is_told_what_is_wrong(api, path, given):
    """On the page, with nothing written."""
    answer = api.client.post(path, data=given, headers=FORM)
    assert answer.status_code == 422
    assert answer.text.count("field-problem") > 1
    assert api.n_jobs() == 0


def test_json_of_any_kind_is_taken(api):
    """Problems by their pointers, and the text as it was written."""
    text = json.dumps({"kind": "distill", "params": {"dataset": "digits", "distil": {}}}, indent=3)
    answer = posted(api, "/new/json", json=text)
    assert answer.status_code == 422
    assert "<code>/params/distil</code>" in answer.text
    assert html.escape(text, quote=True).replace("&#x27;", "&#39;") == re.search(
        r'id="json"[^>]*>(.*?)</textarea>', answer.text, re.DOTALL
    )[1].replace("&#34;", "&quot;")
    assert "is not JSON" in posted(api, "/new/json", json="{").text
    assert posted(api, "/new/json", json="").status_code == 422
    text = json.dumps({"kind": "distill", "params": DISTILL})
    assert posted(api, "/new/json", json=text).status_code == 200
    answer = posted(api, "/new/json", json=text, do="submit")
    assert api.job(answer.headers["location"].removeprefix("/jobs/"))["kind"] == "distill"


BY_THEMSELVES = [
    name for name, one in EXAMPLES.items() if not re.search("(job|set)_", json.dumps(one["value"]))
]


@pytest.mark.parametrize("name", BY_THEMSELVES)
def test_an_earlier_job_fills_the_form_or_the_json(api, name):
    """What is sent then asks for the same, whichever of the two can say it."""
    example = EXAMPLES[name]["value"]
    first = api.client.post("/v1/jobs", json=example)
    assert first.status_code == 202, first.text
    link = f"/new?from={first.json()['id']}"
    assert f'href="{link}"' in api.client.get(f"/jobs/{first.json()['id']}").text
    page = api.client.get(link)
    assert page.status_code == 200
    again = api.client.post("/v1/jobs", json=sent(page))
    assert again.status_code == 202, again.text
    for field in ("params", "timeout_seconds", "name", "tags", "priority", "kind"):
        assert again.json()[field] == first.json()[field]
    assert ("Filled from" in page.text) == (name in SAID_BY_THE_FORM)


SAID_BY_THE_FORM = (
    "pipeline", "losses", "regularisers", "information-drop", "pipeline-mtt",
)  # fmt: skip


def test_a_data_set_is_chosen_by_the_address(api):
    """As the pages of data sets lead here; what there is not is told at the field."""
    upload(api, "mine")
    page = api.client.get("/new?dataset=mine")
    assert '<option value="mine" selected>mine (checking)' in page.text
    assert sent(page)["params"] == {"dataset": "mine"}
    page = api.client.get("/new?dataset=none-such")
    assert page.status_code == 200
    assert problems_at(page) == ["params.dataset"]
    problem(api.client.get("/new?from=job_x"), 404)
    problem(api.client.post("/new", json={}), 415)
