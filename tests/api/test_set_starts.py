"""A distillation that starts from a distilled set, over HTTP: waits for it, and fits it."""

import pytest

from tests.api.serving import refusals
from tests.api.test_set_uploads import upload
from tests.core.formats.stored import set_manifest

NOBODY = "0" * 26
SPEC = {"method": "dm", "images_per_class": 2, "iterations": 3}
FIRST = {"dataset": "digits", "seed": 3, "n_validation": 100, "distill": SPEC}
POINTER = "/params/distill/init/set"


def params_from(reference, **changes):
    """Go on from a set with the same data, unless the changes say otherwise."""
    spec = SPEC | {"init": {"set": reference}} | changes.pop("distill", {})
    return {**FIRST, "distill": spec, **changes}


def submit(api, params, kind="distill"):
    """The answer to a submission."""
    return api.client.post("/v1/jobs", json={"kind": kind, "params": params})


def values(**changes):
    """What a job reports of its set."""
    return set_manifest(**{"dataset": "digits", "images_per_class": 2} | changes).as_json()


@pytest.fixture
def made(api):
    """A set, and the job that made it."""
    job_id, (set_id,) = api.make("distill", FIRST, ("distilled_set", values(), {}))
    return {"the job": job_id, "the set": set_id}


@pytest.mark.parametrize("named", ["the job", "the set"])
def test_a_set_that_is_there_is_started_from_at_once(api, made, named):
    """By its own id or its job's, and with any method."""
    assert submit(api, params_from(made[named])).json()["state"] == "queued"
    other = {"method": "rtp", "n_bases": 2}
    assert submit(api, params_from(made[named], distill=other)).status_code == 202


@pytest.mark.parametrize("kind", ["distill", "pipeline"])
def test_a_set_that_is_being_made_is_waited_for(api, kind):
    """A pipeline's distillation, too: it starts once the set is there."""
    maker = api.submit("distill", FIRST)["id"]
    asked = submit(api, params_from(maker), kind).json()
    waiting = asked if kind == "distill" else api.job(asked["id"])["children"][0]
    assert (waiting["kind"], waiting["state"]) == ("distill", "blocked")
    api.succeed(api.claim(), ("distilled_set", values(), {}))
    assert api.job(waiting["id"])["state"] == "queued"


@pytest.mark.parametrize("kind", ["distill", "pipeline"])
@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"seed": 4}, "/params/seed", "set_of_other_data"),
        ({"n_validation": 50}, "/params/n_validation", "set_of_other_data"),
        ({"classes": [0, 1, 2]}, "/params/classes", "set_of_other_data"),
        (
            {"distill": {"images_per_class": 3}},
            "/params/distill/images_per_class",
            "set_of_other_size",
        ),
    ],
)
def test_a_set_that_does_not_fit_is_refused(api, made, kind, changes, pointer, code):
    """By the field that would have to be another."""
    for reference in made.values():
        answer = submit(api, params_from(reference, **changes), kind)
        assert refusals(answer) == [(pointer, code)]


def test_a_set_of_another_data_set_is_refused(api):
    """Whatever else is the same."""
    _, (set_id,) = api.make("distill", FIRST, ("distilled_set", values(dataset="mnist"), {}))
    assert refusals(submit(api, params_from(set_id))) == [(POINTER, "set_of_other_data")]


@pytest.mark.parametrize("reference", [f"set_{NOBODY}", f"job_{NOBODY}"])
def test_a_set_that_is_not_there_is_refused(api, reference):
    """Alone, and beside a misspelt field."""
    assert refusals(submit(api, params_from(reference))) == [(POINTER, "unknown_reference")]
    both = submit(api, {**params_from(reference), "n_validations": 3})
    assert (POINTER, "unknown_reference") in refusals(both)


def test_a_start_is_a_word_or_a_set(api):
    """A mistake in either is told where it is."""
    for init, pointer in (("nois", "/params/distill/init"), ({"set": "x"}, POINTER)):
        answer = submit(api, {**FIRST, "distill": SPEC | {"init": init}})
        assert [found for found, _ in refusals(answer)] == [pointer]


def test_the_lineage_of_a_set_names_its_start(api, made):
    """As long as that is there."""
    reported = values(initial_set_id=made["the set"])
    _, (set_id,) = api.make(
        "distill", params_from(made["the set"]), ("distilled_set", reported, {})
    )
    address = f"/v1/distilled-sets/{set_id}"
    shown = api.client.get(address).json()["lineage"]
    assert shown == {"datasets": ["digits"], "distilled_sets": [made["the set"]]}
    assert api.client.delete(f"/v1/jobs/{made['the job']}").status_code == 204
    assert api.client.get(address).json()["lineage"] == {"datasets": ["digits"]}


def test_an_imported_set_is_started_from(api):
    """Nothing is known of its split; its number of images is."""
    imported = values(method="imported", seed=0)
    assert upload(api).status_code == 202
    (set_id,) = api.succeed(api.claim("intake"), ("distilled_set", imported, {}))
    assert submit(api, params_from(set_id)).status_code == 202
    answer = submit(api, params_from(set_id, distill={"images_per_class": 5}))
    assert refusals(answer) == [("/params/distill/images_per_class", "set_of_other_size")]
