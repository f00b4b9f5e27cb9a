"""The next checks of arXiv 2307.12463: ratios, what networks know, other networks."""

from ddcal_core.specs.named_studies.named_study import (
    CURVE_RATIOS,
    MASKED_BY_3,
    ONE_POINT,
    RATIO,
    UNMASKED,
    Budget,
    Params,
    keeps_accuracy,
    pipeline,
    rule,
)


def ratio_sensitivity(dataset: str, budget: Budget) -> Params:
    """Whether the ECE hangs on the ratio, and what much masking costs."""
    ratios = [0, 0.1, 0.3, 0.5, 0.7, 0.9]
    between = {"settings": {RATIO: [0.1, 0.5]}}
    return {
        "base": pipeline(dataset, budget, evaluate={"mts_ratios": [*CURVE_RATIOS]}),
        "vary": {RATIO: ratios},
        "rules": [
            rule(
                "ece-does-not-hang-on-the-ratio",
                "from ratio 0.1 to 0.5 the ECE stays within one point of that at 0.3",
                between,
                MASKED_BY_3,
                expected="equal",
                margin=ONE_POINT,
                over="every",
            ),
            rule(
                "much-masking-costs-accuracy",
                "at ratio 0.7 or 0.9 MDT costs more than one point of accuracy",
                {"settings": {RATIO: [0.7, 0.9]}},
                UNMASKED,
                metric="accuracy",
                margin=ONE_POINT,
            ),
        ],
    }


def semantic_content(dataset: str, budget: Budget) -> Params:
    """What networks know beside the class, and how much of the image they go by."""
    evaluate = {
        "mts_ratios": [],
        "probes": ["rotation", "position", "brightness"],
        "attributions": True,
    }
    baselines = [{"source": "random"}, {"source": "full", "epochs": 30}]
    on_all = {"training_set": "full"}
    return {
        "base": pipeline(dataset, budget, evaluate=evaluate, baselines=baselines),
        "vary": {RATIO: [0, 0.3]},
        "rules": [
            *(
                rule(
                    f"{what}-is-lost",
                    f"networks on a distilled set tell less of {what} than those on all the data",
                    UNMASKED,
                    on_all,
                    metric=f"probe_{what}",
                    over="every",
                )
                for what in ("rotation", "position", "brightness")
            ),
            *(
                rule(
                    f"mdt-keeps-{what}",
                    f"networks on MDT sets tell more of {what} than those on unmasked sets",
                    MASKED_BY_3,
                    UNMASKED,
                    metric=f"probe_{what}",
                    expected="higher",
                    over="every",
                )
                for what in ("rotation", "position", "brightness")
            ),
            rule(
                "fewer-pixels-count",
                "networks on a distilled set go by fewer pixels than those on all the data",
                UNMASKED,
                on_all,
                metric="attribution_concentration",
                expected="higher",
                over="every",
            ),
            rule(
                "mdt-spreads-what-counts",
                "networks on MDT sets go by more pixels than those on unmasked sets",
                MASKED_BY_3,
                UNMASKED,
                metric="attribution_concentration",
                over="every",
            ),
        ],
    }


def other_networks(dataset: str, budget: Budget) -> Params:
    """Whether MDT helps every network."""
    words = ("convnet", "alexnet", "vgg11", "resnet18", "resnet50", "vit")
    variants: dict[str, Params] = {word: {"train.network": word} for word in words}
    # What a transformer needs to learn at all.
    variants["vit"] = {"train.network": "vit", "train.optimiser": {"name": "adamw"}}
    # A width is the ConvNet's alone.
    variants["convnet"] = {"train.network": "convnet", **_width(budget)}
    base = dict(pipeline(dataset, budget))
    base["train"] = {name: value for name, value in base["train"].items() if name != "width"}
    return {
        "base": base,
        "vary": {"network": {"variants": variants}, RATIO: [0, 0.3]},
        "rules": [
            rule(
                "mdt-with-every-network",
                "MDT lowers the ECE as trained of every network",
                MASKED_BY_3,
                UNMASKED,
                over="every",
            ),
            keeps_accuracy(MASKED_BY_3, UNMASKED, what="MDT"),
        ],
    }


def _width(budget: Budget) -> Params:
    return {"train.width": 128} if budget.preset == "published" else {}
