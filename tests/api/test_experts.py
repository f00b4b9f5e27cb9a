"""Experts through HTTP: recorded, listed, named by mtt, and refused where they do not fit."""

import pytest
from sqlalchemy import update

from app.shared.store.tables import jobs
from tests.api.serving import refusals

NOBODY = "0" * 26
EXPERTS = {"n_experts": 2, "epochs": 4, "width": 8, "depth": 2}
PARAMS = {"dataset": "digits", "seed": 5, "experts": EXPERTS}
MTT = {
    "method": "mtt",
    "images_per_class": 1,
    "width": 8,
    "depth": 2,
    "max_start_epoch": 3,
    "expert_epochs": 2,
}
DISTILL = {"dataset": "digits", "seed": 5, "distill": MTT}
VALUES = {"dataset": "digits", "n_experts": 2, "epochs": 4}
OUTPUT = ("expert_set", VALUES, {"experts.safetensors": b"experts"})
PIPELINE = {"dataset": "digits", "distill": MTT, "calibrate": [{"method": "none"}]}


def submit(api, kind, params, **more):
    """The answer to a submission."""
    return api.client.post("/v1/jobs", json={"kind": kind, "params": params, **more})


def test_a_set_of_experts_is_listed_and_shown(api):
    """With its file, its job, and the data set it came from."""
    job_id, (experts_id,) = api.make("experts", PARAMS, OUTPUT)
    (listed,) = api.client.get("/v1/expert-sets").json()["items"]
    shown = api.client.get(f"/v1/expert-sets/{experts_id}").json()
    assert (listed["id"], listed["resource"], listed["job_id"]) == (
        experts_id,
        "expert_set",
        job_id,
    )
    assert shown["lineage"] == {"datasets": ["digits"]}
    assert [file["name"] for file in shown["artifacts"]] == ["experts.safetensors"]
    job = api.job(job_id)
    assert job["results"] == [
        {"resource": "expert_set", "id": experts_id, "url": f"/v1/expert-sets/{experts_id}"}
    ]
    content = api.client.get(shown["artifacts"][0]["url"])
    assert content.content == b"experts"
    assert api.client.get(f"/v1/expert-sets?job_id={job_id}").json()["items"] == [listed]
    assert api.client.get(f"/v1/expert-sets/exp_{NOBODY}").status_code == 404


@pytest.mark.parametrize("named", ["the job", "the set"])
def test_mtt_waits_for_the_experts_it_names(api, named):
    """By the job that records them, blocked until it has; or by themselves, at once."""
    if named == "the set":
        _, (reference,) = api.make("experts", PARAMS, OUTPUT)
    else:
        reference = api.submit("experts", PARAMS)["id"]
    body = api.submit("distill", {**DISTILL, "experts": reference})
    assert body["state"] == ("queued" if named == "the set" else "blocked")


def test_the_lineage_of_a_set_names_its_experts(api):
    """And no longer once they have been deleted."""
    job_id, (experts_id,) = api.make("experts", PARAMS, OUTPUT)
    values = {
        "dataset": "digits", "method": "mtt", "images_per_class": 1, "expert_set_id": experts_id,
    }  # fmt: skip
    _, (set_id,) = api.make(
        "distill", {**DISTILL, "experts": experts_id}, ("distilled_set", values, {})
    )
    address = f"/v1/distilled-sets/{set_id}"
    assert api.client.get(address).json()["lineage"] == {
        "datasets": ["digits"], "expert_sets": [experts_id],
    }  # fmt: skip
    assert api.client.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert api.client.get(address).json()["lineage"] == {"datasets": ["digits"]}


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"seed": 6}, [("/params/seed", "experts_of_other_data")]),
        ({"n_validation": 50}, [("/params/n_validation", "experts_of_other_data")]),
        ({"classes": [0, 1]}, [("/params/classes", "experts_of_other_data")]),
        (
            {"input_space": {"name": "zca"}},
            [("/params/input_space", "experts_of_other_data")],
        ),
        ({"distill": {**MTT, "width": 4}}, [("/params/distill/width", "experts_of_other_network")]),
        ({"distill": {**MTT, "depth": 1}}, [("/params/distill/depth", "experts_of_other_network")]),
        (
            {"distill": {**MTT, "max_start_epoch": 4}},
            [("/params/distill/max_start_epoch", "experts_too_short")],
        ),
    ],
    ids=["seed", "cut", "classes", "input space", "width", "depth", "epochs"],
)
def test_experts_that_do_not_fit_are_refused(api, changes, refused):
    """Each with a pointer to what differs."""
    experts = api.submit("experts", PARAMS)["id"]
    answer = submit(api, "distill", {**DISTILL, "experts": experts, **changes})
    assert refusals(answer) == refused


def test_experts_of_another_data_set_are_refused(api):
    """One may look alike and still be another."""
    (api.settings.named_folder / "MNIST/raw").mkdir(parents=True)
    (api.settings.named_folder / "MNIST/raw/train-images-idx3-ubyte").touch()
    experts = api.submit("experts", {**PARAMS, "dataset": "mnist"})["id"]
    answer = submit(api, "distill", {**DISTILL, "experts": experts})
    assert refusals(answer) == [("/params/dataset", "experts_of_other_data")]


def test_classes_by_name_and_by_index_are_the_same(api):
    """What counts is which they are."""
    experts = api.submit("experts", {**PARAMS, "classes": [0, 1]})["id"]
    named = {**DISTILL, "experts": experts, "classes": ["0", "1"]}
    assert submit(api, "distill", named).status_code == 202


@pytest.mark.parametrize(
    ("reference", "code"),
    [(f"exp_{NOBODY}", "unknown_reference"), (f"job_{NOBODY}", "unknown_reference")],
)
def test_experts_that_are_not_there_are_refused(api, reference, code):
    """Like any other reference."""
    answer = submit(api, "distill", {**DISTILL, "experts": reference})
    assert refusals(answer) == [("/params/experts", code)]


def test_experts_of_another_version_are_refused(api):
    """Params that this one cannot read are no 500."""
    experts = api.submit("experts", PARAMS)["id"]
    with api.database.write() as connection:
        params = {**PARAMS, "of_tomorrow": 1}
        connection.execute(update(jobs).where(jobs.c.id == experts).values(params=params))
    answer = submit(api, "distill", {**DISTILL, "experts": experts})
    assert refusals(answer) == [("/params/experts", "experts_of_another_version")]


def test_a_job_of_another_kind_makes_no_experts(api):
    """Nor does one that came to nothing."""
    other = api.submit("distill", {"dataset": "digits", "distill": {"images_per_class": 1}})["id"]
    answer = submit(api, "distill", {**DISTILL, "experts": other})
    assert refusals(answer) == [("/params/experts", "wrong_kind")]
    api.claim()
    experts = api.submit("experts", PARAMS)["id"]
    api.client.post(f"/v1/jobs/{experts}/cancel")
    answer = submit(api, "distill", {**DISTILL, "experts": experts})
    assert refusals(answer) == [("/params/experts", "reference_ended")]


@pytest.mark.parametrize(
    "params",
    [DISTILL, {"dataset": "digits", "experts": f"exp_{NOBODY}"}],
    ids=["mtt without", "dm with"],
)
def test_experts_and_mtt_go_together(api, params):
    """Neither is of use alone."""
    answer = submit(api, "distill", params)
    assert refusals(answer) == [("/params/experts", "invalid_value")]
    assert "wanted with method mtt and no other" in answer.text


def test_experts_too_deep_for_the_images_are_refused(api):
    """Digits are 8 x 8."""
    answer = submit(api, "experts", {**PARAMS, "experts": {**EXPERTS, "depth": 4}})
    assert refusals(answer) == [("/params/experts/depth", "depth_too_large")]


def test_experts_that_would_fill_the_disk_are_refused(api):
    """With what they would take; a pipeline's own too."""
    many = {**EXPERTS, "n_experts": 1_000, "epochs": 1_000, "width": 128}
    answer = submit(api, "experts", {**PARAMS, "experts": many})
    assert refusals(answer) == [("/params/experts", "experts_too_large")]
    # Digits: 128 (9 + 3) + 128 (9 128 + 3) + 10 (128 * 2 * 2 + 1) parameters.
    assert "1,001,000 snapshots (n_experts times epochs + 1) of 154,506 parameters" in answer.text
    distill = {**MTT, "width": 128}
    answer = submit(api, "pipeline", {**PIPELINE, "distill": distill, "experts": many})
    assert refusals(answer) == [("/params/experts", "experts_too_large")]


def children_of(body):
    """A pipeline's children by role."""
    return {child["role"]: child["id"] for child in body["children"]}


def test_a_pipeline_with_mtt_records_its_own_first(api):
    """Experts of its data and network, as long as they are read; distill waits for them."""
    body = api.submit("pipeline", {**PIPELINE, "seed": 3, "classes": [0, 1]})
    children = children_of(body)
    assert list(children)[:2] == ["experts", "distill"]
    experts = api.job(children["experts"])
    assert experts["state"] == "queued"
    assert experts["params"]["seed"] == 3
    assert experts["params"]["classes"] == [0, 1]
    spec = experts["params"]["experts"]
    assert (spec["width"], spec["depth"], spec["epochs"]) == (8, 2, 4)
    distill = api.job(children["distill"])
    assert distill["state"] == "blocked"
    assert distill["params"]["experts"] == children["experts"]


def test_a_pipeline_s_experts_can_be_set(api):
    """As far as they fit what is distilled."""
    body = api.submit("pipeline", {**PIPELINE, "experts": {**EXPERTS, "epochs": 9}})
    experts = api.job(children_of(body)["experts"])
    assert experts["params"]["experts"]["epochs"] == 9
    answer = submit(api, "pipeline", {**PIPELINE, "experts": {**EXPERTS, "width": 9}})
    assert refusals(answer) == [("/params/distill/width", "experts_of_other_network")]
    other = {"dataset": "digits", "calibrate": [{"method": "none"}], "experts": EXPERTS}
    assert refusals(submit(api, "pipeline", other)) == [("/params/experts", "experts_not_read")]


@pytest.mark.parametrize("reuse", [True, False])
def test_reuse_is_shown_and_passed_on_to_children(api, reuse):
    """Of a pipeline each job is asked the same."""
    more = {} if reuse else {"reuse": False}
    body = api.submit("pipeline", PIPELINE, **more)
    assert body["reuse"] is reuse
    assert body["reused_from"] is None
    assert {api.job(child["id"])["reuse"] for child in body["children"]} == {reuse}


def test_reuse_has_to_be_yes_or_no(api):
    """A word is neither."""
    answer = submit(api, "experts", PARAMS, reuse="no")
    assert [pointer for pointer, _ in refusals(answer)] == ["/reuse"]
