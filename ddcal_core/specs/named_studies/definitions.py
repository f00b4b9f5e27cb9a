"""Every named study. A change of what varies or of a rule is a new version.

The questions are those of arXiv 2307.12463: its claims, what it leaves to check, what it leaves
open.
"""

from collections.abc import Mapping
from typing import Any

from ddcal_core.specs.named_studies.named_study import (
    CURVE_RATIOS,
    MASKED,
    MASKED_BY_3,
    MDT_RATIOS,
    MTS_AUTO,
    MTS_RATIOS,
    NONE,
    ONE_POINT,
    RATIO,
    SET_RATIOS,
    TS,
    TS_ON_SET,
    UNMASKED,
    Budget,
    NamedStudy,
    Params,
    keeps_accuracy,
    mts,
    mts_rows,
    pipeline,
    rule,
)
from ddcal_core.specs.named_studies.next_checks import (
    other_networks,
    ratio_sensitivity,
    semantic_content,
)


def _after_ts(rows: Params) -> dict[str, Any]:
    return {**rows, "method": "ts", "fit_on": "validation"}


def _mts_ratio(dataset: str, budget: Budget) -> Params:
    calibrate = [NONE, TS, TS_ON_SET, MTS_AUTO]
    calibrate += [*mts("validation", MTS_RATIOS), *mts("training_set", SET_RATIOS)]
    on_set = mts_rows("training_set", SET_RATIOS)
    return {
        "base": pipeline(
            dataset, budget, calibrate=calibrate, evaluate={"mts_ratios": [*CURVE_RATIOS]}
        ),
        "vary": {},
        "rules": [
            rule(
                "mts-against-ts-on-validation",
                "at some ratio MTS on validation images leaves a lower ECE than TS on them",
                mts_rows("validation", MTS_RATIOS),
                {"method": "ts", "fit_on": "validation"},
            ),
            rule(
                "mts-against-ts-on-the-set",
                "at some ratio MTS on the distilled set leaves a lower ECE than TS on it",
                on_set,
                {"method": "ts", "fit_on": "training_set"},
            ),
            rule(
                "mts-on-the-set-against-as-trained",
                "at some fixed ratio MTS on the distilled set leaves a lower ECE than none at all",
                on_set,
                {"method": "none"},
            ),
            rule(
                "found-ratio-against-as-trained",
                "MTS with the ratio found, without a label, leaves a lower ECE than no calibration",
                {"method": "mts", "fit_on": "training_set", "mask_ratios": "auto"},
                {"method": "none"},
            ),
        ],
    }


def _mdt_ratio(dataset: str, budget: Budget) -> Params:
    return {
        "base": pipeline(dataset, budget),
        "vary": {RATIO: [*MDT_RATIOS]},
        "rules": [
            rule(
                "mdt-as-trained",
                "at some ratio MDT lowers the ECE of networks as trained",
                MASKED,
                UNMASKED,
            ),
            rule(
                "mdt-after-ts",
                "at some ratio networks on MDT sets are better calibrated by the same TS",
                _after_ts(MASKED),
                UNMASKED,
            ),
            keeps_accuracy(MASKED, UNMASKED, what="MDT"),
        ],
    }


def _mdt_and_mts(dataset: str, budget: Budget) -> Params:
    calibrate = [NONE, TS, *mts("validation", MTS_RATIOS)]
    losses = [{"name": "mixup"}, {"name": "label_smoothing"}, {"name": "focal"}]
    both = {**MASKED_BY_3, **mts_rows("validation", MTS_RATIOS)}
    ts = {"method": "ts", "fit_on": "validation"}
    return {
        "base": pipeline(dataset, budget, calibrate=calibrate, train_losses=losses),
        "vary": {RATIO: [0, 0.3]},
        "rules": [
            rule(
                "both-against-ts",
                "MDT and MTS together leave a lower ECE than TS on the unmasked set",
                both,
                {**UNMASKED, **ts},
            ),
            rule(
                "both-against-each-alone",
                "MDT and MTS together leave a lower ECE than MTS alone and than MDT with TS",
                both,
                [UNMASKED, ts],
            ),
            keeps_accuracy(MASKED_BY_3, UNMASKED, what="MDT"),
        ],
    }


def _ratio_by_setting(dataset: str, budget: Budget) -> Params:
    return {
        "base": pipeline(dataset, budget),
        "vary": {"distill.images_per_class": [1, 10], RATIO: [*MDT_RATIOS]},
        "rules": [
            rule(
                "one-ratio-serves-every-size",
                "MDT at ratio 0.3 lowers the ECE as trained at every number of images per class",
                MASKED_BY_3,
                UNMASKED,
                over="every",
            ),
        ],
    }


def _mdt_against_augmentation(dataset: str, budget: Budget) -> Params:
    others = ("mixup", "cutmix", "cutout", "input_dropout")
    variants: dict[str, Params] = {"none": {}, "mdt": {RATIO: 0.3}}
    variants |= {word: {"distill.regulariser": {"name": word}} for word in others}
    mdt = {"settings": {"regulariser": ["mdt"]}}
    none = {"settings": {"regulariser": ["none"]}}
    return {
        "base": pipeline(dataset, budget),
        "vary": {"regulariser": {"variants": variants}},
        "rules": [
            rule(
                "mdt-against-the-others",
                "MDT lowers the ECE as trained more than mixup, cutmix, cutout and input dropout",
                mdt,
                [{"settings": {"regulariser": [word]}} for word in others],
                over="every",
            ),
            rule("mdt-against-none", "MDT lowers the ECE of networks as trained", mdt, none),
            keeps_accuracy(mdt, none, what="MDT"),
        ],
    }


def _extreme_compression(dataset: str, budget: Budget) -> Params:
    sizes = "distill.images_per_class"
    return {
        "base": pipeline(dataset, budget),
        "vary": {sizes: [1, 10], RATIO: [0, 0.3]},
        "rules": [
            rule(
                "one-image-is-worse-calibrated",
                "networks on one image per class have a higher ECE as trained than on ten",
                {"settings": {sizes: [1]}},
                {"settings": {sizes: [10]}},
                expected="higher",
                over="every",
            ),
            rule(
                "mdt-at-one-image",
                "MDT lowers the ECE as trained at one image per class",
                {"settings": {sizes: [1], RATIO: [0.3]}},
                UNMASKED,
            ),
        ],
    }


def _imbalance(dataset: str, budget: Budget) -> Params:
    factor = "imbalance.factor"
    return {
        "base": pipeline(dataset, budget),
        "vary": {factor: [1, 0.1, 0.01], RATIO: [0, 0.3]},
        "rules": [
            rule(
                "a-long-tail-calibrates-worse",
                "a long tail raises the ECE of networks as trained",
                {"settings": {factor: [0.1, 0.01], RATIO: [0]}},
                {"settings": {factor: [1]}},
                expected="higher",
            ),
            rule(
                "mdt-under-imbalance",
                "MDT lowers the ECE as trained under every long tail",
                {"settings": {factor: [0.1, 0.01], RATIO: [0.3]}},
                UNMASKED,
                over="every",
            ),
        ],
    }


def _paper_claims(dataset: str, budget: Budget) -> Params:
    calibrate = [NONE, TS, *mts("validation", MTS_RATIOS)]
    baselines = [{"source": "random"}, {"source": "full", "epochs": 30}]
    of_ts = {"settings": {RATIO: [0]}, "method": "ts", "fit_on": "validation"}
    both = {**MASKED, **mts_rows("validation", MTS_RATIOS)}
    return {
        "base": pipeline(dataset, budget, calibrate=calibrate, baselines=baselines),
        "vary": {RATIO: [*MDT_RATIOS]},
        "rules": [
            rule(
                "claim-1-over-confident",
                "networks on a distilled set are more over-confident than those on all the data",
                UNMASKED,
                {"training_set": "full"},
                expected="higher",
                metric="signed_gap",
                over="every",
            ),
            rule(
                "claim-1-ts-fails",
                "TS on validation images lowers their ECE by less than one point",
                of_ts,
                {"method": "none"},
                expected="not_lower",
                margin=ONE_POINT,
                over="every",
            ),
            rule(
                "claim-3-mts",
                "at some ratio MTS leaves a lower ECE than TS",
                {**UNMASKED, **mts_rows("validation", MTS_RATIOS)},
                {"method": "ts", "fit_on": "validation"},
            ),
            rule(
                "claim-4-mdt",
                "at some ratio networks on MDT sets are better calibrated by the same TS",
                _after_ts(MASKED),
                UNMASKED,
            ),
            rule(
                "claim-5-both",
                "at some ratios MDT and MTS together leave a lower ECE than TS on the unmasked set",
                both,
                {**UNMASKED, "method": "ts", "fit_on": "validation"},
            ),
            keeps_accuracy(MASKED, UNMASKED, what="MDT"),
        ],
    }


_ALL = (
    NamedStudy(
        name="mts-ratio",
        version=1,
        group="first experiment",
        question="Which mask ratio should a temperature be fitted under, and on which images?",
        build=_mts_ratio,
    ),
    NamedStudy(
        name="mdt-ratio",
        version=1,
        group="first experiment",
        question="Which mask ratio should a set be distilled under?",
        build=_mdt_ratio,
    ),
    NamedStudy(
        name="mdt-and-mts",
        version=1,
        group="first experiment",
        question="Do MDT and MTS together beat each alone, and the usual remedies?",
        build=_mdt_and_mts,
    ),
    NamedStudy(
        name="ratio-sensitivity",
        version=1,
        group="next check",
        question="How much hangs on the mask ratio, and where does accuracy begin to fall?",
        build=ratio_sensitivity,
    ),
    NamedStudy(
        name="semantic-content",
        version=1,
        group="next check",
        question="Do networks on distilled sets know less beside the class, and go by less of the "
        "image, and does MDT mend it?",
        build=semantic_content,
    ),
    NamedStudy(
        name="other-networks",
        version=1,
        group="next check",
        question="Does MDT help networks other than the one distilled on?",
        build=other_networks,
    ),
    NamedStudy(
        name="ratio-by-setting",
        version=1,
        group="open question",
        question="Is the best mask ratio the same for every number of images per class?",
        build=_ratio_by_setting,
    ),
    NamedStudy(
        name="mdt-against-augmentation",
        version=1,
        group="open question",
        question="Does MDT beat mixup, cutmix, cutout and input dropout as a regulariser?",
        build=_mdt_against_augmentation,
    ),
    NamedStudy(
        name="extreme-compression",
        version=1,
        group="open question",
        question="Is calibration worst, and MDT most useful, at one image per class?",
        build=_extreme_compression,
    ),
    NamedStudy(
        name="imbalance",
        version=1,
        group="open question",
        question="What does a long tail in the real data do to calibration, and does MDT help?",
        build=_imbalance,
    ),
    NamedStudy(
        name="paper-claims",
        version=1,
        group="claims",
        question="Do the paper's claims hold that accuracy and ECE can decide?",
        build=_paper_claims,
    ),
)
NAMED_STUDIES: Mapping[str, NamedStudy] = {one.name: one for one in _ALL}
"""By name, in the order in which they are listed."""
