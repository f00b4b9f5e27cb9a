"""Rules of a study on networks or calibrations that no cell has are refused: they would stay open.

Their settings are checked where cells are made, see ddcal_core.specs.study_cells.
"""

from collections.abc import Iterator, Sequence

from app.submission.pointers import json_pointer
from app.submission.references import CheckContext
from ddcal_core.specs.decision_rules import DecisionRule, OtherRows, RowChoice
from ddcal_core.specs.kinds.pipeline import PipelineParams


def check_rules(
    context: CheckContext, rules: Sequence[DecisionRule], cells: Sequence[PipelineParams]
) -> None:
    """Note each training set and calibration of a rule that no cell has.

    Args:
        context: takes the problems.
        rules: of the study.
        cells: the pipelines of its cells; not empty.
    """
    known: dict[str, set[str]] = {
        "training_set": {"distilled", *(one.source for cell in cells for one in cell.baselines)},
        "method": {"none", *(one.method for cell in cells for one in cell.calibrate)},
    }
    for k, rule in enumerate(rules):
        for path, rows in _rows_of(rule):
            for field, held in known.items():
                given = getattr(rows, field)
                if given is not None and given not in held:
                    detail = f"no cell has {field} {given}; got {', '.join(sorted(held))}"
                    pointer = json_pointer(("params", "rules", k, *path, field))
                    context.refuse(pointer, "no_such_rows", detail)


def _rows_of(rule: DecisionRule) -> Iterator[tuple[tuple[str | int, ...], RowChoice | OtherRows]]:
    yield ("of",), rule.of
    for n, other in enumerate(rule.against):
        yield ("against", n), other
