"""The page of a comparison: self-contained, escaped, each figure with words, all sections there."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.worker.small_jobs import file_of, run_kind
from tests.worker.trainer.comparing.made_reports import made_report, written

RATIO = "distill.mask.ratio"
RULE = {
    "name": "rule",
    "statement": "It is <b>lower</b>.",
    "of": {"settings": {RATIO: [0.3]}},
    "against": [{"settings": {RATIO: [0.0]}}],
    "expected": "lower",
    "min_seeds": 2,
}


def page_of(folder, settings, reports, **params):
    """The page of a comparison."""
    asked = [{"report": f"rep_{k:026d}", "settings": one} for k, one in enumerate(settings)]
    inputs = {"reports": written(folder / "in", reports)}
    (output,) = run_kind("compare", {"reports": asked, **params}, inputs, folder / "out")
    return file_of(output, "comparison.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two ratios, three seeds, curves, a baseline, a rule, and one that has failed."""
    settings = [{RATIO: ratio, "seed": seed} for ratio in (0.0, 0.3) for seed in (1, 2, 3)]
    reports = []
    for one in settings:
        draw = np.random.default_rng([int(10 * one[RATIO]), one["seed"]]).normal(0, 0.01, 2)
        networks = [{"ece": 0.3 - one[RATIO] / 2 + e, "accuracy": 0.8 + e} for e in draw.tolist()]
        curve = {r: [n["ece"] * (1 - r) for n in networks] for r in (0.0, 0.5)}
        reports.append(
            made_report({"none": networks}, curve=curve, baseline=[{"ece": 0.4, "accuracy": 0.5}])
        )
    failed = {RATIO: 0.9, "seed": 1}
    rules = {"rules": [RULE]}
    folder = tmp_path_factory.mktemp("page")
    return page_of(folder, [*settings, failed], [*reports, None], **rules)


class Tags(HTMLParser):
    """What a page is made of, and whether it is well-formed."""

    VOID = frozenset({"meta", "br", "img"})

    def __init__(self):
        super().__init__()
        self.seen, self.open, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_it_needs_nothing_from_elsewhere(page):
    """No script, no link, no image, and every element closed."""
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert {"script", "link", "iframe", "img"}.isdisjoint(tags.seen)
    assert not [value for name, value in tags.attributes if name.startswith("on") or name == "src"]
    assert "http" not in re.sub(r"<style>.*?</style>", "", page, flags=re.S)


def test_every_figure_has_words(page):
    """For those who do not see it: a title, and a caption above."""
    figures = re.findall(r"<figure>(.*?)</figure>", page, flags=re.S)
    # Two over the ratio, a heat map, two of differences, two of logits, two of spectra.
    assert len(figures) == 9
    for figure in figures:
        assert re.search(r'<svg[^>]* role="img" aria-label="[^"]{10,}"', figure)
        assert re.search(r"<figcaption><b>[^<]+</b>", figure)
        assert "nan" not in figure


def test_its_sections_say_what_is_in_the_record(page):
    """The settings, the numbers, the verdict, what failed, and what it means."""
    for heading in (
        "What differs", "The numbers", "What the rules come to", "Over each setting",
        "Both masks: while distilling and while calibrating", "Against the base, pair by pair",
        "How concentrated are the logits?", "How rich are the distilled sets?",
        "Where each number comes from", "How it was computed",
    ):  # fmt: skip
        assert f"<h2>{heading}</h2>" in page, heading
    assert '<span class="outcome confirmed">confirmed</span>' in page
    assert "failed: nan_loss" in page
    assert "3 seeds are few" in page
    # A setting of the distillation changes nothing on random images: one line for any.
    assert re.search(r'data-label="MDT mask ratio"><span>any</span>', page)


def test_texts_are_escaped(page, tmp_path):
    """Of rules, settings and data sets alike."""
    assert "It is &lt;b&gt;lower&lt;/b&gt;." in page
    settings = [{"distill.<i>": "<u>"}, {"distill.<i>": "x"}]
    reports = [made_report({"none": [{"ece": 0.5}]}, dataset="<s>") for _ in settings]
    told = page_of(tmp_path, settings, reports)
    assert not re.search("<[ius]>", told)
    assert "distill.&lt;i&gt;" in told


def test_results_without_differences_say_so(tmp_path):
    """The same runs, made twice."""
    reports = [made_report({"none": [{"ece": 0.5}]})] * 2
    told = page_of(tmp_path, [{}, {}], reports)
    assert "No setting differs" in told
    assert "<figure>" not in told
