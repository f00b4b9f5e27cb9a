"""The report's numbers, words, figures and page, from measurements made by hand."""

import base64
import html.parser
import io
import json
import math
import re
from collections import Counter
from datetime import UTC, datetime
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from ddcal_core.formats.calibrations import CalibrationFindings
from ddcal_core.formats.pictures import strip_png
from ddcal_core.formats.report_analyses import (
    AttributionAnalysis,
    AttributionScores,
    CurveNetwork,
    CurvePoint,
    MaskedLogitCurve,
    MaskedLogitPoint,
    MtsCurve,
    ProbeAnalysis,
    ProbeScores,
)
from ddcal_core.formats.report_rows import OpenSummary, Summary, TemperatureSummary
from ddcal_core.formats.reports import ReportMadeWith, read_report
from ddcal_core.metrics import ReliabilityBins, ece_interval, null_level, wilson_interval
from ddcal_core.specs.calibration import MaskedTemperatureScaling
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.masks import MaskShape, MaskSpec
from tests.core.formats.stored import model_config, set_manifest, stored
from worker.trainer.inputs import DatasetInput, ModelInput, SetInput
from worker.trainer.report.analyses import logit_analysis, spectrum_analysis
from worker.trainer.report.calibration_words import calibration_label, calibration_labels
from worker.trainer.report.comparison import compare, ece_difference
from worker.trainer.report.findings import findings
from worker.trainer.report.measurements import (
    ece_and_gap,
    mean_and_deviation,
    measure,
    open_mean_and_deviation,
    predict,
)
from worker.trainer.report.network_report import Analyses, build_report
from worker.trainer.report.page.figures import (
    curve_figure,
    ece_spark,
    nice_ceiling,
    pool_bins,
    reliability_diagram,
)
from worker.trainer.report.page.origin import Origin
from worker.trainer.report.page.page import report_page
from worker.trainer.report.page.pictures import ClassStrip, SetPicture
from worker.trainer.report.ranking_scores import ranking_scores
from worker.trainer.report.row_words import (
    STATUS_WORDS,
    UNFITTED_WORDS,
    failures_of,
    is_fitted,
    percent,
    temperature_words,
    verdict_of,
)
from worker.trainer.report.rows import Measured, build_rows
from worker.trainer.report.training_sets import Network, TrainingSet, group_models, network_of

EVIL = "<script>alert('x')</script>&\"onload=\"x"
NONE = CalibrationFindings()
SEPARABLE = CalibrationFindings(
    method="ts", fit_on="training_set", status="separable", temperature=None
)
MASKED = CalibrationFindings(
    method="mts",
    fit_on="training_set",
    mask_ratio=0.7,
    temperature=2.0,
    spec=MaskedTemperatureScaling(method="mts", mask=MaskSpec(ratio=0.7)),
)


def generator():
    """A fresh generator for null levels."""
    return torch.Generator().manual_seed(0)


def sample(n=200, seed=0):
    """Logits of an over-confident network and labels it often misses."""
    source = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (n,), generator=source)
    logits = torch.randn(n, 4, generator=source) * 3
    logits[torch.arange(n), labels] += 2
    return logits, labels


def measured_at(logits, labels, values):
    """A measurement under what a calibration found."""
    return measure(
        logits,
        labels,
        status=values.status,
        temperature=values.temperature,
        n_bins=15,
        generator=generator(),
    )


def predicted_at(logits, labels, values):
    """Predictions under what a calibration found."""
    status, temperature = values.status, values.temperature
    return predict(logits, labels, status=status, temperature=temperature)


def model(name, training_set, seed_index, **train):
    """A model as an evaluate job has it."""
    config = model_config(
        training_set=training_set,
        distilled_set_id="set_1" if training_set == "distilled" else None,
        images_per_class=None if training_set == "full" else 2,
        n_train=8,
        network={"name": "convnet", "width": 4, "depth": 2},
        train={
            "epochs": 3,
            "lr": 0.1,
            "momentum": 0.9,
            "weight_decay": 0.0,
            "batch_size": 8,
            "n_seeds": 2,
            **train,
        },
        split={"dataset": EVIL, "seed": 0, "n_validation": None},
        seed=0,
        seed_index=seed_index,
        train_accuracy=1.0,
    )
    return ModelInput(id=name, path="/nowhere", config=config)


MANIFEST = set_manifest(
    method="dm",
    mask_ratio=0.3,
    n_images=8,
    n_real_images=100,
    seed=0,
    seconds=1.5,
    distill={"iterations": 3, "mask": {"ratio": 0.3}},
    calibration_factor=None,
)


FACTS = DatasetFacts(
    image_shape=(1, 8, 8),
    class_names=(EVIL, "b", "c", "d"),
    train_class_counts=(2,) * 4,
    test_class_counts=(50,) * 4,
    mean=(0.5,),
    std=(0.2,),
)
DATASET = DatasetInput(name=EVIL, facts=FACTS, source="upload")


def point(ratio, ece, statuses, std=None):
    """A point of a curve, of one network a status."""
    networks = tuple(
        CurveNetwork(
            model_id="mdl",
            status=status,
            temperature=2.0 if status == "ok" else None,
            masked_accuracy=0.5,
            ece=ece,
            signed_gap=ece,
        )
        for status in statuses
    )
    return CurvePoint(
        ratio=ratio,
        ece=Summary(mean=ece, std=std),
        signed_gap=Summary(mean=ece, std=std),
        temperature=OpenSummary(mean=2.0, std=None),
        masked_accuracy=OpenSummary(mean=0.5, std=None),
        statuses=dict(Counter(statuses)),
        networks=networks,
    )


def masked_point(ratio, mean, deviation, over_masks):
    """A point of what masks do to the logits."""
    one, two, three = (Summary(mean=value, std=None) for value in (mean, deviation, over_masks))
    return MaskedLogitPoint(ratio=ratio, largest_logit=one, deviation=two, over_masks=three)


def curve(fit_on, points, label="set", **mask):
    """A curve through points, masked by pixels unless told otherwise."""
    shape = MaskShape(**mask)
    return MtsCurve(training_set_label=label, fit_on=fit_on, mask=shape, points=tuple(points))


def changed(record, **changes):
    """A record with changes."""
    return record.model_copy(update=changes)


@pytest.fixture(scope="module")
def report():
    """A report on two networks on a distilled set and one on full data, evil names throughout."""
    models = [model("mdl_a", "distilled", 0), model("mdl_b", "distilled", 1)]
    models.append(model("mdl_c", "full", 0))
    measured = []
    for k, one in enumerate(models):
        logits, labels = sample(seed=k)
        before = measured_at(logits, labels, NONE)
        measured.append(Measured(network_of(one), f"cal_{k}", NONE, before, before, "none"))
        if one.config.training_set == "distilled":
            for j, values in enumerate((SEPARABLE, MASKED)):
                after = measured_at(logits, labels, values)
                id_, label = f"cal_{k}_{j}", calibration_label(values)
                measured.append(Measured(network_of(one), id_, values, after, before, label))
    sets = {"set_1": SetInput(id="set_1", path="/nowhere", manifest=MANIFEST)}
    groups = group_models(models, sets)
    rows = build_rows(groups, measured, n_test=200, n_bins=15)
    points = [
        point(ratio, 0.2 - ratio / 10, ["separable" if ratio == 0 else "ok", "ok"], std=0.01)
        for ratio in (0.0, 0.5, 0.9)
    ]
    curves = [curve(fit_on, points, groups[0].label) for fit_on in ("training_set", "validation")]
    logits = {one.id: sample(seed=k)[0] for k, one in enumerate(models)}
    pixels = torch.randn(7, 8, 1, 4, 4, generator=generator())
    of_rows = {
        calibration_label(values): [predicted_at(*sample(seed=k), values) for k in range(2)]
        for values in (NONE, MASKED)
    }
    analyses = Analyses(
        curves=curves,
        masked_logits=[
            MaskedLogitCurve(
                training_set_label=groups[0].label,
                mask=MaskShape(),
                n_draws=4,
                points=(
                    masked_point(0.0, 7.25, 1.0, 0.0),
                    masked_point(0.9, 2.5, 1.75, 0.625),
                ),
                words="smaller & more",
            )
        ],
        probes=[
            ProbeAnalysis(
                training_set_label=groups[0].label,
                probes=(
                    ProbeScores(
                        probe="rotation",
                        chance=0.25,
                        accuracy=Summary(mean=0.875, std=0.0625),
                        untrained=Summary(mean=0.5, std=None),
                        shuffled=Summary(mean=0.26, std=None),
                    ),
                ),
            )
        ],
        attributions=[
            AttributionAnalysis(
                training_set_label=groups[0].label,
                n_images=200,
                networks=(
                    AttributionScores(
                        concentration=0.75, deletion=0.125, insertion=0.625, random_order=0.5
                    ),
                    AttributionScores(
                        concentration=0.5, deletion=0.25, insertion=0.75, random_order=0.375
                    ),
                ),
            )
        ],
        ranking=ranking_scores(groups, rows),
        comparisons=[compare(rows[:3], of_rows, generator=generator())],
        logits=logit_analysis(groups, logits),
        spectra=[spectrum_analysis(groups[0].label, pixels[0], list(pixels[1:]))],
    )
    made_with = ReportMadeWith(torch="2", device="cpu", threads=1, seed=0, seconds=1.0)
    return build_report(DATASET, groups, rows, analyses, made_with)


@pytest.fixture(scope="module")
def page(report):
    """That report's page."""
    png = strip_png(np.zeros((2, 1, 8, 8), np.uint8))
    url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    strip = ClassStrip(EVIL, 2, 30, url, 17, 8)
    return report_page(report, [SetPicture("distilled", (strip,), 60)])


class Elements(html.parser.HTMLParser):
    """Every element with its attributes, and whether each is closed in order."""

    VOID = frozenset({"meta", "img", "br", "input", "link"})

    def __init__(self, page):
        super().__init__()
        self.found, self.open, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def shown_text(page):
    """A page's words, with one space between them."""
    return re.sub(r"[ \n]+", " ", "".join(Elements(page).text))


def test_the_page_stands_alone(page):
    """No script, handler or address elsewhere: nothing that a sandboxed page could not show."""
    elements = Elements(page)
    assert elements.open == []
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form", "use"}
    for tag, attributes in elements.found:
        assert not [name for name in attributes if name.startswith("on")]
        assert not {"srcset", "action", "style"} & set(attributes)
        assert tag == "a" or "href" not in attributes
        assert attributes.get("src", "data:image/png").startswith("data:image/png")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in page


def test_links_lead_into_the_page_to_its_files_and_to_results(page, report):
    """Within the page to what is there, once each; names of users are no addresses."""
    found = Elements(page).found
    links = [attributes["href"] for tag, attributes in found if tag == "a"]
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    within = [link.removeprefix("#") for link in links if link.startswith("#")]
    assert len(ids) == len(set(ids))
    assert set(within) <= set(ids)
    assert {"table", "meaning", "reliability", "words", "origin", "word-ece"} <= set(within)
    assert [link for link in links if not link.startswith("#")] == [
        f"/datasets/{quote(EVIL, safe='')}",
        "/results/set_1",
        *(f"/results/{id_}" for one in report.training_sets for id_ in one.model_ids),
        "report.json",
        "predictions.csv.gz",
        "test_logits.safetensors",
    ]


def test_the_first_screen_answers(page, report):
    """What was distilled, how far off networks are, and what each sort of calibration leaves."""
    screen = page[: page.index('<div id="table">')]
    text = shown_text(screen + "</main></body></html>")
    none, _, masked, _ = report.rows
    assert "What was distilled 30 images in place of 100. Shown: 1 of 60 classes." in text
    for heading, row in (("As trained", none), ("From the training images alone", masked)):
        assert f"{heading} {percent(row.ece.mean)} ECE {row.verdict}" in text
    assert "With labelled validation images" not in text
    assert screen.count("<svg") == 2
    assert "Of several calibrations the one of lowest ECE on these test images is shown" in text


def test_what_only_fails_is_answered_too(report):
    """From the small set alone nothing was found: the first screen says so."""
    rows = tuple(row for row in report.rows if row.method != "mts")
    text = shown_text(report_page(changed(report, rows=rows), []))
    assert (
        "From the training images alone none no calibration TS on training set has no best" in text
    )


def test_a_page_says_which_job_made_it(report):
    """Its date, version and request, escaped as all else; without it none of that."""
    origin = Origin("job_1", datetime(2026, 11, 30, 9, 5, tzinfo=UTC), "7.8.9", {"name": EVIL})
    page = report_page(report, [], origin)
    assert EVIL not in page
    text = shown_text(page)
    assert "30 November 2026" in text
    assert "2026-11-30 09:05 UTC by ddcal 7.8.9" in text
    assert "job_1" in text
    assert json.dumps(EVIL) in text
    assert "job_1" not in report_page(report, [])


def test_every_class_is_in_the_style_sheet(page):
    """A curve of a class that the style sheet does not know would be drawn in no colour."""
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    known = set(re.findall(r"\.([a-z][\w-]*)", style))
    used = {
        name
        for _, attributes in Elements(page).found
        for name in attributes.get("class", "").split()
    }
    assert used <= known


def test_names_from_users_are_text(page):
    """A data set and a class named like markup are shown as they are, and do nothing."""
    text = "".join(Elements(page).text)
    assert text.count(EVIL) >= 3
    assert EVIL not in page


def test_the_page_says_what_it_has_to(page, report):
    """Findings, every calibration, the limit in words, conventions and lineage are all there."""
    text = "".join(Elements(page).text)
    for words in (*report.findings, *report.conventions.values()):
        assert words in text
    for words in (report.comparisons[0].words, report.logit_words, "effective rank"):
        assert words in text
    for row in report.rows:
        assert row.calibration in text
    assert "ECE = 1 − accuracy, NLL infinite" in text
    assert "cal_0_1" in text
    assert "59 more classes are not shown" in text
    assert "The first 2 of 30 images per class" in text


def test_the_words_are_those_of_the_report(report):
    """A stranger is told what TS and a distilled set are, and nothing that does not occur."""
    text = "".join(Elements(report_page(report, [])).text)
    for word in ("Confidence", "ECE", "TS", "MTS", "Distilled set", "DM"):
        assert f"{word} " in text
    assert "scaling: a factor and an offset for each class" not in text
    only_none = tuple(row for row in report.rows if row.method == "none")
    plain = changed(report, rows=only_none, training_sets=report.training_sets[1:], mts_curves=())
    text = "".join(Elements(report_page(plain, [])).text)
    assert "masked temperature scaling: a share" not in text
    assert "distribution matching" not in text


def test_each_mask_has_a_figure_on_the_set_s_own_axis(report):
    """Curves of two masks are two figures with one axis."""
    old = report.mts_curves
    low = [point(one.ratio, 0.01, list(one.statuses)) for one in old[0].points]
    label = old[0].training_set_label
    patched = [curve(one.fit_on, low, label, unit="patch", patch_size=4) for one in old]
    page = report_page(changed(report, mts_curves=(*old, *patched)), [])
    assert page.count("masked: single pixels") == 1
    assert page.count("masked: patches of 4 × 4") == 1
    figures = [
        one for one in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if "share masked" in one
    ]
    axes = [re.findall(r'text-anchor="end">([0-9.]+)<', figure) for figure in figures]
    assert len(figures) == 2
    assert axes[0] == axes[1]


def test_a_report_says_its_version(report):
    """Beside its format, as every file does; what is written is read back as the same report."""
    assert (report.format, report.version) == ("ddcal report 1", 2)
    assert read_report(json.dumps(report.as_json(), allow_nan=False)) == report


@pytest.mark.parametrize("name", ["report", "logits_report"])
def test_a_stored_report_of_version_1_has_its_page(name):
    """Of networks and of uploaded logits: what is read back can be shown."""
    held = stored(name)
    text = "".join(Elements(report_page(read_report(held), [])).text)
    for words in (*held["findings"], *(row["calibration"] for row in held["rows"])):
        assert words in text


def test_further_measures_keep_their_order(report):
    """ECE <= root mean square <= maximum, as means of the same gaps; no limit has any."""
    for row in report.rows:
        if row.status != "ok":
            assert row.further is None
            continue
        for network in row.networks:
            middle = network.further.root_mean_square_calibration_error
            assert network.ece <= middle <= network.further.maximum_calibration_error
        means = [network.further.area_under_risk_coverage for network in row.networks]
        assert row.further.area_under_risk_coverage.mean == pytest.approx(np.mean(means))


def test_drawings_are_well_formed(page, report):
    """Every SVG of the page parses as XML and has a title for those who do not see it."""
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    first_screen, side_by_side = 2, 3
    assert len(drawings) == first_screen + len(report.rows) * 2 + side_by_side + 1 + 2 + 4
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert root.get("aria-label")
        assert root.find("title").text == root.get("aria-label")
        for number in re.findall(r'="(-?[0-9.]+)"', drawing):
            assert math.isfinite(float(number))


def test_bins_have_their_gap_and_interval(report):
    """Bin by bin in report.json: confidence - accuracy, Wilson's interval, None where empty."""
    bins = report.rows[0].networks[0].bins
    assert None in bins.accuracy
    for m, count in enumerate(bins.count):
        ends = (bins.wilson_low[m], bins.wilson_high[m])
        if count == 0:
            assert (*ends, bins.signed_gap[m]) == (None, None, None)
            continue
        assert bins.signed_gap[m] == bins.confidence[m] - bins.accuracy[m]
        assert ends == wilson_interval(bins.accuracy[m], count)


def test_rows_are_means_over_networks(report):
    """The distilled rows hold both networks, and the deviation is numpy's with n - 1."""
    none, separable, masked, full = report.rows
    for row in (none, separable, masked):
        values = [network.brier for network in row.networks]
        assert row.brier.mean == pytest.approx(np.mean(values))
        assert row.brier.std == pytest.approx(np.std(values, ddof=1))
        assert row.before.ece == none.ece
    assert (full.n_networks, full.ece.std) == (1, None)
    assert masked.temperature == TemperatureSummary(mean=2.0, std=0.0, n=2)
    assert separable.temperature.n == 0
    assert full.training_set_label == "full (8 images)"


def test_measurements_are_those_of_the_formula():
    """Accuracy, NLL and Brier at a temperature are those of a plain softmax."""
    logits, labels = sample()
    found = measured_at(logits, labels, MASKED)
    powers = np.exp(logits.double().numpy() / 2.0)
    shown = powers / powers.sum(1, keepdims=True)
    at_label = shown[np.arange(200), labels.numpy()]
    assert found.accuracy == (shown.argmax(1) == labels.numpy()).mean()
    assert found.nll == pytest.approx(-np.log(at_label).mean())
    assert found.brier == pytest.approx(((shown - np.eye(4)[labels.numpy()]) ** 2).sum(1).mean())
    assert found.signed_gap == pytest.approx(shown.max(1).mean() - found.accuracy)


def test_each_ece_has_its_interval_where_there_is_a_temperature(report, page):
    """The basic bootstrap's, around the ECE; none at the limit; in the page's table of networks."""
    logits, labels = sample()
    drawn = generator()
    probabilities = torch.softmax(logits.double() / 2, 1)
    null_level(probabilities.amax(1), 15, generator=drawn)
    wanted = ece_interval(probabilities, labels, 15, generator=drawn, n_draws=400)
    assert measured_at(logits, labels, MASKED).ece_interval == (wanted.low, wanted.high)
    assert measured_at(logits, labels, SEPARABLE).ece_interval is None
    network = report.rows[0].networks[0]
    low, high = (percent(end).rstrip("%").rstrip() for end in network.ece_interval)
    assert f"{percent(network.ece)} ({low} to {high})" in page


def test_the_limit_of_a_high_temperature():
    """Worse than chance: 1/K for every class, all in one bin, at the accuracy of the logits."""
    logits, labels = sample()
    found = measured_at(
        logits, labels, SEPARABLE.model_copy(update={"status": "worse_than_chance"})
    )
    share = float((logits.argmax(1) == labels).double().mean())
    assert found.accuracy == share
    assert found.ece == pytest.approx(abs(share - 0.25))
    assert found.signed_gap == pytest.approx(0.25 - share)
    assert found.nll == pytest.approx(math.log(4))
    assert found.brier == pytest.approx(0.75)
    (filled,) = [m for m, count in enumerate(found.bins.count) if count]
    assert found.bins.accuracy[filled] == share
    assert found.bins.confidence[filled] == 0.25


def test_an_unidentified_fit_leaves_the_network_as_it_is():
    """Where every temperature fits alike, the numbers are those of T = 1."""
    logits, labels = sample()
    unidentified = SEPARABLE.model_copy(update={"status": "unidentified"})
    assert measured_at(logits, labels, unidentified) == measured_at(logits, labels, NONE)


@pytest.mark.parametrize("status", ["ok", "separable", "worse_than_chance", "unidentified"])
def test_curve_and_table_agree(status):
    """The short form for curves gives the ECE and gap of the full measurement."""
    logits, labels = sample()
    temperature = 2.0 if status == "ok" else None
    full = measured_at(logits, labels, CalibrationFindings(status=status, temperature=temperature))
    short = ece_and_gap(logits, labels, status=status, temperature=temperature, n_bins=15)
    assert short == pytest.approx((full.ece, full.signed_gap))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 3.0], {"mean": 2.0, "std": pytest.approx(math.sqrt(2))}),
        ([4.0], {"mean": 4.0, "std": None}),
        ([1.0, None], {"mean": None, "std": None, "word": "infinite"}),
        ([], {"mean": None, "std": None, "word": "none"}),
    ],
)
def test_means_keep_infinity_in_words(values, expected):
    """One infinite value makes the mean infinite; one value has no deviation."""
    assert open_mean_and_deviation(values).as_json() == expected
    if expected["mean"] is not None:
        assert mean_and_deviation(values).as_json() == expected


@pytest.mark.parametrize(
    ("ece", "gap", "chance", "verdict"),
    [
        (0.03, 0.03, 0.03, "within chance"),
        (0.10, 0.10, 0.03, "over-confident"),
        (0.10, -0.06, 0.03, "under-confident"),
        (0.10, 0.05, 0.03, "off both ways"),
        (0.10, -0.02, 0.03, "off both ways"),
    ],
)
def test_verdicts(ece, gap, chance, verdict):
    """Chance first, then the direction if the gap explains more than half of the ECE."""
    assert verdict_of(ece, gap, chance) == verdict


def test_percent_is_written_for_people():
    """A true minus sign, a narrow space, and no negative zero."""
    assert percent(0.1234) == "12.3\u202f%"
    assert percent(-0.05, 0) == "−5\u202f%"
    assert percent(-0.0001) == "0.0\u202f%"


def test_findings_name_what_failed_and_what_helped(report):
    """The headline tells of the network as it is and as calibrated, the next of what failed."""
    first, second, third = findings("digits", report.rows)
    assert first.startswith(
        "On digits, the 2 networks trained on 2 distilled images per class are over-confident: ECE"
    )
    assert "TS on training set has no best fit." in second
    assert first.endswith("from the training images alone.")
    assert second.startswith("MTS 70\u202f% on training set brings the ECE to")
    assert third.startswith("For comparison, those trained on 8 real images are")


def test_losses_are_told_before_and_after_scaling(report):
    """Further losses get a sentence of their own, each with the ECE after the first TS."""
    none, _, masked, full = report.rows
    scaled = changed(masked, method="ts", calibration="TS on validation")
    other = {"training_set_index": 1, "loss": "mixup, α = 0.2"}
    said = findings("digits", [none, scaled, changed(none, **other), changed(scaled, **other)])
    before, after = (f"{100 * row.ece.mean:.1f}\u202f%" for row in (none, masked))
    scaled_words = f"({after} after TS on validation)"
    assert said[-1] == (
        f"By the loss trained with, the ECE is {before} with cross-entropy {scaled_words} and "
        f"{before} with mixup, α = 0.2 {scaled_words}."
    )
    assert not any("with mixup" in sentence for sentence in said[:-1])
    assert full.loss == "cross-entropy"


def test_a_calibration_that_hurts_is_said_to(report):
    """No praise for the least bad: an ECE that rises is called so."""
    none, _, masked, _ = report.rows
    worse = changed(masked, ece=Summary(mean=0.9, std=0.0), verdict="under-confident")
    headline, said = findings("digits", [none, worse])
    assert "once calibrated 90.0\u202f% from the training images alone" in headline
    assert said.startswith("MTS 70\u202f% on training set does not lower the ECE (90.0\u202f%)")


def test_what_costs_accuracy_or_a_class_is_never_the_best(report):
    """However low its ECE: it is not counted, and what it cost is said."""
    none, _, masked, _ = report.rows
    vector = changed(masked, calibration="vector scaling on validation", fit_on="validation")
    best = {"ece": Summary(mean=0.0, std=0.0), "failures": ("costs_accuracy", "class_wiped_out")}
    costly = changed(vector, **best, accuracy=Summary(mean=0.403, std=0.0))
    headline, said = findings("digits", [none, masked, costly])
    assert "vector scaling" not in headline
    before = f"{100 * costly.before.accuracy.mean:.1f}\u202f%"
    assert (
        f"Vector scaling on validation takes the accuracy from {before} to 40.3\u202f% and no "
        "longer names a class that the networks named before; it is not counted among the best."
    ) in said


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        (["separable"], "A on validation has no best fit."),
        (["worse_than_chance", "separable"], "A on validation and B on validation have no best"),
        (["unidentified"], "A on validation cannot be told from T = 1."),
        (["undetermined"], "A on validation could not be determined."),
        (["not_positive", "not_finite"], "A on validation and B on validation ended at no temp"),
        (["mixed"], "A on validation was found for some networks alone."),
        (["mixed", "mixed"], "A on validation and B on validation were found for some networks"),
    ],
)
def test_each_reason_why_nothing_was_found_has_its_own_words(report, statuses, words):
    """An optimiser that ended badly does not mean that no temperature is best."""
    none, _, masked, _ = report.rows
    rows = [
        changed(masked, calibration=f"{name} on validation", status=status)
        for name, status in zip("AB", statuses, strict=False)
    ]
    _, said = findings("digits", [none, *rows])
    assert words in said
    assert said.count(".") == 1


def test_every_status_that_is_not_fitted_has_words():
    """A new status without them would fail a report."""
    assert set(UNFITTED_WORDS) == {status for status in STATUS_WORDS if not is_fitted(status)}


def test_one_image_less_of_all_that_were_right_costs_no_accuracy(report):
    """A share of 1 has an interval, too: that of 360 goes down to 98.9 %."""
    n = 360
    labels = torch.arange(n) % 3
    right = torch.eye(3)[labels] * 9
    values = CalibrationFindings(method="vector", fit_on="validation", temperature=None)
    for n_lost, costs in ((1, False), (3, False), (5, True)):
        fewer = right.clone()
        fewer[:n_lost] = fewer[:n_lost].roll(1, 1)
        before, after = measured_at(right, labels, NONE), measured_at(fewer, labels, NONE)
        member = Measured(Network("mdl_a"), "cal_a", values, after, before, "vector scaling")
        group = TrainingSet("a set", "images", (Network("mdl_a"),))
        (row,) = build_rows([group], [member], n_test=n, n_bins=15)
        assert ("costs_accuracy" in row.failures) == costs


def test_what_was_used_is_said_of_each_best(report):
    """Nothing but the training images, labels when the set was made, labels now."""
    none, _, masked, _ = report.rows
    carried = changed(masked, calibration="T carried with the set")
    labelled = changed(masked, calibration="TS on validation", fit_on="validation")
    headline, said = findings("digits", [none, masked, carried, labelled])
    ece = f"{100 * masked.ece.mean:.1f}\u202f%"
    assert headline.endswith(
        f"; once calibrated {ece} from the training images alone, {ece} with labels used when the "
        f"set was made and {ece} with labelled validation images."
    )
    for name in ("MTS 70\u202f% on training set", "T carried with the set", "TS on validation"):
        assert f"{name} brings the ECE to {ece}" in said


def test_guessing_is_by_a_networks_own_predictions():
    """A network that tells classes apart does not guess, however large one class is."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(400, generator=generator) > 0.9).long()
    is_seen = torch.rand(400, generator=generator) < 0.85
    predicted = torch.where(is_seen, labels, 1 - labels)
    for chosen in (predicted, torch.zeros_like(labels)):
        measured = measure(
            torch.eye(2)[chosen], labels, status="ok", temperature=1.0, n_bins=15,
            generator=generator,
        )  # fmt: skip
        pairs = [float((chosen == labels.roll(shift)).double().mean()) for shift in range(400)]
        assert measured.guessing == pytest.approx(sum(pairs) / 400)
        assert (measured.accuracy > measured.guessing + 0.05) == (chosen is predicted)
    assert float(is_seen.double().mean()) < float(1 - labels.double().mean())


def test_networks_that_guess_are_said_to_and_nothing_is_recommended(report):
    """Within the 95 % interval of their own predictions in random order."""
    none, _, masked, _ = report.rows
    accuracy = Summary(mean=0.34, std=0.0)
    before = none.before.model_copy(update={"accuracy": accuracy})
    rows = [
        changed(row, accuracy=accuracy, before=before, guessing=1 / 3) for row in (none, masked)
    ]
    (headline,) = findings("digits", rows)
    assert headline.endswith(
        "guess: accuracy 34.0\u202f%, where the same predictions in random order get 33.3\u202f%. "
        "No calibration of them is recommended."
    )


def test_temperatures_in_words(report):
    """Limits are written as limits, numbers with their deviation, T = 1 plainly."""
    none, separable, masked, _ = report.rows
    assert [temperature_words(row) for row in (none, separable, masked)] == ["1", "→ 0", "2 ± 0"]
    found = TemperatureSummary(mean=2.0, std=None, n=1)
    mixed = changed(masked, status="mixed", temperature=found)
    assert temperature_words(mixed) == "2 (1 of 2)"
    far_apart = changed(masked, temperature=TemperatureSummary(mean=194.2, std=179.3, n=2))
    assert temperature_words(far_apart) == "194 ± 179"


def test_calibrations_in_words():
    """Method, ratio and images make the name."""
    names = [calibration_label(values) for values in (NONE, SEPARABLE, MASKED)]
    assert names == ["none", "TS on training set", "MTS 70\u202f% on training set"]


def test_masks_are_named_by_what_is_not_the_default():
    """Two calibrations with unlike masks never share a name, and so never a row."""
    mask = MaskSpec(
        ratio=0.7,
        unit="patch",
        patch_size=4,
        channels="independent",
        scope="shared",
        fill="noise",
    )
    spec = MaskedTemperatureScaling(method="mts", mask=mask, draws_per_image=5)
    assert calibration_label(MASKED.model_copy(update={"spec": spec})) == (
        "MTS 70\u202f% in 4 × 4 patches, channels apart, one mask for all, noise for pixels, "
        "5 draws an image on training set"
    )
    assert calibration_label(MASKED) == "MTS 70\u202f% on training set"


def masked_at(ratio):
    """MTS at a ratio."""
    spec = MaskedTemperatureScaling(method="mts", mask=MaskSpec(ratio=ratio))
    return MASKED.model_copy(update={"spec": spec})


def test_no_two_calibrations_of_a_network_share_a_name():
    """Close ratios read as they are, and what reads alike all the same is numbered."""
    close = [masked_at(ratio) for ratio in (0.701, 0.704, 0.995, 0.29)]
    assert [label.split(" on ")[0] for label in calibration_labels(close)] == [
        f"MTS {ratio}\u202f%" for ratio in ("70.1", "70.4", "99.5", "29")
    ]
    assert calibration_labels([NONE, SEPARABLE, SEPARABLE, MASKED, SEPARABLE]) == [
        "none",
        "TS on training set",
        "TS on training set #2",
        "MTS 70\u202f% on training set",
        "TS on training set #3",
    ]


def test_calibrations_of_unlike_networks_are_not_compared():
    """One network's ECE less two others' is nobody's."""
    of_two, of_one = ([predicted_at(*sample(seed=k), NONE) for k in range(n)] for n in (2, 1))
    with pytest.raises(ValueError, match="the same networks on both sides; got 2 and 1"):
        ece_difference(of_two, of_one, n_bins=15, generator=generator())


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ({"name": "label_smoothing", "smoothing": 0.05}, "label smoothing 0.05"),
        ({"name": "focal", "gamma": 3.0}, "focal loss, γ = 3"),
        ({"name": "flsd_53"}, "focal loss FLSD-53"),
        ({"name": "mixup", "alpha": 0.2}, "mixup, α = 0.2"),
    ],
)
def test_a_loss_makes_a_group_of_rows_with_its_name(loss, words):
    """Networks of another loss stand apart; those made before there was a choice do not."""
    before = model("mdl_0", "random", 0)
    plain = model("mdl_1", "random", 0, loss={"name": "cross_entropy"})
    other = model("mdl_2", "random", 0, loss=loss)
    groups = group_models([before, plain, other], {})
    assert [len(group.models) for group in groups] == [2, 1]
    assert [group.label for group in groups] == [
        "random (2 per class)",
        f"random (2 per class), {words}",
    ]
    assert groups[1].images == f"2 random real images per class with {words}"


def test_equal_training_sets_get_different_labels():
    """Two distilled sets made alike are told apart by a number."""
    one, other = model("mdl_a", "distilled", 0), model("mdl_b", "distilled", 0)
    config = other.config.model_copy(update={"distilled_set_id": "set_2"})
    other = other.model_copy(update={"config": config})
    sets = {
        set_id: SetInput(id=set_id, path="/nowhere", manifest=MANIFEST)
        for set_id in ("set_1", "set_2")
    }
    labels = [group.label for group in group_models([one, other], sets)]
    assert labels == [
        "distilled (DM, MDT 30\u202f%, 2 per class)",
        "distilled (DM, MDT 30\u202f%, 2 per class) #2",
    ]


def test_pooled_bins_are_those_of_all_predictions():
    """Pooling two networks' bins is binning their predictions together."""
    first, second = sample(seed=0), sample(seed=1)
    together = tuple(torch.cat(pair) for pair in zip(first, second, strict=True))
    parts = [measured_at(*one, NONE).bins for one in (first, second)]
    pooled, whole = pool_bins(parts), measured_at(*together, NONE).bins
    assert (pooled.edges, pooled.count) == (whole.edges, whole.count)
    for name in ("confidence", "accuracy"):
        for found, wanted in zip(getattr(pooled, name), getattr(whole, name), strict=True):
            assert found == (None if wanted is None else pytest.approx(wanted))


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    [(0.5, 10, 0.2366, 0.7634), (0.0, 10, 0.0, 0.2775), (1.0, 20, 0.8389, 1.0)],
)
def test_wilson_intervals_are_the_published_ones(share, n, low, high):
    """Values as tables of the Wilson score interval give them."""
    assert wilson_interval(share, n) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("value", "top"), [(0.0, 0.01), (0.03, 0.04), (0.06, 0.06), (0.21, 0.4), (0.7, 0.8)]
)
def test_axes_end_at_round_numbers(value, top):
    """The end of an axis is the next of 1, 2, 4, 6, 8 and 10 times a power of ten."""
    assert nice_ceiling(value) == pytest.approx(top)


def test_a_reliability_diagram_draws_what_it_is_given():
    """One bar a filled bin, from the foot to its accuracy; gaps are coloured by their sign."""
    bins = ReliabilityBins(
        edges=(0.0, 0.5, 1.0), count=(10, 30), confidence=(0.4, 0.9), accuracy=(0.6, 0.5)
    )
    drawing = ElementTree.fromstring(reliability_diagram(bins, n_networks=2, title="t"))
    bars = [shape for shape in drawing.iter("rect") if shape.get("class") == "bar"]
    assert [float(bar.get("height")) for bar in bars] == [0.6 * 200, 0.5 * 200]
    gaps = [shape for shape in drawing.iter("rect") if "gap" in shape.get("class")]
    assert [gap.get("class") for gap in gaps] == ["gap under", "gap over"]
    assert [float(gap.get("height")) for gap in gaps] == pytest.approx([0.2 * 200, 0.4 * 200])
    assert "10 predictions" in drawing.findall("g")[0].find("title").text


def test_a_curve_marks_the_points_without_temperature():
    """Open circles stand where some network had no best temperature, and only there."""
    drawing = ElementTree.fromstring(
        curve_figure(
            [curve("validation", [point(0.0, 0.1, ["separable"]), point(0.5, 0.1, ["ok"])])],
            top=0.4,
            before=0.2,
            chance=0.03,
            title="t",
        )
    )
    marks = [shape.get("class") for shape in drawing.iter("circle")]
    assert marks == ["mark open on-validation", "mark on-validation"]
    assert not list(drawing.iter("polygon"))


def test_a_small_drawing_moves_from_before_to_after(report):
    """The dot lies at the ECE after, the hollow one at the ECE before, on one scale."""
    _, _, masked, _ = report.rows
    drawing = ElementTree.fromstring(ece_spark(masked, top=1.0))
    places = {shape.get("class"): float(shape.get("cx")) for shape in drawing.iter("circle")}
    assert places["dot"] == pytest.approx(4 + 140 * masked.ece.mean, abs=0.01)
    assert places["hollow"] == pytest.approx(4 + 140 * masked.before.ece.mean, abs=0.01)


def test_strips_are_the_pixels():
    """A strip is the images side by side with one grey column between."""
    pixels = torch.arange(2 * 3 * 4 * 5).view(2, 3, 4, 5).to(torch.uint8)
    with Image.open(io.BytesIO(strip_png(pixels.numpy()))) as picture:
        strip = np.asarray(picture)
    assert strip.shape == (4, 11, 3)
    assert np.array_equal(strip[:, :5], pixels[0].permute(1, 2, 0))
    assert (strip[:, 5] == 128).all()
    assert np.array_equal(strip[:, 6:], pixels[1].permute(1, 2, 0))


@pytest.mark.parametrize(
    ("method", "verdict", "status", "fitted", "expected"),
    [
        ("none", "over-confident", "ok", [], []),
        ("ts", "over-confident", "ok", [[]], ["under_calibration"]),
        ("ts", "under-confident", "ok", [["under_calibration"]], ["over_calibration"]),
        (
            "mts",
            "within chance",
            "ok",
            [["over_calibration"], ["accuracy_lost"]],
            ["accuracy_lost"],
        ),
        ("ts", "over-confident", "separable", [[]], []),
        (
            "mts",
            "under-confident",
            "ok",
            [["nearly_uniform"]],
            ["over_calibration", "nearly_uniform"],
        ),
    ],
)
def test_failures_are_named_by_what_the_test_shows(method, verdict, status, fitted, expected):
    """The direction is the test's; what only the fit can see is taken from any network."""
    assert failures_of(method, verdict, status, fitted) == expected


def test_failures_are_said_on_the_page(page, report):
    """A calibrated row that stays over-confident is named so, with the rule below the table."""
    _, separable, masked, _ = report.rows
    assert (masked.verdict, masked.failures) == ("over-confident", ("under_calibration",))
    assert separable.failures == ()
    assert "is over-confident after it" in masked.words
    text = "".join(Elements(page).text)
    assert "under calibration" in text
    assert "What was fitted leaves too much confidence" in text
    assert "Under-calibrated: " not in text


def test_the_page_says_what_masks_do_to_logits(report, page):
    """A sentence per training set, a line per ratio; without curves no section."""
    assert "What do masks do to the logits?" in page
    assert "<li>smaller &amp; more</li>" in page
    section = page[page.index("What do masks do") :]
    cells = re.findall(
        r"<td[^>]*><span>(.*?)</span></td>", section[: section.index("</table>")], re.DOTALL
    )
    assert [cell.strip() for cell in cells[1:6]] == ["0\u202f%", "7.25", "1", "0.14", "0"]
    assert [cell.strip() for cell in cells[7:]] == ["90\u202f%", "2.5", "1.8", "0.70", "0.62"]
    assert "masks do to the logits" not in report_page(changed(report, masked_logits=()), [])


def test_the_page_holds_the_set_against_all_images(report, page):
    """HLR beside full; what has nothing beside it has no line."""
    (scores,) = report.ranking
    distilled, full = (
        next(row for row in report.rows if row.training_set == source and row.method == "none")
        for source in ("distilled", "full")
    )
    difference = full.accuracy.mean - distilled.accuracy.mean
    assert scores.hard_label_recovery.mean == pytest.approx(difference)
    assert scores.improvement_over_random is None
    assert "Against all images, and against random ones" in page
    section = page[page.index("Against all images, and against random") :]
    table = section[: section.index("</table>")]
    assert ">HLR<" in table
    assert ">IOR<" not in table
    assert "Against all images" not in report_page(changed(report, ranking=()), [])


def test_the_page_shows_what_attributions_say(report, page):
    """Means over networks with their deviation; where none was asked for there is no section."""
    assert "Which pixels do the networks go by?" in page
    for shown in ("62.5\u202f% ± 17.7\u202f%", "18.8\u202f%", "68.8\u202f%", "43.8\u202f%"):
        assert shown in page
    assert "Integrated gradients of 200 validation images" in page
    assert "go by?" not in report_page(changed(report, attributions=()), [])


def test_the_page_shows_what_probes_read(report, page):
    """With both controls and chance; where none was asked for there is no section."""
    assert "What do the networks know beside the class?" in page
    for shown in ("87.5\u202f% ± 6.2\u202f%", "50.0\u202f%", "26.0\u202f%", "25.0\u202f%"):
        assert shown in page
    assert "beside the class?" not in report_page(changed(report, probes=()), [])
