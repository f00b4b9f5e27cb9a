import re

import pytest

from app.submission.requests import PipelineRequest
from app.web.request_fields import fields_of
from app.web.study_forms import VARIED
from ddcal_core.specs.named_studies.definitions import NAMED_STUDIES
from tests.api.test_datasets import upload
from tests.web.test_new_job import posted, problems_at, sent

MARKUP = "<img src=x onerror=alert(1)>&\"'"


def studied(api, **fields):
    """The form of what varies, sent."""
    return posted(api, "/new/study", **fields)


def named(api, **fields):
    """The form of studies with a name, sent."""
    given = {f"named.{name}": value for name, value in fields.items() if name != "do"}
    return api.client.post("/new/study/named", data={"do": fields.get("do", "check"), **given})


def test_nothing_is_asked_for_yet(api):
    """Every named study stands there with what decides it; nothing is refused."""
    page = api.client.get("/new/study")
    assert page.status_code == 200
    assert not problems_at(page)
    for name in NAMED_STUDIES:
        assert f'name="named.named" value="{name}"' in page.text
    assert page.text.count('<p class="soft">Version ') == len(NAMED_STUDIES)


def test_what_people_vary_are_fields_of_a_pipeline():
    """A path that is renamed would be refused in every study."""
    known = {".".join(one.path[1:]) for one in fields_of(PipelineRequest)}
    assert {field.path[1] for field, _, _ in VARIED.values()} <= known


def test_lists_and_ranges_make_the_cells(api):
    """Typed into fields, or as a line with a path; the rest stays as it is for one pipeline."""
    answer = studied(
        api,
        **{
            "vary.distill.mask.ratio": "0, 0.3",
            "vary.seed": "0 to 3 by 1",
            "vary.other": "train.batch_size: 64, 256\r\n\r\ntrain.network: convnet",
            "combine": "crossed",
            "params.train.n_seeds": "2",
            "name": "masks",
        },
    )
    assert answer.status_code == 200, problems_at(answer)
    assert sent(answer) == {
        "kind": "study",
        "name": "masks",
        "params": {
            "base": {"dataset": "digits", "train": {"n_seeds": 2}},
            "vary": {
                "distill.mask.ratio": [0, 0.3],
                "seed": {"start": 0, "stop": 3, "step": 1},
                "train.batch_size": [64, 256],
                "train.network": ["convnet"],
            },
            "combine": "crossed",
        },
    }
    assert "<dt>Cells</dt><dd>16</dd>" in answer.text
    assert api.n_jobs() == 0


def test_values_are_what_their_fields_take(api):
    """A data set may be named by digits, and a switch varies, too."""
    upload(api, "2024")
    answer = studied(
        api,
        **{"vary.dataset": "digits, 2024", "vary.other": "distill.mask_inner: true, false"},
    )
    assert sent(answer)["params"]["vary"] == {
        "dataset": ["digits", "2024"],
        "distill.mask_inner": [True, False],
    }


def test_a_path_said_twice_is_refused(api):
    """Whichever of the fields and lines say it: one list would take the place of the other."""
    for fields, wrong in (
        ({"vary.seed": "0, 1", "vary.other": "seed: 2"}, "vary.seed"),
        ({"vary.other": "train.batch_size: 64\ntrain.batch_size: 128"}, "vary.other"),
    ):
        for do in ("check", "submit"):
            answer = studied(api, do=do, **fields)
            assert answer.status_code == 422
            assert problems_at(answer) == [wrong]
            assert "once, got it 2 times" in answer.text
    assert api.n_jobs() == 0


def test_a_study_is_submitted(api):
    """And the answer leads to it."""
    answer = studied(api, do="submit", **{"vary.seed": "0, 1"})
    assert answer.status_code == 303
    job = api.job(answer.headers["location"].removeprefix("/jobs/"))
    assert job["kind"] == "study"
    assert job["params"]["vary"] == {"seed": [0, 1]}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"vary.seed": "0, -1"}, {"vary.seed"}),
        ({"vary.seed": "3 to 0"}, {"vary.seed"}),
        ({"vary.seed": "a to b by c"}, {"vary.seed"}),
        ({"vary.distill.mask.ratio": "0, 1.5"}, {"vary.distill.mask.ratio"}),
        ({"vary.distill.method": "dm, dn"}, {"vary.distill.method"}),
        ({"vary.seed": "0", "vary.other": "no.such.path: 1"}, {"vary.other"}),
        ({"vary.seed": "0", "vary.other": "train.batch_size"}, {"vary.other"}),
        ({"vary.seed": "0", "params.train.n_seeds": "none"}, {"params.train.n_seeds"}),
        ({"vary.seed": "0", "params.dataset": "nothing"}, {"params.dataset"}),
    ],
)
def test_problems_stand_at_their_fields(api, fields, wrong):
    """Those of a value at its list, those of the pipeline as for one."""
    answer = studied(api, **fields)
    assert answer.status_code == 422
    assert set(problems_at(answer)) == wrong
    assert api.n_jobs() == 0


def test_a_study_in_which_nothing_varies_is_refused(api):
    """With what to do."""
    answer = studied(api)
    assert answer.status_code == 422
    assert "wanted base and vary" in answer.text


def test_named_studies_are_checked_and_submitted(api):
    """By name, data set, preset and seeds."""
    answer = named(api, named="mts-ratio", dataset="digits", preset="", seeds="2")
    assert answer.status_code == 200
    assert sent(answer) == {
        "kind": "study",
        "params": {"named": "mts-ratio", "dataset": "digits", "seeds": 2},
    }
    assert re.search(r"<dt>Cells</dt><dd>[1-9]", answer.text)
    answer = named(api, named="mts-ratio", dataset="digits", seeds="2", name="mine", do="submit")
    assert answer.status_code == 303
    job = api.job(answer.headers["location"].removeprefix("/jobs/"))
    assert (job["name"], job["params"]["named"]) == ("mine", "mts-ratio")


def test_what_is_wrong_with_a_named_study_stands_at_its_fields(api):
    """And what was typed stays, as text."""
    answer = named(api, named="none", dataset=MARKUP, preset=MARKUP, seeds=MARKUP, name=MARKUP)
    assert answer.status_code == 422
    told = re.findall(r'id="(named\.\w+)-problem" class="field-problem" role="alert"', answer.text)
    assert {"named.dataset", "named.preset", "named.seeds"} <= set(told)
    assert "<img src=x" not in answer.text
    answer = named(api, named="no-such-study", dataset="digits")
    assert answer.status_code == 422
    assert "no-such-study" in answer.text
