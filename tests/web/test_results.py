import html
import io
import json
import re
import tarfile

import pytest

from app.shared.store.kinds import RESOURCES
from app.web import set_images
from ddcal_core.specs.exports import FORMATS
from tests.api.serving import SET, problem
from tests.api.test_experts import OUTPUT as EXPERTS_MADE
from tests.api.test_experts import PARAMS as EXPERT_PARAMS
from tests.api.test_results import DISTILL, chain

__all__ = ["chain"]  # a fixture, asked for by name

MARKUP = "<img src=x onerror=alert(1)>\u202e"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PIXEL = b"\x89PNG fake"


def links(text):
    """The results that a page leads to."""
    return set(re.findall(r'href="/results/([a-z]{3}_[0-9a-z]{26})"', text))


def made_set(api, **details):
    """A distilled set whose job has said so much of it."""
    _, (set_id,) = api.make("distill", DISTILL, ("distilled_set", {**SET, **details}, {}))
    return set_id


def shard(labels):
    """A tar as the export writes it, of images whose bytes tell their number."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for number, label in enumerate(labels):
            for end, content in (("png", PIXEL + b"%d" % number), ("cls", b"%d" % label)):
                member = tarfile.TarInfo(f"{number:06}.{end}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("kind", RESOURCES)
def test_each_kind_has_a_list(api, chain, kind):
    """Its own results alone, and a sentence where there is none."""
    text = api.client.get(f"/results?kind={kind}").text
    shown = links(text)
    collection = RESOURCES[kind].collection
    assert shown == ({chain[collection]} if collection in chain else set())
    assert (" yet." in text) == (not shown)


def test_lists_are_searched_and_sorted_as_the_api_does_it(api):
    """By a form, its numbers in percent; what makes no sense is named, and all are shown."""
    scored = [{"step": 1, "accuracy": one / 10} for one in (3, 9, 5)]
    ids = [made_set(api, chosen_step=1, validation_accuracies=[one]) for one in scored]

    def shown(query):
        text = api.client.get(f"/results?kind=distilled_set&{query}").text
        return list(dict.fromkeys(re.findall(r"(set_[0-9a-z]{26})<", text)))

    assert shown("q=&dataset=&tag=&sort=") == ids[::-1]
    assert shown("sort=-accuracy") == [ids[1], ids[2], ids[0]]
    assert shown("min_accuracy=45%25&sort=accuracy") == [ids[2], ids[1]]
    assert shown("method=mtt") == []
    assert shown("min_accuracy=much") == ids[::-1]
    text = api.client.get("/results?kind=distilled_set&min_accuracy=much").text
    assert "cannot be searched for as given: min accuracy" in text


def test_results_that_are_the_same_in_words_are_told_apart(api):
    """By mask and seed, where they have no name."""
    for seed, ratio in ((1, 0.0), (2, 0.3)):
        made_set(api, seed=seed, mask_ratio=ratio)
    text = api.client.get("/results?kind=distilled_set").text
    assert "<small>seed 1 · <code>" in text
    assert "<small>masked 30\u202f% · seed 2 · <code>" in text


def test_lists_go_on_where_they_ended(api, monkeypatch):
    """A page at a time, with the search kept."""
    monkeypatch.setattr("app.web.results.N_RESULTS", 2)
    ids = [made_set(api) for _ in range(3)]
    first = api.client.get("/results?kind=distilled_set&dataset=digits").text
    assert links(first) == set(ids[1:])
    (more,) = re.findall(r'href="([^"]+)" rel="next"', first)
    second = api.client.get(html.unescape(more)).text
    assert links(second) == {ids[0]}
    assert 'rel="next"' not in second


def test_reports_are_marked_to_be_compared(api, chain):
    """A form without a script."""
    text = api.client.get("/results").text
    assert '<form method="get" action="/compare">' in text
    assert f'<input type="checkbox" name="report" value="{chain["reports"]}"' in text


def test_a_result_s_page_says_how_to_use_it(api, chain):
    """Each format with its address, or why not, and lines that read it."""
    for collection, result_id in chain.items():
        page = api.client.get(f"/results/{result_id}").text
        (resource,) = (name for name, one in RESOURCES.items() if one.collection == collection)
        for word, facts in FORMATS[resource].items():
            assert facts.use in html.unescape(page)
            link = f'href="/v1/{collection}/{result_id}/content?format={word}"'
            assert (link in page) != (f"{word} <span" in page)
        assert "`" not in re.sub("<pre.*?</pre>", "", page, flags=re.DOTALL)
        assert api.client.get(f"/v1/{collection}/{result_id}").json()["links"]["job"] in page


def test_a_result_leads_to_what_it_was_made_from_and_what_came_of_it(api, chain):
    """Both ways, a step at a time; a report names all that is behind it."""
    of_set, model, calibration, report = chain.values()
    text = api.client.get(f"/results/{of_set}").text
    assert 'href="/datasets/digits"' in text
    assert links(text) - {of_set} == {model, report}
    assert links(api.client.get(f"/results/{model}").text) == {of_set, calibration, report}
    assert links(api.client.get(f"/results/{calibration}").text) == {of_set, model, report}
    assert links(api.client.get(f"/results/{report}").text) == {of_set, model, calibration}


def test_a_report_is_shown_in_place(api, chain):
    """In a frame that this service alone may put around it; links lead out of it."""
    text = api.client.get(f"/results/{chain['reports']}").text
    (source,) = re.findall(r'<iframe class="report" src="([^"]+)"', text)
    answer = api.client.get(source)
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'self'" in policy
    assert "allow-top-navigation-by-user-activation" in policy
    assert "allow-scripts" not in policy
    assert f'href="/explore/{chain["reports"]}"' in text


def test_experts_have_a_page_and_lead_to_the_sets_made_with_them(api):
    """What they are, and each set that was distilled with them."""
    _, (experts_id,) = api.make("experts", EXPERT_PARAMS, EXPERTS_MADE)
    made = ("distilled_set", {**SET, "expert_set_id": experts_id}, {})
    _, (set_id,) = api.make("distill", DISTILL, made)
    text = api.client.get(f"/results/{experts_id}").text
    assert links(text) == {set_id}
    assert "Sets of experts" in text
    assert 'content?format=safetensors"' in text
    assert experts_id in links(api.client.get(f"/results/{set_id}").text)
    assert experts_id in links(api.client.get("/results?kind=expert_set").text)


def test_a_set_says_what_is_wrong_with_it_and_what_factor_it_carries(api):
    """Warnings first; the factor in words, or why there is none."""
    warned = [{"code": "guesses", "message": f"It guesses. {MARKUP}"}]
    factor = {"factor": 0.655, "half_way_temperature": 0.79, "n_real": 259}
    text = api.client.get(
        f"/results/{made_set(api, warnings=warned, calibration_factor=factor)}"
    ).text
    assert "It guesses. &lt;img" in text
    assert "carries the factor 0.655, measured where it was made on 259 labelled" in text
    none = {"factor": None, "why_none": "it is separable"}
    text = api.client.get(f"/results/{made_set(api, calibration_factor=none)}").text
    assert "carries no factor for temperatures: it is separable." in text


def test_a_set_shows_its_spectrum_where_a_report_has_it(api, chain):
    """From the newest report on it; without, nothing is said."""
    set_id = chain["distilled-sets"]
    assert "effective rank" not in api.client.get(f"/results/{set_id}").text
    beside = {
        "distilled": {"effective_rank": 8.25, "relative_values": [1.0, 0.5]},
        "real": {"effective_rank": {"mean": 9.5}, "relative_values": {"mean": [1.0, 0.75]}},
    }
    held = {
        "training_sets": [{"label": "distilled", "distilled_set_id": set_id}],
        "spectrum_analysis": [
            {"training_set_label": "distilled", "n_images": 20, "as_they_are": beside}
        ],
    }
    report = {"dataset": "digits", "calibration_ids": [chain["calibrations"]], "rows": []}
    files = {"report.json": json.dumps(held).encode()}
    api.make("evaluate", {"calibrations": [chain["calibrations"]]}, ("report", report, files))
    text = api.client.get(f"/results/{set_id}").text
    assert (
        "effective rank of its 20 images is 8.2; that of as many random real images is 9.5" in text
    )
    # Half of the height between the axis and the top.
    assert 'class="line series-0" points="44.0,12.0 548.0,108.0"' in text


def test_name_tags_and_notes_are_changed_by_a_form(api, chain):
    """As the API changes them; what is wrong stands at its field, and nothing is changed."""
    path = f"/results/{chain['models']}"
    body = {"name": "the best", "tags": "env:prod\r\nteam: vision", "notes": "two\r\nlines"}
    answer = api.client.post(path, data=body, headers=FORM)
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    seen = api.client.get(f"/v1/models/{chain['models']}").json()
    assert (seen["name"], seen["notes"]) == ("the best", "two\nlines")
    assert seen["tags"] == {"env": "prod", "team": "vision"}
    wrong = {"name": "x" * 101, "tags": "env:test", "notes": ""}
    answer = api.client.post(path, data=wrong, headers=FORM)
    assert answer.status_code == 422
    assert 'id="name-problem"' in answer.text
    assert "env:test" in answer.text
    assert api.client.get(f"/v1/models/{chain['models']}").json()["tags"]["env"] == "prod"
    api.client.post(path, data={"name": "", "tags": "", "notes": ""}, headers=FORM)
    seen = api.client.get(f"/v1/models/{chain['models']}").json()
    assert (seen["name"], seen["tags"], seen["notes"]) == (None, {}, None)


def test_what_users_wrote_is_text_and_no_markup(api):
    """Names, tags, notes and names of classes may hold anything."""
    set_id = made_set(api, class_names=[MARKUP, "b"], image_shape=[1, 8, 8])
    change = {"name": "<img src=x onerror=alert(1)>", "tags": {"a": "<b>"}, "notes": MARKUP}
    assert api.client.patch(f"/v1/distilled-sets/{set_id}", json=change).status_code == 200
    api.client.get(f"/results/{set_id}/images")
    api.export(shard([0, 1]), "distilled_set.webdataset.tar")
    for path in (f"/results/{set_id}", f"/results/{set_id}/images", "/results?kind=distilled_set"):
        text = api.client.get(path).text
        assert "&lt;img src=x onerror=alert(1)&gt;" in text
        assert "<img src=x" not in text
        assert "<b>" not in text


def test_every_image_is_shown_class_by_class(api, monkeypatch):
    """Made when first asked for; then a page at a time, whatever the order in the set."""
    monkeypatch.setattr(set_images, "N_IMAGES", 3)
    set_id = made_set(api, class_names=["cat", "dog"], image_shape=[1, 8, 8])
    path = f"/results/{set_id}/images"
    waiting = api.client.get(path).text
    assert "are being made" in waiting
    assert 'data-every="1"' in waiting
    api.export(shard([1, 0, 1, 0]), "distilled_set.webdataset.tar")

    def shown(text):
        return [int(one) for one in re.findall(r'alt="Image ([0-9]+)"', text)]

    first = api.client.get(path).text
    assert shown(first) == [1, 3, 0]
    assert "data-every" not in first
    assert re.findall(r"<h2><bdi>(\w+)</bdi> <small>([^<]+)<", first) == [
        ("cat", "2 images"),
        ("dog", "2 images"),
    ]
    (more,) = re.findall(r'href="([^"]+)" rel="next"', first)
    assert shown(api.client.get(more).text) == [2]
    assert shown(api.client.get(f"{path}?class=1").text) == [0, 2]
    assert "no images from here on" in api.client.get(f"{path}?from=9").text
    assert problem(api.client.get(f"{path}?from=x"), 422)


def test_a_large_image_is_shown_by_itself(api, monkeypatch):
    """However small a page is, it shows one."""
    monkeypatch.setattr(set_images, "N_BYTES", 5)
    set_id = made_set(api)
    api.client.get(f"/results/{set_id}/images")
    api.export(shard([0, 0]), "distilled_set.webdataset.tar")
    assert api.client.get(f"/results/{set_id}/images").text.count("data:image/png") == 1


def test_pictures_that_cannot_be_made_are_told_of(api):
    """By the message of their job."""
    set_id = made_set(api)
    api.client.get(f"/results/{set_id}/images")
    api.fail(api.claim("intake"))
    text = api.client.get(f"/results/{set_id}/images").text
    assert "could not be made: loss" in text
    assert "data-every" not in text


def test_there_is_no_page_of_what_is_no_result(shared_api):
    """Neither of a job nor of anything that was deleted."""
    for wrong in ("job_" + "0" * 26, "set_" + "0" * 26, "set_x", "nothing"):
        problem(shared_api.client.get(f"/results/{wrong}"), 404)
    problem(shared_api.client.get(f"/results/mdl_{'0' * 26}/images"), 404)
