"""What people say of jobs, uploads and results, and how lists find them by it."""

import itertools

import pytest

from app.shared.engine import jobs, runs
from app.shared.store import descriptions
from app.shared.store.job_records import Ending
from tests.api.npz import logits_npz, npz
from tests.api.serving import MODEL, SET, problem, refusals

ZIP = {"Content-Type": "application/zip"}
PIPELINE = {"dataset": "digits"}


def ids(api, path="/v1/jobs", **query):
    """The ids, or names of uploads, that a list shows."""
    answer = api.client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [one.get("id") or one["name"] for one in answer.json()["items"]]


def distill(api, ratio=0.0, method="dm", n=10, **said):
    """A distillation; its id."""
    spec = {"method": method, "images_per_class": n, "mask": {"ratio": ratio}}
    return api.submit("distill", {"dataset": "digits", "distill": spec}, **said)["id"]


def patch(api, path, change):
    """A change that has to be taken; what there is then."""
    answer = api.client.patch(path, json=change)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_job_is_found_by_what_is_said_of_it(api):
    """By words of name and notes, in any case, whole or begun; by tags; by its id."""
    one = distill(api, name="Digits, Ten", tags={"env": "prod", "who": "me"}, notes="for FIGURE 3")
    two = distill(api, name="digits one", tags={"env": "test"})
    three = distill(api, tags={"environment": "prod"})
    assert ids(api, q="digits") == ids(api, q="DIG") == [two, one]
    assert ids(api, q="ten digits") == ids(api, q="figure") == ids(api, q="3 fig dig") == [one]
    assert ids(api, q="igits") == ids(api, q="digits eleven") == []
    assert ids(api, tag="env:prod") == [one]
    assert ids(api, tag="env") == [two, one]
    assert ids(api, tag=["env", "who:me"]) == [one]
    assert ids(api, tag=["env:prod", "env:test"]) == []
    assert ids(api, q=three) == ids(api, q=three[:29]) == [three]
    assert ids(api, q="job_") == [three, two, one]
    assert ids(api, q="dig", tag="env:test") == [two]
    assert ids(api, q="...") == [three, two, one], "nothing is asked for"


def test_few_and_many_are_found_alike(api, monkeypatch):
    """However a search is carried out, it gives the same, page by page."""
    made = [distill(api, name=f"run {k % 3}", tags={"third": str(k % 3)}) for k in range(9)]
    expected = [one for k, one in reversed([*enumerate(made)]) if k % 3 == 1]
    for few in (0, 2, 5_000):
        monkeypatch.setattr(descriptions, "FEW", few)
        for query in ({"tag": "third:1"}, {"q": "run 1"}, {"q": "1", "tag": "third"}):
            assert ids(api, **query) == expected
            seen, token = [], None
            while token is not None or not seen:
                page = {"page_token": token} if token else {}
                body = api.client.get("/v1/jobs", params={**query, "page_size": 2, **page}).json()
                seen += [one["id"] for one in body["items"]]
                token = body["next_page_token"]
            assert seen == expected


def test_jobs_are_filtered_by_what_they_do(api):
    """Method, images per class, share masked, and the time they were made."""
    masked = distill(api, ratio=0.3)
    other = distill(api, method="dc", n=1)
    random = {"source": "random", "images_per_class": 5}
    trained = api.submit("train", {"dataset": "digits", "training_set": random})["id"]
    assert ids(api, method="dm") == ids(api, mask_ratio=0.3) == [masked]
    assert ids(api, method="dc", images_per_class=1, mask_ratio=0) == [other]
    assert ids(api, images_per_class=5) == [trained]
    listed = api.client.get("/v1/jobs", params={"q": masked}).json()["items"][0]
    assert (listed["method"], listed["images_per_class"], listed["mask_ratio"]) == ("dm", 10, 0.3)
    made_at = api.job(other)["created_at"]
    after = ids(api, created_after=made_at)
    before = ids(api, created_before=made_at)
    assert other in after
    assert other not in before
    assert sorted(after + before) == sorted([masked, other, trained])
    assert ids(api, created_after="2099-01-01T00:00:00Z") == []
    assert len(ids(api, created_before="2099-01-01T00:00:00Z")) == 3


def test_a_change_says_what_is_to_change(api):
    """RFC 7396: what is left out stays, null takes away, tags one by one."""
    one = distill(api, name="first", tags={"env": "prod", "draft": "yes"}, notes="old words")
    url, before = f"/v1/jobs/{one}", api.client.get(f"/v1/jobs/{one}")
    changed = patch(api, url, {"name": "second", "tags": {"draft": None, "who": "me"}})
    assert changed["name"] == "second"
    assert changed["tags"] == {"env": "prod", "who": "me"}
    assert changed["notes"] == "old words"
    known = {"If-None-Match": before.headers["etag"]}
    assert api.client.get(url, headers=known).status_code == 200, "its version has changed"
    assert ids(api, q="first") == ids(api, tag="draft") == []
    assert ids(api, q="second old") == ids(api, tag="env:prod") == [one]
    assert patch(api, url, {}) == {**changed, "links": changed["links"]}
    emptied = patch(api, url, {"name": None, "tags": None, "notes": None})
    assert (emptied["name"], emptied["tags"], emptied["notes"]) == (None, {}, None)
    assert ids(api, q="second") == ids(api, q="old") == ids(api, tag="env") == []


def test_no_change_makes_too_many_tags(api):
    """Sixteen, whether at once or one after the other; nothing of a refused change stays."""
    many = {f"k{k}": "x" for k in range(16)}
    one = distill(api, tags=many)
    answer = api.client.patch(f"/v1/jobs/{one}", json={"tags": {"k99": "x"}, "name": "n"})
    assert refusals(answer) == [("/tags", "wrong_length")]
    assert (api.job(one)["tags"], api.job(one)["name"]) == (many, None)
    patch(api, f"/v1/jobs/{one}", {"tags": {"k0": None, "k99": "x"}})


def test_a_page_of_another_site_changes_nothing(api):
    """As for every change of state."""
    one = distill(api, name="mine")
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}):
        answer = api.client.patch(f"/v1/jobs/{one}", json={"name": "theirs"}, headers=headers)
        problem(answer, 403)
    assert api.job(one)["name"] == "mine"


def test_results_take_it_on_and_are_described_themselves(api):
    """From their job as it began; a change of one changes nothing of the other."""
    said = {"name": "the one", "tags": {"env": "prod"}, "notes": "words"}
    job = api.submit("distill", PIPELINE, **said)["id"]
    (made,) = api.succeed(api.claim(), ("distilled_set", SET, {}))
    path = f"/v1/distilled-sets/{made}"
    body = api.client.get(path).json()
    assert {name: body[name] for name in said} == said
    assert ids(api, "/v1/distilled-sets", q="one", tag="env:prod") == [made]
    assert patch(api, path, {"name": "another", "tags": {"env": None}})["notes"] == "words"
    assert ids(api, "/v1/distilled-sets", q="another") == [made]
    assert ids(api, "/v1/distilled-sets", tag="env:prod") == []
    assert api.job(job)["name"] == "the one"
    assert "notes" not in api.client.get("/v1/distilled-sets").json()["items"][0]
    nothing = api.client.patch(f"/v1/models/mdl_{'0' * 26}", json={"name": "x"})
    assert problem(nothing, 404)["code"] == "model_not_found"


@pytest.mark.parametrize("path", ["/v1/datasets", "/v1/logits"])
def test_uploads_are_described_and_found(api, path):
    """At the upload and later; by the words of their names, too."""
    content = npz() if path == "/v1/datasets" else logits_npz()
    query = {"name": "my-Images", "tag": ["env:prod", "url:http://x/y:z"], "notes": "from the lab"}
    answer = api.client.post(path, params=query, content=content, headers=ZIP)
    assert answer.status_code == 202, answer.text
    assert answer.json()["tags"] == {"env": "prod", "url": "http://x/y:z"}
    assert answer.json()["notes"] == "from the lab"
    for asked in ({"q": "imag"}, {"q": "lab my"}, {"tag": "env:prod"}, {"tag": "url"}):
        assert ids(api, path, **asked) == ["my-Images"], asked
    changed = patch(api, f"{path}/my-Images", {"tags": {"url": None}, "notes": None})
    assert (changed["tags"], changed["notes"]) == ({"env": "prod"}, None)
    assert ids(api, path, q="my") == ["my-Images"]
    assert ids(api, path, q="lab") == ids(api, path, tag="url") == []
    twice = {**query, "name": "b", "tag": ["a:b", "a:c"]}
    again = api.client.post(path, params=twice, content=content, headers=ZIP)
    assert refusals(again) == [("/query/tag", "invalid_value")]
    if path == "/v1/datasets":
        assert ids(api, path, q="mnist") == ["mnist", "fashion_mnist"]


def test_results_are_sorted_and_filtered_by_how_well_they_do(api):
    """Page by page in either direction; what has no number is left out."""
    scores = [0.5, 0.9, 0.7, None, 0.7]
    made = {}
    for score, method in zip(scores, ("dm", "dc", "dm", "dm", "dc"), strict=True):
        chosen = {"chosen_step": 4, "validation_accuracies": [{"step": 0, "accuracy": 0.99}]}
        if score is not None:
            chosen["validation_accuracies"].append({"step": 4, "accuracy": score})
        values = {**SET, "method": method, **chosen}
        _, (one,) = api.make("distill", PIPELINE, ("distilled_set", values, {}))
        made[one] = score
    first, second, third, without, last = made
    assert ids(api, "/v1/distilled-sets", sort="-accuracy") == [second, last, third, first]
    assert ids(api, "/v1/distilled-sets", sort="accuracy") == [first, third, last, second]
    assert ids(api, "/v1/distilled-sets") == [last, without, third, second, first]
    assert ids(api, "/v1/distilled-sets", method="dc", sort="-accuracy") == [second, last]
    assert ids(api, "/v1/distilled-sets", min_accuracy=0.7) == [last, third, second]
    assert ids(api, "/v1/distilled-sets", dataset="mnist") == []
    for sort, expected in (
        ("-accuracy", [second, last, third, first]), ("accuracy", [first, third, last, second]),
    ):  # fmt: skip
        seen, token = [], None
        while token is not None or not seen:
            page = {"page_token": token} if token else {}
            query = {"sort": sort, "page_size": 1, **page}
            body = api.client.get("/v1/distilled-sets", params=query).json()
            seen += [one["id"] for one in body["items"]]
            token = body["next_page_token"]
        assert seen == expected
    shown = {one["id"]: one["accuracy"] for one in api.client.get(
        "/v1/distilled-sets").json()["items"]}  # fmt: skip
    assert shown == made


def test_a_report_tells_how_well_calibrations_and_models_do(api):
    """Each by the row that it belongs to; of the report its best ones, the full data left out."""
    random = {"dataset": "digits", "training_set": {"source": "random"}}
    train, (model,) = api.make("train", random, ("model", MODEL, {}))
    fitted = {"model_id": model, "dataset": "digits", "method": "ts", "status": "ok"}
    asked = {"models": [model], "calibrate": [{"method": "ts"}]}
    _, (calibration,) = api.make("calibrate", asked, ("calibration", fitted, {}))

    def row(accuracy, ece, **more):
        numbers = {"accuracy": {"mean": accuracy, "std": None}, "ece": {"mean": ece, "std": None}}
        return {**numbers, "training_set": "random", "calibration_ids": [], **more}

    rows = [
        row(0.8, 0.02, calibration_ids=[calibration], before=row(0.8, 0.3)),
        row(0.7, 0.05),
        row(0.95, 0.01, training_set="full"),
    ]
    values = {"dataset": "digits", "rows": rows, "calibration_ids": [calibration]}
    _, (report,) = api.make("evaluate", {"calibrations": [calibration]}, ("report", values, {}))
    for path, expected in {
        f"/v1/calibrations/{calibration}": (0.8, 0.02),
        f"/v1/models/{model}": (0.8, 0.3),
        f"/v1/reports/{report}": (0.8, 0.02),
    }.items():
        body = api.client.get(path).json()
        assert (body["accuracy"], body["ece"]) == expected, path
    assert ids(api, "/v1/calibrations", max_ece=0.02, method="ts", sort="ece") == [calibration]
    assert ids(api, "/v1/calibrations", dataset="digits", max_ece=0.01) == []
    assert ids(api, "/v1/models", sort="-ece", min_accuracy=0.8) == [model]
    assert train


def test_a_pipeline_is_shown_as_running_once_one_of_its_jobs_runs(api):
    """In lists, by itself, and where lists are asked for a state; stored it waits for its jobs."""
    pipeline = api.submit("pipeline", PIPELINE)["id"]
    assert api.job(pipeline)["state"] == "blocked"
    assert ids(api, state="running") == []
    run = api.claim()
    with api.database.write() as connection:
        from_claim = runs.claim_next(connection, queue="intake", worker="w", lease_seconds=60)
    assert from_claim is None
    tell_start(api, run)
    shown = api.job(pipeline)
    assert shown["state"] == "running"
    assert shown["progress"]["phase"] == run.role
    assert ids(api, state="running", kind="pipeline") == [pipeline]
    assert pipeline not in ids(api, state="blocked")
    (listed,) = api.client.get("/v1/jobs", params={"kind": "pipeline"}).json()["items"]
    assert listed["state"] == "running"
    assert listed["progress"]["steps"] == len(shown["children"])
    with api.database.write() as connection:
        runs.release(connection, run, Ending())
    assert api.job(pipeline)["state"] == "running", "it has begun"


def tell_start(api, run):
    """As the supervisor does once it has claimed a job."""
    with api.database.write() as connection:
        jobs.tell_start(connection, run)


def test_who_waits_has_a_place_in_the_queue(api):
    """By priority, then by age; a version that is known with another place is not known."""
    first, second = distill(api), distill(api)
    pipeline = api.submit("pipeline", PIPELINE)["id"]
    places = [api.job(one)["place_in_queue"] for one in (first, second, pipeline)]
    # The pipeline's random baseline waits for nothing either; its distillation is before that.
    assert places == [1, 2, 3]
    answer = api.client.get(f"/v1/jobs/{second}")
    urgent = distill(api, priority=5)
    places = [api.job(one)["place_in_queue"] for one in (urgent, first, second, pipeline)]
    assert places == [1, 2, 3, 4]
    known = {"If-None-Match": answer.headers["etag"]}
    assert api.client.get(f"/v1/jobs/{second}", headers=known).status_code == 200
    run = api.claim()
    assert run.id == urgent
    assert api.job(urgent)["place_in_queue"] is None
    assert [api.job(one)["place_in_queue"] for one in (first, pipeline)] == [1, 3]
    answer = api.client.get(f"/v1/jobs/{second}")
    known = {"If-None-Match": answer.headers["etag"]}
    assert api.client.get(f"/v1/jobs/{second}", headers=known).status_code == 304


def test_an_estimate_has_its_reasons(api):
    """None before there is anything to go by; then by siblings, or by the last one like it."""
    outputs = {
        "distill": ("distilled_set", SET, {}),
        "train": ("model", MODEL, {}),
        "calibrate": (
            "calibration",
            {"model_id": None, "method": "ts", "status": "ok", "dataset": "digits"},
            {},
        ),
        "evaluate": ("report", {"dataset": "digits", "rows": [], "calibration_ids": []}, {}),
    }

    def work_off(n):
        for _ in itertools.repeat(None, n):
            run = api.claim()
            api.succeed(run, outputs[run.kind])

    def estimate(one):
        return api.job(one)["progress"]["eta_seconds"]

    first = api.submit("pipeline", PIPELINE, reuse=False)["id"]
    assert estimate(first) is None
    work_off(5)
    assert estimate(first) is None, "no evaluation has been seen"
    work_off(1)
    assert api.job(first)["state"] == "succeeded"
    assert estimate(first) is None
    again = api.submit("pipeline", {**PIPELINE, "seed": 1}, reuse=False)["id"]
    other = api.submit("pipeline", {**PIPELINE, "distill": {"images_per_class": 1}})["id"]
    taken = api.job(first)["children"]
    spans = [api.job(one["id"]) for one in taken]
    assert all(one["ended_at"] >= one["started_at"] for one in spans)
    assert estimate(again) is not None
    assert estimate(again) >= 0
    assert estimate(other) is None, "another size takes another time"
