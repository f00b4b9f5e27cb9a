from tests.api.serving import problem
from tests.api.test_results import REPORT_FILES, chain, made_chain

__all__ = ["chain"]  # a fixture, asked for by name


def test_a_report_with_logits_can_be_explored(api):
    """The page names both files that its script reads, and shows the report without a script."""
    files = {**REPORT_FILES, "test_logits.safetensors": b"logits"}
    report_id = made_chain(api, files)["reports"]
    text = api.client.get(f"/explore/{report_id}").text
    held = {
        one["name"]: one["url"]
        for one in api.client.get(f"/v1/reports/{report_id}").json()["artifacts"]
    }
    assert f'data-report="{held["report.json"]}"' in text
    assert f'data-logits="{held["test_logits.safetensors"]}"' in text
    without = text[text.index("<noscript>") : text.index("</noscript>")]
    assert f'<iframe class="report" src="{held["report.html"]}"' in without


def test_an_older_report_can_be_evaluated_again(api, chain):
    """It says why there are no sliders; the form submits the same job once more."""
    path = f"/explore/{chain['reports']}"
    text = api.client.get(path).text
    assert "keeps no logits" in text
    assert "explorer.js" not in text
    assert '<iframe class="report"' in text
    answer = api.client.post(path)
    assert answer.status_code == 303
    again = api.job(answer.headers["location"].rpartition("/")[2])
    first = api.job(api.client.get(f"/v1/reports/{chain['reports']}").json()["job_id"])
    assert (again["kind"], again["params"]) == ("evaluate", first["params"])
    assert again["id"] != first["id"]


def test_only_reports_are_explored(api, chain):
    """No other result, and none that is not there."""
    for wrong in (chain["models"], "rep_" + "0" * 26, "nothing"):
        problem(api.client.get(f"/explore/{wrong}"), 404)
        problem(api.client.post(f"/explore/{wrong}"), 404)
