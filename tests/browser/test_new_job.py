"""Bringing images and asking for a job, with a real browser and its scripts."""

import json

from PIL import Image

from tests.browser.test_login import api, devtools, log_in, page

__all__ = ["api", "devtools", "page"]  # fixtures, asked for by name

SENT = "document.querySelector('#outcome pre').textContent"


def folder_of_images(folder):
    """Two classes with three images each, and a file that no class is."""
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for k in range(3):
            Image.new("RGB", (8, 8), (90 * label, 40 * k, 0)).save(folder / name / f"{k}.png")
    (folder / ".DS_Store").write_bytes(b"x")
    return folder


def test_a_folder_is_uploaded_by_dragging_it_in(page, api, tmp_path):
    """Under a session; refused first, with each problem at its field, then taken in."""
    log_in(page, api, "/upload")
    page.drop("#drop", folder_of_images(tmp_path / "my pets"))
    page.until("document.getElementById('chosen').textContent.startsWith('7 files')")
    assert page.evaluate("document.querySelector('[name=name]').value") == "my-pets"
    page.evaluate("document.querySelector('#upload details').open = true")
    page.fill("[name=resize]", "large")
    page.evaluate("document.querySelector('#upload button.primary').click()")
    page.until("document.getElementById('resize-problem').textContent !== ''")
    assert "wanted a whole number" in page.text()
    assert not api.uploads()
    page.evaluate("document.querySelector('[name=resize]').value = ''")
    page.press("#upload button.primary")
    assert page.path() == "/datasets/my-pets"
    assert "checking" in page.text()
    (taken,) = api.uploads()
    assert taken.stat().st_size > 0


def test_the_form_says_what_it_will_do_as_one_types(page, api):
    """Problems come and go at their fields; then it is submitted, and its job is there."""
    log_in(page, api, "/new")
    field = "[name='params.distill.images_per_class']"
    page.fill(field, "ten")
    page.until("document.querySelector('[aria-invalid]') !== null")
    told = "document.getElementById('params.distill.images_per_class-problem').textContent"
    assert page.evaluate(told) == 'wanted a whole number, got "ten"'
    page.evaluate(f'document.querySelector("{field}").value = ""')
    page.fill(field, "2")
    page.until("document.querySelector('[aria-invalid]') === null")
    document = json.loads(page.evaluate(SENT))
    assert document["params"] == {"dataset": "digits", "distill": {"images_per_class": 2}}
    own = json.loads(page.evaluate("document.getElementById('json').value"))
    assert own == document
    page.press("form.asking button[value=submit]")
    assert page.path().startswith("/jobs/job_")


def test_fields_that_do_not_count_are_put_away(page, api):
    """Those of other methods; one in which something stands stays, with what is wrong."""
    log_in(page, api, "/new")
    shown = "document.getElementById('params.distill.n_bases').closest('.field').hidden"
    assert page.evaluate(shown) is True
    choose = "document.querySelector(\"[name='params.distill.method']\")"
    change = "dispatchEvent(new Event('input', {bubbles: true}))"
    page.evaluate(f"{choose}.value = 'rtp'; {choose}.{change}")
    assert page.evaluate(shown) is False
    page.evaluate("document.querySelectorAll('details.group').forEach(one => one.open = true)")
    page.fill("[name='params.distill.n_bases']", "4")
    page.evaluate(f"{choose}.value = ''; {choose}.{change}")
    assert page.evaluate(shown) is False
    page.until("document.querySelector('[aria-invalid]') !== null")


def test_a_problem_is_never_in_a_folded_group(page, api):
    """A group that was folded again before the answer came opens where something is wrong."""
    log_in(page, api, "/new")
    group = "document.getElementById('params.train.epochs').closest('details')"
    page.evaluate(f"{group}.open = true")
    page.fill("[name='params.train.epochs']", "many")
    page.evaluate(f"{group}.open = false")
    page.until("document.querySelector('[aria-invalid]') !== null")
    assert page.evaluate(f"{group}.open") is True


def test_a_study_with_a_name_is_told_about_as_it_is_chosen(page, api):
    """First that none is chosen, then its cells."""
    log_in(page, api, "/new/study")
    page.fill("[name='named.seeds']", "2")
    told = "document.getElementById('named.named-problem').textContent"
    page.until(f"{told}.startsWith('wanted a name')")
    assert page.evaluate("document.getElementById('told').textContent") == ""
    page.evaluate("document.querySelector('[name=\"named.named\"][value=mts-ratio]').click()")
    page.until(f"{told} === ''")
    assert json.loads(page.evaluate(SENT))["params"] == {
        "named": "mts-ratio",
        "dataset": "digits",
        "seeds": 2,
    }
    assert "Cells" in page.text()


def test_a_form_that_is_clicked_twice_is_sent_once(page, api):
    """A double click would make two jobs."""
    log_in(page, api, "/")
    page.evaluate("window.refused = []")
    # Behind all listeners of the page; nothing is sent, so that the page stays.
    page.evaluate(
        "addEventListener('submit', (event) => "
        "{ refused.push(event.defaultPrevented); event.preventDefault(); })"
    )
    click = "document.querySelector('form[action=\"/new/example\"] button').click()"
    page.evaluate(click)
    page.evaluate(click)
    assert page.evaluate("refused") == [False, True]
