import html

import pytest

from tests.api.serving import problem
from tests.api.test_results import REPORT_FILES, made_chain

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
NOWHERE = "rep_" + "0" * 26


@pytest.fixture
def reports(api):
    """Two reports, each with all that it was made from."""
    return [made_chain(api, REPORT_FILES)["reports"] for _ in range(2)]


def post(api, text, **more):
    """Send the form."""
    return api.client.post("/compare", data={"reports": text, **more}, headers=FORM)


def test_reports_are_offered_and_chosen(api, reports):
    """Those chosen stand in the form that compares, and are marked in the list."""
    text = api.client.get("/compare").text
    assert all(f'name="report" value="{one}"' in text for one in reports)
    assert "checked" not in text
    query = "&".join(f"report={one}" for one in (*reports, reports[0], NOWHERE))
    text = api.client.get(f"/compare?{query}").text
    assert "Chosen: 2" in text
    assert f"{reports[0]}\n{reports[1]}\n{NOWHERE}</textarea>" in text
    assert text.count(" checked") == 2
    assert f"There is no report {NOWHERE}" in text


@pytest.mark.parametrize("word", ["a\0b", "job_a\0b", "rep_", "\u202e<b>", "x" * 3000])
def test_what_can_be_no_report_is_told_of(api, reports, word):
    """Beside reports that there are; a database may not even be asked for it."""
    answer = api.client.get("/compare", params={"report": [reports[0], word]})
    assert answer.status_code == 200
    assert "Chosen: 1" in answer.text
    answer = post(api, f"{reports[0]} {word}")
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert "<b>" not in answer.text


def test_what_sets_them_apart_is_shown_before(api, reports):
    """The settings of their requests, where they differ."""
    query = "&".join(f"report={one}" for one in reports)
    text = api.client.get(f"/compare?{query}").text
    assert "Nothing in their requests sets them apart" in text


def test_an_empty_service_has_nothing_to_compare(shared_api):
    """And says what to do."""
    text = shared_api.client.get("/compare").text
    assert "No reports yet" in text
    assert 'href="/new"' in text


def test_a_comparison_is_asked_for_as_the_api_does_it(api, reports):
    """The form leads to a page that leads on to the comparison."""
    answer = post(api, "\r\n".join(reports), name="both")
    assert answer.status_code == 303
    path = answer.headers["location"]
    job = api.job(path.rpartition("/")[2])
    assert (job["kind"], job["name"]) == ("compare", "both")
    assert [one["report"] for one in job["params"]["reports"]] == reports
    waiting = api.client.get(path).text
    assert 'data-every="1"' in waiting
    run = api.claim("intake")
    assert run.id == job["id"]
    files = {"comparison.html": b"<p>both</p>", "comparison.json": b"{}"}
    told = {"dataset": "digits", "headline": "The same.", "report_ids": reports}
    (made,) = api.succeed(run, ("comparison", told, files))
    answer = api.client.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/results/{made}")
    text = api.client.get(f"/results/{made}").text
    assert '<iframe class="report"' in text
    assert "The distilled sets side by side" in text
    assert f'href="/results/{made}"' in api.client.get(f"/results/{reports[0]}").text


def test_a_comparison_that_failed_leads_to_its_job(api, reports):
    """Which says why."""
    path = post(api, " ".join(reports)).headers["location"]
    api.fail(api.claim("intake"))
    assert api.client.get(path).headers["location"] == f"/jobs/{path.rpartition('/')[2]}"
    problem(api.client.get("/compare/job_x"), 404)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "reports"),
        ("rep_1", "rep_1"),
        (NOWHERE, f"there is no {NOWHERE}"),
        ("{0}", "wanted 2 to 50 finished reports; got 1 report"),
        ("{0} {0}", "wanted each report once"),
    ],
)
def test_what_cannot_be_compared_is_told_beside_what_was_given(api, reports, given, said):
    """Nothing is submitted, and nothing typed is lost."""
    text = given.format(*reports)
    before = api.n_jobs()
    answer = post(api, text, name="mine")
    assert answer.status_code == 422
    shown = html.unescape(answer.text)
    assert "These cannot be compared" in shown
    assert said in shown
    assert "\n".join(text.split()) + "</textarea>" in shown
    assert 'value="mine"' in shown
    assert api.n_jobs() == before
