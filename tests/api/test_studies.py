"""Studies: what they share, how they end, what is told of them."""

import pytest

from app.shared.engine import runs
from app.shared.store.job_records import Ending
from tests.api.serving import problem

BASE = {
    "dataset": "digits",
    "n_validation": 100,
    "distill": {"method": "dm", "images_per_class": 1, "iterations": 5},
    "train": {"n_seeds": 1, "epochs": 5},
    "calibrate": [{"method": "none"}],
    "evaluate": {"mts_ratios": []},
}
VARY = {"distill.mask.ratio": [0, 0.3], "evaluate.n_bins": [10, 15]}
FOUR = {"base": BASE, "vary": VARY}


def jobs_of(api, study, **filters):
    """All jobs of a study, in the order they were written."""
    asked = {"parent": study["id"], "page_size": 200, **filters}
    return api.client.get("/v1/jobs", params=asked).json()["items"][::-1]


def refused(api, params):
    """The problems of a submission, by pointer."""
    answer = api.client.post("/v1/jobs", json={"kind": "study", "params": params})
    return {one["pointer"]: one["detail"] for one in problem(answer, 422)["errors"]}


def work_off(api, fails=lambda _: False):
    """Run what is queued, as workers would; of each kind something it makes."""
    while True:
        ran = False
        for queue in ("gpu", "intake"):
            with api.database.write() as connection:
                run = runs.claim_next(connection, queue=queue, worker="w", lease_seconds=60)
                if run is None:
                    continue
                if fails(run):
                    runs.fail(connection, run, {"type": "nan_loss", "message": "loss"}, Ending())
                else:
                    runs.succeed(connection, run, Ending())
            ran = True
        if not ran:
            return


def test_cells_share_what_is_the_same(api):
    """Two sets, two networks on them, one on random images; four reports, one comparison."""
    study = api.submit("study", FOUR, priority=2, name="masks")
    kinds = [job["kind"] for job in jobs_of(api, study)]
    counts = {kind: kinds.count(kind) for kind in kinds}
    assert counts == {"distill": 2, "train": 3, "calibrate": 3, "evaluate": 4, "compare": 1}
    assert kinds[-1] == "compare"
    assert study["counts"] == {"queued": 3, "blocked": 10}
    assert {job["priority"] for job in jobs_of(api, study)} == {1}
    assert {job["name"] for job in jobs_of(api, study)} == {"masks"}


def test_jobs_of_a_study_name_each_other(api):
    """Shared ones included; the comparison has each report with what sets it apart."""
    study = api.submit("study", FOUR)
    jobs = {job["role"]: api.job(job["id"]) for job in jobs_of(api, study)}
    ids = {job["id"]: role for role, job in jobs.items()}
    compared = jobs["compare"]["params"]["reports"]
    assert [one["settings"] for one in compared] == [
        {"distill.mask.ratio": ratio, "evaluate.n_bins": n} for ratio in (0, 0.3) for n in (10, 15)
    ]
    assert [ids[one["report"]] for one in compared] == [f"{k}-evaluate" for k in (1, 2, 3, 4)]
    second, third = (jobs[f"{k}-evaluate"]["params"]["calibrations"] for k in (2, 3))
    assert [ids[one] for one in second] == ["1-calibrate-distilled", "1-calibrate-random"]
    assert [ids[one] for one in third] == ["3-calibrate-distilled", "1-calibrate-random"]


def test_a_study_succeeds_with_all_of_its_jobs(api):
    """Step by step."""
    study = api.submit("study", FOUR)
    work_off(api)
    done = api.job(study["id"])
    assert done["state"] == "succeeded"
    assert done["counts"] == {"succeeded": 13}
    assert done["progress"]["fraction"] == 1


def test_a_study_of_which_some_cells_fail_is_partial(api):
    """The others are measured and compared; what is lost is told, the first of it by name."""
    study = api.submit("study", FOUR)
    lost = jobs_of(api, study)[1]
    assert lost["role"] == "1-train-distilled"
    work_off(api, fails=lambda run: run.id == lost["id"])
    done = api.job(study["id"])
    assert done["state"] == "partial"
    # The network, its calibration, and the two reports on it.
    assert done["counts"] == {"succeeded": 9, "failed": 4}
    assert done["error"]["type"] == "jobs_lost"
    assert (
        f"4 of 13 jobs came to nothing; first 1-train-distilled ({lost['id']})"
        in (done["error"]["message"])
    )
    retried = api.client.post(f"/v1/jobs/{study['id']}/retry").json()
    assert retried["retry_of"] == study["id"]
    assert retried["params"] == done["params"]


def test_a_study_without_a_single_report_fails(api):
    """The comparison has nothing to compare, and the study nothing to show."""
    study = api.submit("study", FOUR)
    work_off(api, fails=lambda run: run.kind in ("distill", "compare"))
    done = api.job(study["id"])
    assert done["state"] == "failed"
    assert "distill" in done["error"]["message"]


def test_a_cancelled_study_is_cancelled_whole(api):
    """A running job is asked, all others end at once, and none is left that could start."""
    study = api.submit("study", FOUR)
    run = api.claim()
    answer = api.client.post(f"/v1/jobs/{study['id']}/cancel")
    assert answer.status_code == 202
    assert answer.json()["counts"] == {"cancelled": 12, "cancelling": 1}
    with api.database.write() as connection:
        runs.end_cancelled(connection, run, Ending())
    assert api.job(study["id"])["state"] == "cancelled"
    told = api.client.get(f"/v1/jobs/{study['id']}/events", params={"limit": 100}).json()["items"]
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
    ended = [
        event["data"]["job_id"]
        for event in told
        if event["data"]["state"] == "cancelled" and event["type"] == "child"
    ]
    assert sorted(ended) == sorted(job["id"] for job in jobs_of(api, study))


def test_a_job_cancelled_within_a_study_leaves_the_others(api):
    """What needed it goes with it; the study ends partial."""
    study = api.submit("study", FOUR)
    distill = jobs_of(api, study)[0]
    api.client.post(f"/v1/jobs/{distill['id']}/cancel")
    work_off(api)
    done = api.job(study["id"])
    assert done["state"] == "partial"
    assert done["counts"] == {"succeeded": 8, "cancelled": 5}


def test_what_waits_for_a_job_of_a_cancelled_study_ends_with_it(api):
    """Jobs of others too."""
    study = api.submit("study", FOUR)
    distill = jobs_of(api, study)[0]["id"]
    own = api.submit("train", {"training_set": {"source": "distilled", "distilled_set": distill}})
    api.client.post(f"/v1/jobs/{study['id']}/cancel")
    assert api.job(own["id"])["state"] == "cancelled"


def test_only_what_is_at_work_is_shown_with_a_study(api):
    """It may have thousands; the rest is a list of its own."""
    study = api.submit("study", FOUR)
    assert [child["kind"] for child in study["children"]] == ["compare"]
    run = api.claim()
    shown = api.job(study["id"])
    assert shown["children"][0]["id"] == run.id
    assert shown["links"]["children"] == f"/v1/jobs?parent={study['id']}"
    assert shown["progress"]["steps"] == 13
    etag = api.client.get(f"/v1/jobs/{study['id']}").headers["ETag"]
    again = api.client.get(f"/v1/jobs/{study['id']}", headers={"If-None-Match": etag})
    assert again.status_code == 304


def test_an_extended_study_has_the_old_cells_first_and_more(api):
    """Its own values and rules, with further values."""
    study = api.submit("study", {"base": BASE, "vary": {"seed": [0, 1]}})
    more = api.submit("study", {"extends": study["id"], "vary": {"seed": [1, 2]}})
    assert more["params"]["vary"] == {"seed": [0, 1, 2]}
    assert more["params"]["base"] == BASE
    assert more["params"]["extends"] == study["id"]


@pytest.mark.parametrize(
    ("params", "pointer", "words"),
    [
        (
            {"base": BASE, "vary": {"distill.mask.ration": [0]}},
            "/params/vary/distill.mask.ration",
            "ratio",
        ),
        (
            {"base": BASE, "vary": {"distill.mask.ratio": [0, 1.5]}},
            "/params/vary/distill.mask.ratio",
            "in 1 of 2 cells",
        ),
        (
            {"base": {**BASE, "dataset": "digit"}, "vary": {"seed": [0]}},
            "/params/base/dataset",
            "digits",
        ),
        (
            {"base": BASE, "vary": {"dataset": ["digits", "nowhere"]}},
            "/params/vary/dataset",
            "nowhere",
        ),
        (
            {"base": BASE, "vary": {"distill.images_per_class": [1, 900]}},
            "/params/vary/distill.images_per_class",
            "900",
        ),
        (
            {"base": BASE, "vary": {"m": {"variants": {"deep": {"distill.depth": 9}}}}},
            "/params/vary/m/variants/deep/distill.depth",
            "in 1 of 1 cells",
        ),
        ({"base": {**BASE, "distil": {}}, "vary": {"seed": [0]}}, "/params/base/distil", "distill"),
        (
            {"base": BASE, "vary": {"seed": [*range(1001)], "n_validation": [5, 6]}},
            "/params/vary",
            "2,002",
        ),
        ({"base": BASE, "vary": {"seed": 3}}, "/params/vary/seed", "wanted"),
        ({"extends": "job_" + "0" * 26, "vary": {"seed": [1]}}, "/params/extends", "there is no"),
        (
            {"base": BASE, "vary": {"seed": [0, 1]}, "exclude": [{"seed": 5}]},
            "/params/exclude/0",
            "excludes nothing",
        ),
    ],
)
def test_what_cannot_be_is_told_before_anything_runs(shared_api, params, pointer, words):
    """Where it stands in the study, and in how many cells it is so."""
    found = refused(shared_api, params)
    assert words in found[pointer]
    assert shared_api.client.get("/v1/jobs", params={"kind": "study"}).json()["items"] == []


def test_only_studies_are_extended(api):
    """Not other jobs, and not what is gone."""
    job = api.submit("distill", {"dataset": "digits"})
    assert (
        "is a distill job"
        in refused(api, {"extends": job["id"], "vary": {"seed": [1]}})["/params/extends"]
    )


def rule(of, *against):
    """A rule of a study."""
    told = {"name": "one", "statement": "It is so.", "expected": "lower"}
    return {**told, "of": of, "against": [*against]}


@pytest.mark.parametrize(
    ("of", "other", "pointer", "words"),
    [
        (
            {"settings": {"distill.mask.ratio": [0.3, 0.4]}},
            {"settings": {"distill.mask.ratio": [0]}},
            "of/settings/distill.mask.ratio",
            "no cell has this value",
        ),
        (
            {"settings": {"distill.mask.ratios": [0.3]}},
            {"settings": {"distill.mask.ratio": [0]}},
            "of/settings/distill.mask.ratios",
            "wanted one of what varies",
        ),
        (
            {"settings": {"distill.mask.ratio": [0.3]}},
            {"training_set": "full"},
            "against/0/training_set",
            "no cell has training_set full; got distilled, random",
        ),
        ({"method": "ts"}, {"method": "none"}, "of/method", "no cell has method ts; got none"),
    ],
)
def test_a_rule_that_no_cell_can_answer_is_refused(shared_api, of, other, pointer, words):
    """It could only stay open; where it points to is named, and what there is instead."""
    found = refused(shared_api, {**FOUR, "rules": [rule(of, other)]})
    assert list(found) == [f"/params/rules/0/{pointer}"]
    assert words in found[f"/params/rules/0/{pointer}"]


def test_a_rule_that_cells_can_answer_is_taken(api):
    """0.0 is 0, and what the pipeline has by itself counts."""
    mask = {"settings": {"distill.mask.ratio": [0.3]}}
    good = rule(mask, {"settings": {"distill.mask.ratio": [0.0]}}, {"training_set": "random"})
    assert api.submit("study", {**FOUR, "rules": [good]})["kind"] == "study"
