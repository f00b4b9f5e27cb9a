"""The page of a job: what it tells, what its forms do, and that its code asks for the same."""

import ast
import html
import json
import os
import re
import subprocess
import time
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from app.shared.engine import runs
from app.shared.engine.events import record_events, told_events
from app.shared.engine.jobs import insert_job, tell_start
from app.shared.store.job_records import Ending, Job, NewJob
from app.submission.examples import EXAMPLES
from app.web.job_graph import BOX_HEIGHT, BOX_WIDTH, graph_of
from app.web.request_copies import copies_of
from tests.api.npz import upload_logits
from tests.api.serving import OWNER, SET, problem
from tests.api.test_access import BEARER, KEY, keyed_api, visitor
from tests.api.test_datasets import upload
from tests.api.test_pipelines import PIPELINE
from tests.api.test_results import DISTILL, chain
from tests.api.test_snapshots import draw
from tests.web.test_pages import HTML

__all__ = ["chain", "keyed_api", "visitor"]  # fixtures, asked for by name

MARKUP = "<img src=x onerror=alert(1)>&\"'\u202e"


def example_job(job_id, kind, **values):
    """A job's row, empty but for what is said."""
    given = {"id": job_id, "kind": kind, "params": {}, "created_at": datetime.now(UTC), **values}
    return Job(**{**dict.fromkeys(Job.__dataclass_fields__), **given})


def page_of(api, job_id):
    """The page of a job, which has to be there."""
    answer = api.client.get(f"/jobs/{job_id}", headers=HTML)
    assert answer.status_code == 200, answer.text
    return answer.text


def code_of(page, name):
    """What is offered to be copied."""
    block = page.partition(f'id="copy-{name}"')[2]
    return html.unescape(re.search(r"<code>(.*?)</code>", block, re.DOTALL)[1])


def posted(api, path, **fields):
    """A form of the page, sent as a browser does."""
    return api.client.post(path, data=fields, headers=HTML)


def test_every_link_of_the_page_leads_somewhere(api, chain):
    """To pages, to files, to the API: none is dead, of no kind of job."""
    pipeline = api.submit("pipeline", PIPELINE)
    ids = [one["id"] for one in api.client.get("/v1/jobs").json()["items"]]
    assert pipeline["id"] in ids
    assert len(ids) == 13
    for job_id in ids:
        main = page_of(api, job_id).partition("<main")[2]
        for one in set(re.findall(r'(?:href|src)="([^"]+)"', main)) - {"#main"}:
            assert api.client.get(html.unescape(one)).status_code == 200, one


def test_results_stand_on_the_page_of_their_job(api, chain):
    """Of the report its numbers, too."""
    for collection, result_id in chain.items():
        job_id = api.client.get(f"/v1/{collection}/{result_id}").json()["job_id"]
        assert f'href="/results/{result_id}"' in page_of(api, job_id)


def test_a_pipeline_is_drawn_and_listed(api):
    """Its progress over all jobs, each with its state, and the arrows between them."""
    job = api.submit("pipeline", PIPELINE, name="the one", notes="two\nlines", tags={"env": "prod"})
    run = api.claim()
    with api.database.write() as connection:
        told = {"phase": "distill", "step": 5, "steps": 10, "values": {"loss": 0.25}}
        runs.beat(connection, run, lease_seconds=60, progress=told)
    page = page_of(api, job["id"])
    assert f'data-stream="/v1/jobs/{job["id"]}/events"' in page
    assert 'data-every="2"' in page
    assert "0 of 8 jobs ended" in page
    assert "distill 50%" in page
    assert page.count('class="arrow"') == 7
    for child in job["children"]:
        assert page.count(f'href="/jobs/{child["id"]}"') == 2
    assert '<a class="tag" href="/jobs?tag=env%3Aprod">env:prod</a>' in page
    assert "two\nlines" in page
    child = page_of(api, run.id)
    assert "distill, step 5 of 10" in child
    assert "loss 0.25" in child
    assert f'href="/jobs/{job["id"]}"' in child
    assert "data-every" not in child


def test_columns_are_kinds_and_arrows_join_them():
    """Each job stands in the column of its kind; what is done is filled, and cut where long."""
    first = example_job("job_1", "distill", state="succeeded", role="distill")
    second = example_job("job_2", "train", state="running", role="train-" + "x" * 30)
    third = example_job("job_3", "train", state="blocked", role="train-random")
    graph = graph_of([second, first, third], {"job_2": ["job_1", "job_of_another"]})
    places = {box.job.id: (box.x, box.y) for box in graph.boxes}
    assert places["job_1"][0] < places["job_2"][0] == places["job_3"][0]
    assert places["job_2"][1] + BOX_HEIGHT < places["job_3"][1]
    assert [box.filled for box in graph.boxes] == [BOX_WIDTH, 0, 0]
    assert graph.boxes[1].title.endswith("…")
    (arrow,) = graph.arrows
    assert arrow.is_done
    x, y = places["job_1"]
    assert arrow.path.startswith(f"M{x + BOX_WIDTH} {y + BOX_HEIGHT // 2}C")


def test_an_ended_job_stays_as_it_is(api, chain):
    """Nothing is followed any more; it can be deleted, not cancelled, nor retried."""
    job_id = api.client.get(f"/v1/reports/{chain['reports']}").json()["job_id"]
    page = page_of(api, job_id)
    assert "data-stream" not in page
    assert "data-every" not in page
    assert f'action="/jobs/{job_id}/delete"' in page
    assert f'action="/jobs/{job_id}/cancel"' not in page
    assert f'action="/jobs/{job_id}/retry"' not in page


def test_a_failed_job_says_why_and_what_to_do(api):
    """With its attempts, and the lines that its trainer has printed last."""
    job = api.submit("distill", DISTILL)
    run = api.claim()
    log = api.settings.log_folder / f"{job['id']}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"first line\n" + b"a line\n" * 1000 + b"<b>\xff\n")
    ending = Ending(reason="was killed by SIGKILL", peak_memory_bytes=2_000_000, cpu_seconds=61.0)
    with api.database.write() as connection:
        runs.fail(connection, run, {"type": "nan_loss", "message": MARKUP}, ending)
    page = page_of(api, job["id"])
    assert "<strong>Nan loss:</strong> &lt;img src=x" in page
    assert "ask for a smaller learning rate" in page
    assert "2 MB" in page
    assert ">1 min<" in page
    assert "its process was killed by SIGKILL" in page
    assert "&lt;b&gt;\ufffd" in page
    assert "first line" not in page
    assert ">The whole log</a>" in page


def test_what_users_wrote_is_text_and_no_markup(api):
    """Nothing of it becomes an element, wherever it stands."""
    with api.database.write() as connection:
        new = NewJob(
            kind="distill", params=DISTILL, dataset=MARKUP, name=MARKUP, notes=MARKUP, role=MARKUP,
            tags={"a": MARKUP}, queue="gpu",
        )  # fmt: skip
        job = insert_job(connection, OWNER, new)
    page = page_of(api, job.id)
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 8
    assert "<img src=x" not in page


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_request_is_taken_again(api, example):
    """As JSON and as Python has it, whatever the kind."""
    asked = EXAMPLES[example]["value"]
    planned = api.client.post("/v1/plans", json=asked)
    assert planned.status_code == 200, planned.text
    job = api.client.post("/v1/jobs", json={**asked, "name": "one", "priority": 3}).json()
    page = page_of(api, job["id"])
    again = json.loads(code_of(page, "JSON"))
    assert (again["name"], again["priority"]) == ("one", 3)
    assert set(again) == {*asked, "name", "priority"}
    assert api.client.post("/v1/plans", json=again).json() == planned.json()
    second = api.client.post("/v1/jobs", json=again)
    assert second.status_code == 202
    assert second.json()["params"] == job["params"]
    module = ast.parse(code_of(page, "Python"))
    (request,) = (one.value for one in module.body if isinstance(one, ast.Assign))
    assert ast.literal_eval(request) == again


def test_code_is_quoted_for_where_it_is_put(api, tmp_path):
    """A shell hands over the very request, and Python reads it, whatever its notes hold."""
    nasty = "it's $HOME `id` \\ \" \u202e\nEND\né 🙂"
    job = api.submit("distill", DISTILL, notes=nasty)
    page = page_of(api, job["id"])
    asked = {"kind": "distill", "params": job["params"], "notes": nasty}
    for program in ("curl", "ddcal"):
        script = tmp_path / program
        script.write_text('#!/bin/sh\nprintf "%s\\n" "$DDCAL_URL" "$@" >&2\ncat\n')
        script.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    base = str(api.client.base_url).rstrip("/")
    for name, said in (("curl", f"\n{base}/v1/jobs\n"), ("Command-line", f"{base}\nsubmit\n-\n")):
        text = code_of(page, name)
        assert text.isascii()
        command, options = ["sh", "-c", text], {"capture_output": True, "text": True}
        run = subprocess.run(command, check=True, env=env, **options)
        assert json.loads(run.stdout) == asked
        assert run.stderr.startswith(said)
    python = code_of(page, "Python")
    assert python.isascii()
    (request,) = (one.value for one in ast.parse(python).body if isinstance(one, ast.Assign))
    assert ast.literal_eval(request) == asked
    assert f"ddcal.Client('{base}')" in python


def test_the_key_is_named_where_one_is_needed(keyed_api):
    """By the variable that holds it, never itself."""
    submitted = keyed_api.client.post(
        "/v1/jobs", json={"kind": "distill", "params": DISTILL}, headers=BEARER
    ).json()
    page = keyed_api.client.get(f"/jobs/{submitted['id']}", headers={**BEARER, **HTML}).text
    assert '-H "Authorization: Bearer $DDCAL_API_KEY"' in code_of(page, "curl")
    assert KEY not in page


def test_what_nobody_asked_for_has_no_request():
    """The check of an upload follows from the upload."""
    job = example_job("job_1", "intake", state="succeeded")
    assert copies_of(job, "http://127.0.0.1", needs_key=False) is None


def test_a_job_is_cancelled_retried_and_deleted_by_forms(api):
    """Without a script: each leads on to the page that shows what came of it."""
    job = api.submit("distill", DISTILL, name="one")
    path = f"/jobs/{job['id']}"
    answer = posted(api, f"{path}/cancel")
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert api.job(job["id"])["state"] == "cancelled"
    answer = posted(api, f"{path}/retry")
    again = answer.headers["location"].rpartition("/")[2]
    assert (answer.status_code, api.job(again)["retry_of"]) == (303, job["id"])
    assert f'href="{path}"' in page_of(api, again)
    problem_page = posted(api, f"/jobs/{again}/retry")
    assert problem_page.status_code == 409
    assert "wanted a job that has failed" in problem_page.text
    assert posted(api, f"/jobs/{again}/delete").status_code == 409
    answer = posted(api, f"{path}/delete")
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")
    assert api.client.get(path, headers=HTML).status_code == 404


def test_forms_need_the_token_of_the_session(keyed_api, visitor):
    """A page of another site could make a browser send them without."""
    job = keyed_api.client.post(
        "/v1/jobs", json={"kind": "distill", "params": DISTILL}, headers=BEARER
    ).json()
    own = f"http://{visitor.base_url.host}:{visitor.base_url.port}"
    visitor.post("/login", data={"key": KEY}, headers={"Origin": own})
    page = visitor.get(f"/jobs/{job['id']}", headers=HTML).text
    path = f"/jobs/{job['id']}/cancel"
    assert visitor.post(path, data={}, headers={"Origin": own}).status_code == 403
    tokens = set(re.findall(r'name="csrf_token" value="([^"]+)"', page))
    (token,) = tokens
    sent = visitor.post(path, data={"csrf_token": token}, headers={"Origin": own})
    assert sent.status_code == 303


def test_name_tags_and_notes_are_changed_by_a_form(api):
    """Tags a line each: those left out go; all that is left empty is taken away."""
    job = api.submit("distill", DISTILL, name="one", tags={"env": "prod", "old": "1"})
    path = f"/jobs/{job['id']}"
    page = page_of(api, job["id"])
    assert "env:prod\nold:1</textarea>" in page
    answer = posted(
        api, path, name="two ", tags="env:dev\r\n\r\nurl: http://x:1\r\n", notes="a\r\nb"
    )
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    shown = api.job(job["id"])
    assert (shown["name"], shown["notes"]) == ("two", "a\nb")
    assert shown["tags"] == {"env": "dev", "url": "http://x:1"}
    assert posted(api, path, name="", tags="", notes="").status_code == 303
    shown = api.job(job["id"])
    assert (shown["name"], shown["tags"], shown["notes"]) == (None, {}, None)


def test_what_cannot_be_taken_is_told_beside_its_field(api):
    """With all that was typed still there, nothing changed, and the page not refreshed."""
    job = api.submit("distill", DISTILL, name="one")
    answer = posted(api, f"/jobs/{job['id']}", name="x" * 101, tags="no-value", notes=MARKUP)
    assert answer.status_code == 422
    assert re.findall(r'id="(\w+)-problem"', answer.text) == ["name", "tags"]
    assert "x" * 101 in answer.text
    assert "&lt;img src=x" in answer.text
    assert "data-stream" not in answer.text
    assert api.job(job["id"])["name"] == "one"
    given = {"name": "x", "tags": "", "notes": ""}
    problem(api.client.post("/jobs/job_" + "0" * 26, data=given), 404)
    problem(api.client.post(f"/jobs/{job['id']}", json={}), 415)


@pytest.mark.parametrize("missing", ["name", "tags", "notes"])
def test_a_field_that_is_missing_is_not_taken_for_an_empty_one(api, missing):
    """A form cut short forgets nothing."""
    kept = {"name": "one", "tags": {"env": "prod"}, "notes": "two"}
    job = api.submit("distill", DISTILL, **kept)
    given = {one: "" for one in kept if one != missing}
    answer = api.client.post(f"/jobs/{job['id']}", data=given)
    assert missing in problem(answer, 400)["detail"]
    assert {one: api.job(job["id"])[one] for one in kept} == kept


def test_a_study_is_shown_by_counts(api):
    """However many jobs it has: each state leads to the list of those, and all are a link away."""
    study = api.submit("study", EXAMPLES["study-mask-ratio"]["value"]["params"])
    page = page_of(api, study["id"])
    for state, count in study["counts"].items():
        shown = "waiting" if state == "blocked" else state
        link = f'href="/jobs?parent={study["id"]}&amp;state={state}">{count} {shown}</a>'
        assert link in page
    assert f"All {sum(study['counts'].values())} jobs" in page
    assert '<svg class="graph"' not in page


def tell(api, run, *, phase="distill", step, steps=100, note=None, **values):
    """Report progress as a worker does, kept as an event; or a note."""
    with api.database.write() as connection:
        if note is not None:
            runs.note(connection, run, note)
        told = {"phase": phase, "step": step, "steps": steps, "values": values}
        runs.beat(connection, run, lease_seconds=60, progress=told, is_event=True)


def charts_of(page):
    """What charts say to who does not see them, by their titles."""
    return dict(re.findall(r'role="img" aria-label="([^"]+?), by step: ([^"]*)"', page))


def test_a_job_s_numbers_are_drawn_over_its_steps(api):
    """Loss and accuracy by themselves; what was gone over again after a resume is drawn once."""
    job = api.submit("distill", DISTILL)
    run = api.claim()
    tell(api, run, step=0)
    tell(api, run, step=10, loss=4.0, validation_accuracy=0.5)
    tell(api, run, step=30, loss=3.0, validation_accuracy=0.5, best=0.5)
    resumed = {"code": "resumed", "message": "went on after step 20", "resumed_from_step": 20}
    tell(api, run, step=25, note=resumed, loss=2.0, validation_accuracy=0.75, best=0.75)
    page = page_of(api, job["id"])
    assert charts_of(page) == {
        "Loss": "4 at step 10, 2 at step 25",
        "Validation accuracy": "50\u202f% at step 10, 75\u202f% at step 25",
    }
    numbers = page.partition('id="numbers-1"')[2].partition("</table>")[0]
    assert re.findall(r'scope="row">(\d+)<', numbers) == ["10", "25"]
    assert page.count("went on after step 20") == 2 * 2 + 2  # in each chart, the list, the attempt


def test_networks_of_one_job_are_lines_of_one_chart(api):
    """Each by its number."""
    job = api.submit("train", {"training_set": {"source": "full"}, "dataset": "digits"})
    run = api.claim()
    for k in (1, 2):
        tell(api, run, phase=f"train full {k}/2", step=1, loss=2.0)
        tell(api, run, phase=f"train full {k}/2", step=9, loss=float(k))
    page = page_of(api, job["id"])
    drawn = charts_of(page)
    assert drawn["Loss: train full"] == (
        "1/2: 2 at step 1, 1 at step 9; 2/2: 2 at step 1, 2 at step 9"
    )


def test_a_pipeline_s_page_draws_its_distillation(api):
    """Its numbers are those that people watch."""
    job = api.submit("pipeline", PIPELINE)
    run = api.claim()
    for step in (1, 50):
        tell(api, run, step=step, loss=1.0 / step)
    page = page_of(api, job["id"])
    assert charts_of(page) == {"Loss": "1 at step 1, 0.02 at step 50"}


def test_an_ended_distillation_is_drawn_as_its_set_was_scored(api):
    """At the very steps, with the one that was chosen."""
    scored = [{"step": 0, "accuracy": 0.25}, {"step": 40, "accuracy": 0.75}]
    made = {**SET, "validation_accuracies": scored, "chosen_step": 40}
    job_id, _ = api.make("distill", DISTILL, ("distilled_set", made, {}))
    page = page_of(api, job_id)
    assert charts_of(page)["Validation accuracy"] == ("25\u202f% at step 0, 75\u202f% at step 40")
    assert "step 40 was chosen" in page


def test_however_long_it_ran_a_page_reads_few_events(api):
    """Spread over all of them; every note is among them."""
    job = api.submit("distill", DISTILL)
    run = api.claim()
    with api.database.write() as connection:
        told = [
            (run.id, seq, {"phase": "distill", "step": seq, "steps": 9999, "values": {"loss": 1.5}})
            for seq in range(10, 6010)
        ]
        record_events(connection, owner_id=OWNER, event_type="progress", told=told)
        record_events(
            connection, owner_id=OWNER, event_type="note",
            told=[(run.id, 6011, {"code": "deep_network", "message": "a note"})],
        )  # fmt: skip
    with api.database.read() as connection:
        events = told_events(connection, OWNER, run.id, most=100)
    assert 95 <= len(events) <= 101
    assert events[-1].data["message"] == "a note"
    steps = [event.data["step"] for event in events[:-1]]
    assert {b - a for a, b in pairwise(steps)} == {steps[1] - steps[0]}
    page = page_of(api, job["id"])
    (drawn,) = re.findall(r'class="line series-0 dash-0" d="([^"]+)"', page)
    assert 100 < drawn.count("L") < 200


def test_pictures_stand_side_by_side_and_the_newest_is_large(api):
    """Without a script; each with its step, and once it has ended with its score."""
    job = api.submit("pipeline", PIPELINE)
    run = api.claim()
    assert 'id="stage"' not in page_of(api, job["id"])
    draw(api, run, 0, 40)
    url = f"/v1/jobs/{run.id}/snapshots"
    for page in (page_of(api, job["id"]), page_of(api, run.id)):
        stage = page.partition('id="stage"')[2].partition("</div>")[0]
        assert f'src="{url}/40"' in stage
        strip = page.partition('<ol class="strip"')[2].partition("</ol>")[0]
        assert re.findall('href="([^"]+)"', strip) == [f"{url}/0", f"{url}/40"]
        assert re.findall("<span>([^<]+)</span>", strip) == ["step 0", "step 40"]
        for one in set(re.findall(r'src="(/v1[^"]+)"', page)):
            assert api.client.get(one).status_code == 200
    scored = [{"step": 0, "accuracy": 0.25}, {"step": 40, "accuracy": 0.75}]
    assert "What came out" not in page
    made = {**SET, "validation_accuracies": scored}
    api.succeed(run, ("distilled_set", made, {"preview.png": b"\x89PNG"}))
    for page, is_over in ((page_of(api, job["id"]), False), (page_of(api, run.id), True)):
        assert "<span>step 40 · validation accuracy 75.0\u202f%</span>" in page
        # Of what has ended, what came of it stands first.
        assert (page.index("What came out") < page.index("On the way")) == is_over


def test_the_bar_is_of_the_time_where_that_can_be_told(api):
    """So that no phase sets it back; how long such a pipeline takes, one before it has told."""
    params = {"dataset": "digits", "baselines": [], "calibrate": [{"method": "none"}]}

    def began():
        job = api.submit("pipeline", params, reuse=False)
        run = api.claim()
        with api.database.write() as connection:
            tell_start(connection, run)
        tell(api, run, step=1, steps=4)
        time.sleep(0.05)  # so that some of its time is over
        return job, run, page_of(api, job["id"])

    job, run, page = began()
    assert "<strong>6\u202f%</strong> · 0 of 4 jobs ended" in page
    assert "no estimate yet" in page
    api.succeed(run)
    for _ in range(3):
        api.succeed(api.claim())
    assert api.job(job["id"])["state"] == "succeeded"
    _, _, page = began()
    assert "\u202f%</strong> of its time · 0 of 4 jobs ended" in page
    assert "no estimate yet" not in page


@pytest.mark.parametrize("collection", ["datasets", "logits"])
def test_the_check_of_an_upload_leads_to_it(api, collection):
    """By its page; there is no request to be copied, and it is deleted there."""
    send = upload if collection == "datasets" else upload_logits
    sent = send(api, "mine")
    assert sent.status_code == 202, sent.text
    page = page_of(api, sent.json()["job_id"])
    assert f'href="/{collection}/mine"' in page
    assert api.client.get(f"/{collection}/mine", headers=HTML).status_code == 200
    assert "copy-JSON" not in page
    assert "/delete" not in page
