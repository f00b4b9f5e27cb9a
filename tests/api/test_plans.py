"""What a submission would do is told beforehand, and nothing is written."""

import pytest

from app.submission.requests import JOB_REQUESTS
from ddcal_core.specs.named_studies.definitions import NAMED_STUDIES
from tests.api.serving import SET, problem
from tests.api.test_studies import BASE, FOUR


def plan(api, kind, params):
    """What a submission would do."""
    answer = api.client.post("/v1/plans", json={"kind": kind, "params": params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_plan_counts_what_would_be_written(api):
    """The jobs of the study that is then submitted, and none before."""
    told = plan(api, "study", FOUR)
    assert api.n_jobs() == 0
    api.submit("study", FOUR)
    assert told["n_jobs"] == sum(told["jobs"].values()) == api.n_jobs() - 1
    assert told["n_cells"] == 4
    assert told["refused"] == []
    assert told["n_without_estimate"] == told["n_jobs"]


def test_each_cell_that_would_be_refused_is_told(api):
    """By what sets it apart; the others are counted."""
    vary = {"distill.images_per_class": [1, 900], "seed": [0, 1]}
    told = plan(api, "study", {"base": BASE, "vary": vary})
    assert told["n_cells"] == 2
    settings = [cell["settings"] for cell in told["refused"]]
    assert settings == [{"distill.images_per_class": 900, "seed": seed} for seed in (0, 1)]
    assert "900" in told["refused"][0]["errors"][0]["detail"]


def test_where_no_cell_is_left_the_plan_is_refused(api):
    """As the submission would be."""
    params = {"base": BASE, "vary": {"distill.images_per_class": [900]}}
    answer = api.client.post("/v1/plans", json={"kind": "study", "params": params})
    assert "/params/vary/distill.images_per_class" in [
        one["pointer"] for one in problem(answer, 422)["errors"]
    ]


def test_what_others_like_it_have_taken_is_the_estimate(api):
    """Whatever their seed; the rest is told to be unknown."""
    distill = {"dataset": "digits", "distill": {"method": "dm", "images_per_class": 1}}
    api.make("distill", {**distill, "seed": 3}, ("distilled_set", SET, {"a.bin": b"12345"}))
    told = plan(api, "distill", distill)
    assert told["n_without_estimate"] == 0
    assert told["estimated_bytes"] == 5
    assert plan(api, "distill", {**distill, "n_validation": 77})["n_without_estimate"] == 1


def test_every_kind_can_be_planned(shared_api):
    """A pipeline with its jobs, any other job as itself; what is wrong is 422."""
    assert plan(shared_api, "pipeline", BASE)["jobs"]["distill"] == 1
    for kind in JOB_REQUESTS:
        answer = shared_api.client.post("/v1/plans", json={"kind": kind, "params": {}})
        assert answer.status_code in (200, 422)


@pytest.mark.parametrize(
    ("name", "words"), [("fashion_mnist", "1 x 28 x 28 of 10 classes"), ("fasion", "dc reports")]
)
def test_published_numbers_are_for_images_like_the_papers(shared_api, name, words):
    """Digits are none of theirs: told before anything runs, of a named study, too."""
    distill = {"method": "dc", "preset": "published", "images_per_class": 1, "published_for": name}
    asked = {"kind": "distill", "params": {"dataset": "digits", "distill": distill}}
    answer = shared_api.client.post("/v1/plans", json=asked)
    assert words in " ".join(one["detail"] for one in problem(answer, 422)["errors"])
    params = {"named": "mdt-ratio", "dataset": "digits", "preset": "published"}
    asked = {"kind": "study", "params": {**params, "published_for": name}}
    answer = shared_api.client.post("/v1/plans", json=asked)
    assert words in " ".join(one["detail"] for one in problem(answer, 422)["errors"])


@pytest.mark.parametrize("preset", ["smoke", "published"])
@pytest.mark.parametrize("name", NAMED_STUDIES)
def test_every_named_study_can_be_run(shared_api, name, preset):
    """On digits at its smoke budget; the published one has no numbers for digits, and says so."""
    asked = {"kind": "study", "params": {"named": name, "dataset": "digits", "preset": preset}}
    answer = shared_api.client.post("/v1/plans", json=asked)
    if preset == "published":
        assert "published" in problem(answer, 422)["detail"]
        return
    told = answer.json()
    assert told["refused"] == []
    assert told["n_cells"] % 8 == 0


def test_named_studies_are_listed_with_what_decides(shared_api):
    """Each has a question, at least one rule, and eight seeds."""
    items = shared_api.client.get("/v1/named-studies").json()["items"]
    assert [one["name"] for one in items] == list(NAMED_STUDIES)
    for one in items:
        assert one["question"].endswith("?")
        assert one["rules"]
        assert all(rule["min_seeds"] == one["seeds"] == 8 for rule in one["rules"])
        assert "seed" in one["varies"]


@pytest.mark.parametrize(
    ("more", "pointer", "words"),
    [
        ({"named": "mts-ratios"}, "/params/named", 'did you mean "mts-ratio"'),
        ({"rules": []}, "/params/rules", "is fixed"),
        ({"vary": {"seed": [0]}}, "/params/vary", "is fixed"),
        ({"version": 99}, "/params/version", "version 1"),
        ({"dataset": "nowhere"}, "/params/base/dataset", "nowhere"),
    ],
)
def test_a_named_study_is_fixed(shared_api, more, pointer, words):
    """What decides is not chosen afterwards."""
    params = {"named": "mts-ratio", "dataset": "digits", **more}
    answer = shared_api.client.post("/v1/jobs", json={"kind": "study", "params": params})
    found = {one["pointer"]: one["detail"] for one in problem(answer, 422)["errors"]}
    assert words in found[pointer]


def test_a_named_study_with_fewer_seeds_is_run_all_the_same(api):
    """Its rules then stay open; retried, it is the same once more."""
    study = api.submit("study", {"named": "mdt-ratio", "dataset": "digits", "seeds": 2})
    assert study["params"]["vary"]["seed"] == [0, 1]
    assert study["params"]["version"] == 1
    assert study["name"] == "mdt-ratio"
    api.client.post(f"/v1/jobs/{study['id']}/cancel")
    again = api.client.post(f"/v1/jobs/{study['id']}/retry")
    assert again.status_code == 202, again.text
    assert again.json()["params"] == study["params"]


def test_an_extended_named_study_has_no_name(api):
    """Its rules hold for its own cells; with more of them it is a study of one's own."""
    study = api.submit("study", {"named": "mdt-ratio", "dataset": "digits", "seeds": 1})
    more = api.submit("study", {"extends": study["id"], "vary": {"seed": [1]}})
    assert more["params"]["named"] is None
    assert more["params"]["rules"] == study["params"]["rules"]
    assert more["params"]["vary"]["seed"] == [0, 1]


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"version": 99}, "/params/version"),
        ({"base": {}}, "/params/base"),
        ({"vary": {"seed": [0]}}, "/params/vary"),
    ],
)
def test_a_named_study_with_fields_of_its_own_is_refused(shared_api, more, pointer):
    """By its plan as by its submission, though each of its cells is sound."""
    params = {"named": "mts-ratio", "dataset": "digits", **more}
    for path in ("/v1/plans", "/v1/jobs"):
        answer = shared_api.client.post(path, json={"kind": "study", "params": params})
        assert [one["pointer"] for one in problem(answer, 422)["errors"]] == [pointer]


def test_rules_of_one_name_are_refused(shared_api):
    """Before anything is planned."""
    rule = {
        "name": "r",
        "statement": "lower",
        "of": {"settings": {"seed": [0]}},
        "against": [{"training_set": "random"}],
        "expected": "lower",
    }
    params = {"base": BASE, "vary": {"seed": [0, 1]}, "rules": [rule, rule]}
    answer = shared_api.client.post("/v1/plans", json={"kind": "study", "params": params})
    assert problem(answer, 422)["errors"][0]["pointer"] == "/params/rules"
