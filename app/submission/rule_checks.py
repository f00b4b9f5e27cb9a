"""Rules of a study that no cell can answer are refused: they could only stay open."""

import json
from collections.abc import Iterator, Mapping, Sequence

from app.submission.pointers import json_pointer
from app.submission.references import CheckContext
from app.submission.suggestions import did_you_mean
from ddcal_core.specs.decision_rules import (
    DecisionRule,
    OtherRows,
    RowChoice,
    SettingValue,
    setting_key,
)
from ddcal_core.specs.kinds.pipeline import PipelineParams

Settings = Mapping[str, SettingValue]


def check_rules(
    context: CheckContext,
    rules: Sequence[DecisionRule],
    cells: Sequence[tuple[Settings, PipelineParams]],
) -> None:
    """Note each setting, training set and calibration of a rule that no cell has.

    Args:
        context: takes the problems.
        rules: of the study.
        cells: what sets each apart, and its pipeline; not empty.
    """
    sources = {"distilled", *(one.source for _, params in cells for one in params.baselines)}
    methods = {"none", *(one.method for _, params in cells for one in params.calibrate)}
    for k, rule in enumerate(rules):
        for path, rows in _rows_of(rule):
            place = ("params", "rules", k, *path)
            _check_settings(context, rows.settings, [settings for settings, _ in cells], place)
            for field, wanted in (("training_set", sources), ("method", methods)):
                given = getattr(rows, field)
                if given is not None and given not in wanted:
                    detail = f"no cell has {field} {given}; got {', '.join(sorted(wanted))}"
                    context.refuse(json_pointer((*place, field)), "no_such_rows", detail)


def _rows_of(rule: DecisionRule) -> Iterator[tuple[tuple[str | int, ...], RowChoice | OtherRows]]:
    yield ("of",), rule.of
    for n, other in enumerate(rule.against):
        yield ("against", n), other


def _check_settings(
    context: CheckContext,
    asked: Mapping[str, Sequence[SettingValue]],
    cells: Sequence[Settings],
    place: tuple[str | int, ...],
) -> None:
    for path, values in asked.items():
        pointer = (*place, "settings", path)
        if not any(path in settings for settings in cells):
            known = sorted({name for settings in cells for name in settings})
            meant = did_you_mean(path, known)
            detail = f"wanted what the study varies, {', '.join(known)}; got {path!r}{meant}"
            context.refuse(json_pointer(pointer), "not_varied", detail)
            continue
        held = {setting_key(settings[path]) for settings in cells if path in settings}
        for n, value in enumerate(values):
            if setting_key(value) not in held:
                detail = f"no cell has {path} {json.dumps(value)}"
                context.refuse(json_pointer((*pointer, n)), "no_such_rows", detail)
