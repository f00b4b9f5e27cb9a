"""The report page's section on linear probes."""

from ddcal_core.formats.report_rows import Summary
from ddcal_core.formats.reports import Report
from worker.trainer.report.page.templates import stacked_table
from worker.trainer.report.row_words import percent


def probe_section(report: Report) -> str:
    """Show what can be read off the features of each training set's networks."""
    if not report.probes:
        return ""
    head = ["training set", "probe", "right", "untrained", "shuffled", "chance"]
    rows = [
        [
            one.training_set_label,
            scores.probe,
            _shown(scores.accuracy),
            _shown(scores.untrained),
            _shown(scores.shuffled),
            percent(scores.chance),
        ]
        for one in report.probes
        for scores in one.probes
    ]
    return (
        "<section><h2>What do the networks know beside the class?</h2>"
        f"{stacked_table(head, rows, words=2)}"
        '<p class="caption">A linear classifier on the features before the last layer, frozen, '
        "tells in which way a real validation image was changed: fitted on every other image, "
        "asked about the rest. Untrained: the same on a network of the same kind that has learned "
        "nothing, which tells how much is due to its layers alone. Shuffled: ways given to images "
        "at random, which has to come out at chance.</p></section>"
    )


def _shown(value: Summary) -> str:
    deviation = "" if value.std is None else f" ± {percent(value.std)}"
    return f"{percent(value.mean)}{deviation}"
