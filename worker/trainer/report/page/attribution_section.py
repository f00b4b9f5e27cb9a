"""The report page's section on attributions."""

from collections.abc import Sequence

from ddcal_core.formats.reports import Report
from worker.trainer.report.measurements import mean_and_deviation
from worker.trainer.report.page.templates import stacked_table
from worker.trainer.report.row_words import percent


def attribution_section(report: Report) -> str:
    """Show how few pixels each training set's networks go by, and whether these decide."""
    if not report.attributions:
        return ""
    head = ["training set", "concentration", "insertion", "random order", "deletion"]
    rows = [
        [
            one.training_set_label,
            _shown([network.concentration for network in one.networks]),
            _shown([network.insertion for network in one.networks]),
            _shown([network.random_order for network in one.networks]),
            _shown([network.deletion for network in one.networks]),
        ]
        for one in report.attributions
    ]
    n_images = max(one.n_images for one in report.attributions)
    return (
        "<section><h2>Which pixels do the networks go by?</h2>"
        f"{stacked_table(head, rows, words=1)}"
        f'<p class="caption">Integrated gradients of {n_images:,} validation images, for the class '
        "that the network answers. Concentration: the Gini coefficient of their sizes over pixels, "
        "0 where all count alike, near 100\u202f% where one pixel counts alone. Insertion and "
        "deletion: the mean probability of that class while pixels are put into the mean image, or "
        "taken out of the whole one, those that count most first. Random order: the same as pixels "
        "are taken out at random; attributions that say something lie on either side of it."
        "</p></section>"
    )


def _shown(values: Sequence[float]) -> str:
    found = mean_and_deviation(values)
    deviation = "" if found.std is None else f" ± {percent(found.std)}"
    return f"{percent(found.mean)}{deviation}"
