from tests.api.serving import problem

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
