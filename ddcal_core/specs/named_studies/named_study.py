"""What a named study is, and the parts that definitions are made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ddcal_core.specs.decision_rules import DecisionRule
from ddcal_core.specs.kinds.study import StudyParams

Preset = Literal["smoke", "published"]
Group = Literal["first experiment", "next check", "open question", "claims"]
Params = Mapping[str, Any]

SEEDS = 8
"""With fewer an interval over seeds is so wide that almost everything stays open."""
MDT_RATIOS = (0, 0.1, 0.3, 0.5)
MTS_RATIOS = (0.1, 0.3, 0.5)
SET_RATIOS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.95)
"""A small set that its network knows by heart needs to be masked far more."""
CURVE_RATIOS = (*(k / 10 for k in range(10)), 0.95)
RATIO = "distill.mask.ratio"
ONE_POINT = 0.01


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much a study may take.

    Attributes:
        preset: smoke is sized for two CPU cores, published is the papers' own.
        published_for: the data set of the papers that this one is, where its name is another.
    """

    preset: Preset = "smoke"
    published_for: str | None = None


Build = Callable[[str, Budget], Params]


@dataclass(frozen=True, kw_only=True)
class NamedStudy:
    """A study whose fields, values and rules are fixed; a change of either is another version.

    Attributes:
        name: by which it is asked for.
        version: of its definition, from 1.
        group: where the question stands in the plan of the field.
        question: in one sentence.
        build: data set, budget -> the fields of StudyParams but for the seeds.
    """

    name: str
    version: int
    group: Group
    question: str
    build: Build

    def params(self, dataset: str, budget: Budget, seeds: int) -> StudyParams:
        """The study on a data set, whole.

        Args:
            dataset: its name.
            budget: of each cell.
            seeds: how many; each is a set and networks of its own.

        Raises:
            pydantic.ValidationError: the definition is wrong.
        """
        given = dict(self.build(dataset, budget))
        vary = {**given.pop("vary"), "seed": list(range(seeds))}
        about = {"dataset": dataset, **vars(budget), "seeds": seeds, "version": self.version}
        return StudyParams.model_validate({**given, **about, "vary": vary, "named": self.name})


def pipeline(dataset: str, budget: Budget, *, images_per_class: int = 1, **more: Any) -> Params:  # noqa: ANN401  JSON
    """The base of a study: gradient matching as published, distribution matching as a smoke test.

    Args:
        dataset: its name.
        budget: of the pipeline.
        images_per_class: of the set.
        **more: further params; those of `distill` and `train` beside the ones here.
    """
    of_budget: dict[Preset, dict[str, Any]] = {
        "smoke": {"method": "dm", "images_per_class": images_per_class},
        "published": {"method": "dc", "images_per_class": images_per_class, "preset": "published"},
    }
    if budget.published_for is not None:
        of_budget["published"]["published_for"] = budget.published_for
    networks: dict[Preset, dict[str, Any]] = {
        "smoke": {"n_seeds": 2},
        "published": {"n_seeds": 5, "width": 128},
    }
    return {
        "dataset": dataset,
        "baselines": [],
        "calibrate": [NONE, TS],
        "evaluate": {"mts_ratios": []},
        **more,
        "distill": {**of_budget[budget.preset], **more.get("distill", {})},
        "train": {**networks[budget.preset], **more.get("train", {})},
    }


UNMASKED: Params = {"settings": {RATIO: [0]}}
MASKED: Params = {"settings": {RATIO: [ratio for ratio in MDT_RATIOS if ratio]}}
MASKED_BY_3: Params = {"settings": {RATIO: [0.3]}}
NONE: Params = {"method": "none"}
TS: Params = {"method": "ts", "fit_on": "validation"}
TS_ON_SET: Params = {"method": "ts", "fit_on": "training_set"}
MTS_AUTO: Params = {"method": "mts", "fit_on": "training_set"}


def mts(fit_on: str, ratios: Sequence[float]) -> list[Params]:
    """MTS at each ratio."""
    return [{"method": "mts", "fit_on": fit_on, "mask": {"ratio": ratio}} for ratio in ratios]


def mts_rows(fit_on: str, ratios: Sequence[float]) -> dict[str, Any]:
    """The rows of MTS in a rule."""
    return {"method": "mts", "fit_on": fit_on, "mask_ratios": [*ratios]}


def rule(
    name: str,
    statement: str,
    of: Params,
    against: Params | Sequence[Params],
    **more: Any,  # noqa: ANN401  JSON
) -> DecisionRule:
    """A rule, see DecisionRule: ECE lower for some candidate, unless told otherwise."""
    others = [against] if isinstance(against, Mapping) else [*against]
    usual = {"metric": "ece", "expected": "lower", "over": "some", "min_seeds": SEEDS}
    sentence = f"{statement[:1].upper()}{statement[1:]}."
    told = {"name": name, "statement": sentence, "of": of, "against": others}
    return DecisionRule.model_validate({**usual, **told, **more})


def keeps_accuracy(of: Params, against: Params, *, what: str) -> DecisionRule:
    """Whether every candidate costs less than one point of accuracy."""
    return rule(
        "keeps-accuracy",
        f"{what} costs less than one point of accuracy",
        of,
        against,
        expected="not_lower",
        metric="accuracy",
        margin=ONE_POINT,
        over="every",
    )
