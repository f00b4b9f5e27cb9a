"""Sections of a comparison's page with figures of its own numbers."""

from collections.abc import Iterable, Sequence
from html import escape

from ddcal_core.formats.comparisons import Difference, HeatMap, Series
from worker.trainer.comparing.page.figures import (
    N_COLOURS,
    colour,
    difference_figure,
    heat_figure,
    series_figure,
    value_range,
)
from worker.trainer.comparing.samples import Settings
from worker.trainer.comparing.words import (
    METRIC_WORDS,
    settings_words,
    short,
    side_words,
)

MOST_FIGURES, MOST_DIFFERENCES = 24, 16


def legend(names: Iterable[str]) -> str:
    """Say which colour is whose."""
    keys = "".join(
        f'<span><i class="{colour(place)}"></i>{escape(name)}</span>'
        for place, name in enumerate(names)
    )
    return f'<div class="legend">{keys}</div>'


def figure(heading: str, note: str, content: str) -> str:
    """Put a drawing under its heading."""
    second = f"<span>{escape(note)}</span>" if note else ""
    return f"<figure><figcaption><b>{escape(heading)}</b>{second}</figcaption>{content}</figure>"


def series_section(series: Sequence[Series]) -> str:
    """Show ECE and accuracy over each numeric setting, figures of one number on one axis."""
    moving = [one for one in series if not _stands_still(one)]
    parts = [_multiples(moving, path) for path in dict.fromkeys(one.path for one in moving)]
    if not parts:
        return ""
    return (
        f"<section><h2>Over each setting</h2>{''.join(parts)}"
        '<p class="caption">Line: mean over seeds; band: its 95 % interval by Student\'s t, cut at '
        "the ends of the axis; small dots: each seed. Figures of one number share their axis. "
        "Accuracy is shown as trained: a temperature leaves it as it is.</p></section>"
    )


def _stands_still(one: Series) -> bool:
    """Whether a setting changes nothing, as the distillation's do to networks on other images."""
    return all(point.values == one.points[0].values for point in one.points)


def _multiples(series: Sequence[Series], path: str) -> str:
    own = [one for one in series if one.path == path]
    figures, names = [], list(dict.fromkeys(one.calibration for one in own))[:N_COLOURS]
    for metric in dict.fromkeys(one.metric for one in own):
        of_metric = [one for one in own if one.metric == metric and one.calibration in names]
        axis = value_range(of_metric, from_zero=metric == "ece")
        panels: dict[tuple[str, str], list[Series]] = {}
        for one in of_metric:
            panels.setdefault((settings_words(one.held), one.training_set), []).append(one)
        for (held, role), lines in panels.items():
            number = METRIC_WORDS[metric]
            title = f"{number} over {short(path)}, {role}{', ' if held else ''}{held}"
            drawn = series_figure(
                lines, axis=axis, words=(short(path), f"{number}, %"), title=title
            )
            figures.append(figure(f"{number}, trained on {role} images", held, drawn))
    left_out = len(figures) - MOST_FIGURES
    note = f'<p class="foot">{left_out} more in comparison.json.</p>' if left_out > 0 else ""
    return (
        f"<h3>Over {escape(short(path))}</h3>{legend(names)}"
        f'<div class="grid wide">{"".join(figures[:MOST_FIGURES])}</div>{note}'
    )


def heat_section(heat_maps: Sequence[HeatMap]) -> str:
    """Show ECE over both mask ratios, all maps in one shade."""
    heat_maps = [one for one in heat_maps if any(len(set(line)) > 1 for line in one.ece)]
    numbers = [ece for one in heat_maps for line in one.ece for ece in line if ece is not None]
    if not numbers:
        return ""
    span = min(numbers), max(numbers)
    figures = [
        figure(
            f"Trained on {one.training_set} images",
            settings_words(one.held),
            heat_figure(one, span=span, title=f"ECE by both mask ratios, {_named(one)}"),
        )
        for one in heat_maps[:MOST_FIGURES]
    ]
    return (
        "<section><h2>Both masks: while distilling and while calibrating</h2>"
        f'<div class="grid wide">{"".join(figures)}</div>'
        '<p class="caption">ECE on test in percent, mean over seeds; the stronger the colour, the '
        "higher, all maps on one scale. The lowest is framed: it was picked on the test images, "
        "which flatters it. At 0 % of MTS it is plain temperature scaling on the training set "
        "itself.</p></section>"
    )


def _named(one: HeatMap) -> str:
    held = settings_words(one.held)
    return f"{one.training_set}{', ' if held else ''}{held}"


def difference_section(differences: Sequence[Difference]) -> str:
    """Show paired differences against the base, a figure for each number, calibration and base."""
    groups: dict[tuple[str, str, str, str], list[Difference]] = {}
    for one in differences:
        key = (_paths(one), one.metric, one.of.training_set, one.of.calibration)
        groups.setdefault(key, []).append(one)
    # Networks on other images are not changed by a setting of the distillation.
    shown = [own for own in groups.values() if any(value for one in own for value in one.values)]
    figures = [_difference(own) for own in shown[:MOST_FIGURES]]
    if not figures:
        return ""
    return (
        "<section><h2>Against the base, pair by pair</h2>"
        f'<div class="grid wide">{"".join(figures)}</div>'
        '<p class="caption">Result minus base, all other settings equal; below 0 is lower. Large '
        "dot: mean; line: 95 % interval (paired t), without an end bar where it leaves the "
        "figure; small dots: each pair. A ring is a single pair, which is no difference.</p>"
        "</section>"
    )


def _paths(one: Difference) -> str:
    own, other = one.of.settings, one.against.settings
    return ", ".join(short(path) for path in own if own[path] != other.get(path))


def _difference(group: Sequence[Difference]) -> str:
    first = group[0]
    changed = {
        path: value
        for path, value in first.against.settings.items()
        if value != first.of.settings.get(path)
    }
    base = settings_words(_few(changed))
    number = METRIC_WORDS[first.metric]
    what = f"{number}, {first.of.calibration}, {first.of.training_set} images"
    shown = group[:MOST_DIFFERENCES]
    counts = sorted({one.n for one in group})
    n = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    note = f"against {base}; {n} {first.unit}{'' if n == '1' else 's'}"
    if len(group) > len(shown):
        note += f"; {len(group) - len(shown)} more in comparison.json"
    names = "; ".join(side_words(one.of, one.against) for one in shown)
    title = f"Difference in {what} against {base}: {names}"
    return figure(what, note, difference_figure(shown, title=title))


def _few(settings: Settings, most: int = 3) -> Settings:
    return dict(list(settings.items())[:most])
