"""The calibration explorer in a real browser: its numbers are those of the report."""

import json

import pytest

from tests.api.test_results import made_chain
from tests.browser.chromium import new_page
from tests.browser.test_login import address, devtools, served
from tests.waiting import until
from tests.worker.small_jobs import file_of
from tests.worker.trainer.test_kinds import pipeline, report

__all__ = ["devtools", "pipeline", "report"]  # fixtures, asked for by name

FILES = ("report.json", "report.html", "test_logits.safetensors")
EXACT = """Object.fromEntries(["ece", "accuracy", "confidence", "nll", "coverage", "accuracy-above"]
  .map(id => [id, Number(document.getElementById(id).dataset.exact)]))"""
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture
def explored(devtools, migrated_sqlite, tmp_path, report):
    """A tab with the explorer of a report that a trainer has written, and its numbers."""
    output, numbers = report
    with served(migrated_sqlite, tmp_path, None) as api, new_page(devtools) as tab:
        report_id = stored(api, output)
        tab.call("Log.enable")
        tab.open(address(api, f"/explore/{report_id}"))
        until(lambda: tab.evaluate("document.getElementById('explorer').dataset.ready") == "yes")
        yield tab, numbers
        assert [one for one in tab.events if one.get("method") == "Runtime.exceptionThrown"] == []


def stored(api, output):
    """The id of a report with the files that a trainer has written."""
    return made_chain(api, {name: file_of(output, name).read_bytes() for name in FILES})["reports"]


def numbers_at(tab):
    """What the page says now, exactly."""
    tab.evaluate(DRAWN)
    return tab.evaluate(EXACT)


def choose(tab, field, value):
    """Give a field another value, as a hand does."""
    tab.evaluate(
        f"(field => {{ field.value = {json.dumps(value)};"
        "for (const type of ['input', 'change']) field.dispatchEvent(new Event(type)); })"
        f"(document.getElementById({json.dumps(field)}))"
    )


def test_every_mark_has_the_numbers_of_the_report(explored):
    """At T = 1 and at each temperature found, of each training set."""
    tab, numbers = explored
    n_compared = 0
    for place, group in enumerate(numbers["training_sets"]):
        choose(tab, "network", str(place))
        wanted = [
            network
            for row in numbers["rows"]
            if row["training_set_index"] == place and row["method"] in ("none", "ts", "mts")
            for network in row["networks"]
            if network["model_id"] == group["model_ids"][0] and network["status"] == "ok"
        ]
        n_marks = tab.evaluate("document.getElementById('marks').children.length")
        assert n_marks == len(wanted)
        for mark, network in enumerate(wanted):
            tab.evaluate(f"document.getElementById('marks').children[{mark}].click()")
            found = numbers_at(tab)
            assert found["ece"] == pytest.approx(network["ece"], abs=1e-6)
            assert found["accuracy"] == network["accuracy"]
            assert found["nll"] == pytest.approx(network["nll"], rel=1e-6)
            gap = found["confidence"] - found["accuracy"]
            assert gap == pytest.approx(network["signed_gap"], abs=1e-6)
            n_compared += 1
    assert n_compared >= 6


def test_the_mask_ratio_moves_the_temperature_to_what_mts_finds_there(explored):
    """With the ECE that the report's curve has, of each curve and ratio."""
    tab, numbers = explored
    label, first = (
        numbers["training_sets"][0]["label"],
        numbers["training_sets"][0]["model_ids"][0],
    )
    curves = [one for one in numbers["mts_curves"] if one["training_set_label"] == label]
    assert curves
    n_compared = 0
    for place, curve in enumerate(curves):
        choose(tab, "curve", str(place))
        for step, point in enumerate(curve["points"]):
            (network,) = (one for one in point["networks"] if one["model_id"] == first)
            choose(tab, "ratio", str(step))
            found = numbers_at(tab)
            words = tab.evaluate("document.getElementById('ratio-words').textContent")
            if network["temperature"] is None:
                assert "finds no temperature" in words
                continue
            assert found["ece"] == pytest.approx(network["ece"], abs=1e-6)
            n_compared += 1
    assert n_compared >= 2


def test_a_threshold_says_what_is_answered_and_how_well(explored):
    """All answers from 0 on; fewer the higher it is, and never more than there are."""
    tab, _ = explored
    choose(tab, "threshold", "0")
    all_of_them = numbers_at(tab)
    assert all_of_them["coverage"] == 1
    assert all_of_them["accuracy-above"] == all_of_them["accuracy"]
    coverages = []
    for threshold in ("30", "50", "70", "100"):
        choose(tab, "threshold", threshold)
        coverages.append(numbers_at(tab)["coverage"])
    assert coverages == sorted(coverages, reverse=True)
    assert coverages[-1] < 1


def test_mistakes_are_shown_as_images(explored):
    """Each with what was said, how surely, and what it is; none that is right."""
    tab, _ = explored
    items = tab.evaluate("document.getElementById('mistakes').children.length")
    pictures = tab.evaluate("document.querySelectorAll('#mistakes canvas').length")
    assert items == pictures > 0
    sure = tab.evaluate(
        "[...document.querySelectorAll('#mistakes li')].map("
        "one => Number(one.textContent.match(/([0-9.]+)\\u202f% sure/)[1]))"
    )
    assert sure == sorted(sure, reverse=True)


def test_without_a_script_the_report_is_shown(devtools, migrated_sqlite, tmp_path, report):
    """With a sentence that says why there are no sliders."""
    output, _ = report
    with served(migrated_sqlite, tmp_path, None) as api, new_page(devtools) as tab:
        report_id = stored(api, output)
        tab.call("Emulation.setScriptExecutionDisabled", value=True)
        tab.open(address(api, f"/explore/{report_id}"))
        shown = tab.call("DOM.getDocument", depth=-1)["root"]
        text = json.dumps(shown)
        assert "The sliders need JavaScript" in text
        assert '"IFRAME"' in text
