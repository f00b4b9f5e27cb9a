"""The paper's two causes side by side: how concentrated logits are, how rich the sets are."""

from collections.abc import Sequence

from worker.trainer.comparing.cells import Result
from worker.trainer.comparing.page.figures import density_figure, energy_figure
from worker.trainer.comparing.page.sections import figure, legend
from worker.trainer.comparing.samples import without_seed
from worker.trainer.comparing.words import settings_words
from worker.trainer.report.page.templates import stacked_table


def _name(result: Result) -> str:
    return settings_words(without_seed(result.settings)) or result.report_id


def logit_section(results: Sequence[Result]) -> str:
    """Overlay the largest logits and the margins of the first training sets."""
    found = {_name(one): one.logits for one in results if one.logits is not None}
    if len(found) < 2:
        return ""
    figures = "".join(
        figure(heading, "", density_figure(spreads, axis_words=axis, title=f"{heading}, overlaid"))
        for heading, axis, spreads in (
            (
                "Largest logit",
                "largest logit of a test image",
                {name: one.largest_logit for name, one in found.items()},
            ),
            (
                "Margin",
                "largest logit minus the second largest",
                {name: one.margin for name, one in found.items()},
            ),
        )
    )
    body = [
        [
            name,
            f"{one.largest_logit.mean.mean:.3g}",
            f"{one.largest_logit.deviation.mean:.3g}",
            _or_none(one.largest_logit.coefficient_of_variation.mean),
            f"{one.margin.mean.mean:.3g}",
        ]
        for name, one in found.items()
    ]
    head = ["settings", "largest logit: mean", "deviation", "variation", "margin: mean"]
    return (
        f"<section><h2>How concentrated are the logits?</h2>{legend(found)}"
        f'<div class="grid wide">{figures}</div>{stacked_table(head, body)}'
        '<p class="caption">Logits of all networks of one result per combination of settings (at '
        "most eight), on the test images, as trained. Each line has the same area. Variation is "
        "deviation over mean, which does not change when all logits are scaled.</p></section>"
    )


def _or_none(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def spectrum_section(results: Sequence[Result]) -> str:
    """Overlay how soon the sets' first singular values hold their energy."""
    found = {_name(one): one.spectrum for one in results if one.spectrum is not None}
    if len(found) < 2:
        return ""
    first = next(iter(found.values()))
    figures = "".join(
        figure(
            f"Images {words}",
            "",
            energy_figure(
                {
                    name: getattr(one, field).distilled.cumulative_energy
                    for name, one in found.items()
                },
                getattr(first, field).real.cumulative_energy.mean,
                title=f"Energy of the singular values, {words}, overlaid",
            ),
        )
        for field, words in (("as_they_are", "as they are"), ("centred", "about the mean image"))
    )
    body = [
        [
            name,
            str(one.n_images),
            f"{one.centred.distilled.effective_rank:.2f}",
            f"{one.centred.real.effective_rank.mean:.2f}",
        ]
        for name, one in found.items()
    ]
    head = ["settings", "images", "effective rank about the mean", "of random real sets"]
    return (
        f"<section><h2>How rich are the distilled sets?</h2>{legend(found)}"
        f'<div class="grid wide">{figures}</div>{stacked_table(head, body)}'
        '<p class="caption">Singular values of the matrix with one flattened image a row, of '
        "one result per combination of settings (at most eight). Dashed: random real sets of the "
        "first's size, mean. The sooner the energy is reached, the more alike the images. "
        "Effective rank: exp of the entropy of the squared singular values' shares.</p></section>"
    )
