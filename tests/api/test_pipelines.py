import pytest
from pydantic import TypeAdapter

from ddcal_core.specs.calibration import CalibrationSpec
from tests.api.serving import SET, problem

CALIBRATION = TypeAdapter(CalibrationSpec)
CALIBRATE = [
    {"method": "none"},
    {"method": "ts", "fit_on": "validation"},
    {"method": "ts", "fit_on": "distilled"},
    {"method": "mts", "fit_on": "distilled", "mask": {"ratio": 0.5}},
]
PIPELINE = {
    "dataset": "digits",
    "seed": 7,
    "n_validation": 100,
    "distill": {"images_per_class": 3, "mask": {"ratio": 0.3}},
    "train": {"n_seeds": 2, "epochs": 50},
    "baselines": [{"source": "random"}, {"source": "full", "n_images": 400, "epochs": 9}],
    "calibrate": CALIBRATE,
    "evaluate": {"n_bins": 10, "mts_ratios": []},
}
ROLES = [
    "distill", "train-distilled", "train-random", "train-full", "calibrate-distilled",
    "calibrate-random", "calibrate-full", "evaluate",
]  # fmt: skip


@pytest.fixture
def family(api):
    """A pipeline's body and its children's, by role."""
    body = api.submit("pipeline", PIPELINE, priority=2, timeout_seconds=60)
    return body, {child["role"]: api.job(child["id"]) for child in body["children"]}


def test_children_have_their_roles_in_order(family):
    """A row of jobs for each training set, between distill and evaluate."""
    body, _ = family
    assert sorted(child["role"] for child in body["children"]) == sorted(ROLES)
    assert body["children"][0]["role"] == "distill"
    assert body["children"][-1]["role"] == "evaluate"
    assert (body["kind"], body["state"]) == ("pipeline", "blocked")


def test_children_share_what_was_asked_of_the_whole(family):
    """Data set, priority, timeout and parent."""
    body, children = family
    for child in children.values():
        shared = [child[name] for name in ("dataset", "priority", "timeout_seconds", "parent_id")]
        assert shared == ["digits", 2, 60, body["id"]]


def test_children_carry_whole_params_that_name_their_siblings(family):
    """Each child could have been submitted by itself."""
    _, children = family
    ids = {role: child["id"] for role, child in children.items()}
    params = {role: child["params"] for role, child in children.items()}
    assert params["distill"]["distill"]["images_per_class"] == 3
    assert params["train-distilled"]["training_set"] == {
        "source": "distilled", "distilled_set": ids["distill"],
    }  # fmt: skip
    assert params["train-distilled"]["dataset"] is None
    assert params["train-random"]["training_set"] == {"source": "random", "images_per_class": 3}
    assert params["train-full"]["training_set"] == {"source": "full", "n_images": 400}
    assert [params[f"train-{row}"]["train"]["epochs"] for row in ("random", "full")] == [50, 9]
    for role in ("distill", "train-random", "train-full"):
        assert (params[role]["seed"], params[role]["n_validation"]) == (7, 100)
    for row in ("distilled", "random", "full"):
        assert params[f"calibrate-{row}"]["models"] == [ids[f"train-{row}"]]
    evaluate = params["evaluate"]
    assert (evaluate["seed"], evaluate["evaluate"]["n_bins"]) == (7, 10)
    assert evaluate["evaluate"]["mts_ratios"] == []
    assert evaluate["calibrations"] == [
        ids[f"calibrate-{row}"] for row in ("distilled", "random", "full")
    ]


def test_the_full_row_leaves_fits_on_the_distilled_set_out(family):
    """Its networks have none; the other rows keep all."""
    _, children = family
    whole = [CALIBRATION.validate_python(spec).model_dump() for spec in CALIBRATE]
    assert children["calibrate-random"]["params"]["calibrate"] == whole
    assert children["calibrate-full"]["params"]["calibrate"] == whole[:2]


def test_each_further_loss_is_a_row_of_its_own(api):
    """On the same distilled set, told apart in role and params; two of a kind by a number."""
    losses = [
        {"name": "label_smoothing", "smoothing": 0.1},
        {"name": "mixup", "alpha": 0.2},
        {"name": "mixup", "alpha": 1.0},
    ]
    changes = {"baselines": [], "train_losses": losses}
    body = api.submit("pipeline", PIPELINE | changes)
    children = {child["role"]: api.job(child["id"]) for child in body["children"]}
    rows = ["distilled", "distilled-label-smoothing", "distilled-mixup", "distilled-mixup-2"]
    assert set(children) == {
        "distill",
        "evaluate",
        *(f"{kind}-{row}" for kind in ("train", "calibrate") for row in rows),
    }
    trained = [children[f"train-{row}"]["params"] for row in rows]
    assert [one["train"]["loss"] for one in trained] == [{"name": "cross_entropy"}, *losses]
    assert all(one["training_set"] == trained[0]["training_set"] for one in trained)
    assert children["evaluate"]["params"]["calibrations"] == [
        children[f"calibrate-{row}"]["id"] for row in rows
    ]


def test_children_wait_for_what_they_need(api, family):
    """What needs nothing is queued at once; the rest moves as its makers succeed."""
    body, children = family
    queued = {role for role, child in children.items() if child["state"] == "queued"}
    assert queued == {"distill", "train-random", "train-full"}
    api.succeed(_claim(api, children["distill"]["id"]), ("distilled_set", SET, {}))
    states = {child["role"]: child["state"] for child in api.job(body["id"])["children"]}
    assert states["train-distilled"] == "queued"
    assert states["calibrate-distilled"] == states["evaluate"] == "blocked"


def _claim(api, job_id):
    """Claim until the wanted job comes."""
    for _ in range(3):
        run = api.claim()
        if run.id == job_id:
            return run
    raise AssertionError(f"{job_id} was not queued")


def test_a_pipeline_shows_the_progress_of_its_children(api):
    """Ended children count whole; its ETag changes with every one of them."""
    params = {**PIPELINE, "baselines": []}
    body = api.submit("pipeline", params)
    assert (body["progress"]["step"], body["progress"]["steps"]) == (0, 4)
    first = api.client.get(f"/v1/jobs/{body['id']}")
    assert first.headers["etag"]
    run = api.claim()
    second = api.client.get(
        f"/v1/jobs/{body['id']}", headers={"If-None-Match": first.headers["etag"]}
    )
    assert second.status_code == 200
    assert second.json()["progress"]["phase"] == "distill"
    api.succeed(run, ("distilled_set", SET, {}))
    shown = api.job(body["id"])
    assert shown["progress"]["fraction"] == pytest.approx(0.25)
    assert [result["resource"] for result in shown["results"]] == ["distilled_set"]


def test_cancelling_a_pipeline_cancels_its_children(api, family):
    """Those that have not begun are cancelled at once, and with them the whole."""
    body, _ = family
    answer = api.client.post(f"/v1/jobs/{body['id']}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert {child["state"] for child in answer.json()["children"]} == {"cancelled"}


def test_a_child_is_deleted_only_with_its_pipeline(api, family):
    """Alone it would leave a hole; with the whole it goes."""
    body, children = family
    api.client.post(f"/v1/jobs/{body['id']}/cancel")
    child = children["distill"]["id"]
    assert problem(api.client.delete(f"/v1/jobs/{child}"), 409)["code"] == "job_in_pipeline"
    assert api.client.delete(f"/v1/jobs/{body['id']}").status_code == 204
    problem(api.client.get(f"/v1/jobs/{child}"), 404)


def test_the_lists_tell_families_apart(api, family):
    """All jobs, those of one pipeline, those in none."""
    body, children = family

    def listed(**query):
        return {job["id"] for job in api.client.get("/v1/jobs", params=query).json()["items"]}

    ids = {child["id"] for child in children.values()}
    assert listed() == ids | {body["id"]}
    assert listed(parent=body["id"]) == ids
    assert listed(parent="none") == {body["id"]}
    assert listed(kind="train", state="queued") == {
        children["train-random"]["id"], children["train-full"]["id"],
    }  # fmt: skip


def test_a_refused_pipeline_leaves_nothing(api):
    """No row of it, no child of it, no ring for it."""
    bad = {**PIPELINE, "train": {"depth": 6}}
    problem(api.client.post("/v1/jobs", json={"kind": "pipeline", "params": bad}), 422)
    assert api.n_jobs() == 0
