"""The report's figures as hand-made SVG: numbers in, markup out.

Colours and fonts come from the page's style sheet by class, so that one drawing serves light and
dark. Every text is escaped here.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape

from ddcal_core.formats.report_analyses import MtsCurve
from ddcal_core.formats.report_rows import Bins, Row
from ddcal_core.metrics import ReliabilityBins, wilson_interval
from worker.trainer.report.row_words import is_fitted, percent

_BINS_SIDE = 200
_BINS_LEFT, _BINS_TOP = 38, 10
_COUNTS_TOP, _COUNTS_HEIGHT = 222, 44
_CURVE_WIDTH, _CURVE_HEIGHT = 360, 200
_CURVE_LEFT, _CURVE_TOP = 42, 12
_SPARK_WIDTH, _SPARK_HEIGHT = 150, 24


def element(name: str, content: str = "", /, **attributes: str | float) -> str:
    """Write one SVG element; `class_` stands for class, and _ for - in names.

    Args:
        name: of the element.
        content: markup inside it, already escaped.
        attributes: values are escaped; numbers keep two decimals.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{content}</{name}>"


def _value(value: str | float) -> str:
    # Hundredths of a unit are finer than any screen, and keep the page small.
    return escape(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def text(x: float, y: float, words: str, /, class_: str = "t", **attributes: str | float) -> str:
    """Write words at a point."""
    return element("text", escape(words), x=x, y=y, class_=class_, **attributes)


def drawing(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """Put parts into a whole drawing, with a title for those who do not see it."""
    return element(
        "svg",
        element("title", escape(title)) + "".join(parts),
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=title,
    )


def pool_bins(all_bins: Sequence[Bins]) -> ReliabilityBins:
    """Put the bins of several networks together as if their predictions were one network's.

    Args:
        all_bins: of each, with equal edges.
    """
    each = [bins.count for bins in all_bins]
    counts = tuple(map(sum, zip(*each, strict=True)))

    def pooled(shares: Sequence[Sequence[float | None]]) -> tuple[float | None, ...]:
        return tuple(
            sum(n[m] * (own[m] or 0.0) for n, own in zip(each, shares, strict=True)) / total
            if total
            else None
            for m, total in enumerate(counts)
        )

    return ReliabilityBins(
        edges=all_bins[0].edges,
        count=counts,
        confidence=pooled([bins.confidence for bins in all_bins]),
        accuracy=pooled([bins.accuracy for bins in all_bins]),
    )


def reliability_diagram(bins: ReliabilityBins, *, n_networks: int, title: str) -> str:
    """Draw accuracy over confidence, bin by bin, with how many predictions each bin holds.

    Args:
        bins: pooled over networks.
        n_networks: how many networks were pooled; the whiskers count each image once.
        title: read out to those who do not see the picture.
    """
    parts = [*_unit_axes()]
    largest = max(bins.count)
    for m, count in enumerate(bins.count):
        if count:
            parts += _bin_marks(bins, m, n_networks=n_networks, share=count / largest)
    x0, x1, y1 = _BINS_LEFT, _BINS_LEFT + _BINS_SIDE, _BINS_TOP + _BINS_SIDE
    parts.append(element("line", class_="diagonal", x1=x0, y1=y1, x2=x1, y2=_BINS_TOP))
    foot = _COUNTS_TOP + _COUNTS_HEIGHT
    parts.append(element("line", class_="axis", x1=x0, y1=foot, x2=x1, y2=foot))
    # Within the drawing, as a count has any number of digits.
    parts.append(text(x0 + 3, _COUNTS_TOP + 9, f"{largest:,}", "t halo"))
    parts.append(text(x0 - 5, foot, "0", text_anchor="end"))
    parts += [
        text(x0 + _BINS_SIDE * at, foot + 14, f"{100 * at:.0f}", text_anchor="middle")
        for at in (0, 0.5, 1)
    ]
    parts.append(text(x0 + _BINS_SIDE / 2, foot + 29, "confidence, %", text_anchor="middle"))
    return drawing(x1 + 12, foot + 36, title, parts)


def _unit_axes() -> Iterator[str]:
    x0, y0, side = _BINS_LEFT, _BINS_TOP, _BINS_SIDE
    for at in (0, 0.25, 0.5, 0.75, 1):
        y = y0 + side * (1 - at)
        yield element("line", class_="grid", x1=x0, y1=y, x2=x0 + side, y2=y)
        yield text(x0 - 5, y + 4, f"{100 * at:.0f}", text_anchor="end")
    middle = y0 + side / 2
    yield text(
        11, middle, "accuracy, %", text_anchor="middle", transform=f"rotate(-90 11 {middle})"
    )


def _bin_marks(bins: ReliabilityBins, m: int, *, n_networks: int, share: float) -> Iterator[str]:
    low, high, count = bins.edges[m], bins.edges[m + 1], bins.count[m]
    accuracy, confidence = bins.accuracy[m], bins.confidence[m]
    # Only empty bins have none, and they are not drawn.
    assert accuracy is not None
    assert confidence is not None
    x = _BINS_LEFT + _BINS_SIDE * low + 0.75
    width = _BINS_SIDE * (high - low) - 1.5
    center = _BINS_LEFT + _BINS_SIDE * confidence
    told = (
        f"confidence {percent(low)} to {percent(high)}: {count:,} predictions, "
        f"mean confidence {percent(confidence)}, accuracy {percent(accuracy)}"
    )
    bar_height = _COUNTS_HEIGHT * share
    yield element(
        "g",
        element("title", escape(told))
        + rectangle("bar", x, _unit_y(accuracy), width, _BINS_SIDE * accuracy)
        + rectangle(
            "gap over" if confidence > accuracy else "gap under",
            x,
            _unit_y(max(confidence, accuracy)),
            width,
            _BINS_SIDE * abs(confidence - accuracy),
        )
        + rectangle("count", x, _COUNTS_TOP + _COUNTS_HEIGHT - bar_height, width, bar_height),
    )
    # Networks see the same images: pooling them adds predictions, but hardly evidence.
    bottom, top = wilson_interval(accuracy, count / n_networks)
    yield element(
        "line", class_="whisker", x1=center, x2=center, y1=_unit_y(bottom), y2=_unit_y(top)
    )
    yield element("circle", class_="dot", cx=center, cy=_unit_y(accuracy), r=2.2)


def _unit_y(value: float) -> float:
    return _BINS_TOP + _BINS_SIDE * (1 - value)


def rectangle(class_: str, x: float, y: float, width: float, height: float) -> str:
    """Draw a rectangle from its upper left corner."""
    return element("rect", class_=class_, x=x, y=y, width=width, height=max(height, 0.0))


def nice_ceiling(value: float) -> float:
    """Give the smallest of 1, 2, 4, 6, 8, 10 times a power of ten that is no less; for axes."""
    if value <= 0:
        return 0.01
    power = 10.0 ** math.floor(math.log10(value))
    # A round number that floats hold a little above itself is not to take the next step.
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value * (1 - 1e-9))


def ece_spark(row: Row, *, top: float) -> str:
    """Draw one row's ECE before and after, with the level that chance reaches.

    Args:
        row: of the table.
        top: ECE at the right end.
    """
    y = _SPARK_HEIGHT / 2

    def x(value: float) -> float:
        return 4 + (_SPARK_WIDTH - 10) * min(value / top, 1.0)

    after, before, chance = row.ece, row.before.ece.mean, row.null_p95.mean
    parts = [
        rectangle("chance", x(0), 2, x(chance) - x(0), _SPARK_HEIGHT - 4),
        element("line", class_="axis", x1=x(0), x2=x(0), y1=1, y2=_SPARK_HEIGHT - 1),
    ]
    if row.method != "none":
        parts.append(element("line", class_="move", x1=x(before), x2=x(after.mean), y1=y, y2=y))
        parts.append(element("circle", class_="hollow", cx=x(before), cy=y, r=4))
    if after.std is not None:
        low, high = x(max(0.0, after.mean - after.std)), x(after.mean + after.std)
        parts.append(element("line", class_="whisker", x1=low, x2=high, y1=y, y2=y))
    # A limit is drawn hollow: no program shows it, as no temperature reaches it.
    class_ = "dot" if is_fitted(row.status) else "limit"
    parts.append(element("circle", class_=class_, cx=x(after.mean), cy=y, r=4.5))
    title = f"ECE {percent(after.mean)}, before {percent(before)}, chance {percent(chance)}"
    return drawing(_SPARK_WIDTH, _SPARK_HEIGHT, title, parts)


def curve_top(curves: Sequence[MtsCurve], *, before: float, chance: float) -> float:
    """Give the ECE at the upper end of an axis that all these curves fit on."""
    highest = [
        point.ece.mean + (point.ece.std or 0.0) for curve in curves for point in curve.points
    ]
    return nice_ceiling(max([before, chance, *highest]) * 1.02)


def curve_figure(
    curves: Sequence[MtsCurve], *, top: float, before: float, chance: float, title: str
) -> str:
    """Draw ECE on test over the mask ratio, one line for each place T was fitted on.

    Args:
        curves: of one training set and mask.
        top: ECE at the upper end of the axis, from `curve_top`.
        before: ECE without calibration.
        chance: 95 % point of the ECE that a perfectly calibrated model shows.
        title: read out to those who do not see the picture.
    """
    right, foot = _CURVE_LEFT + _CURVE_WIDTH, _CURVE_TOP + _CURVE_HEIGHT
    chance_y = _curve_y(chance, top)
    parts = [
        rectangle("chance", _CURVE_LEFT, chance_y, _CURVE_WIDTH, foot - chance_y),
        *_curve_axes(top),
        element(
            "line",
            class_="before",
            x1=_CURVE_LEFT,
            x2=right,
            y1=_curve_y(before, top),
            y2=_curve_y(before, top),
        ),
    ]
    for curve in curves:
        parts += _curve_marks(curve, top)
    parts.append(
        text(right, _curve_y(before, top) - 4, "uncalibrated", "t halo", text_anchor="end")
    )
    return drawing(right + 14, foot + 40, title, parts)


def _curve_x(ratio: float) -> float:
    return _CURVE_LEFT + _CURVE_WIDTH * ratio


def _curve_y(value: float, top: float) -> float:
    return _CURVE_TOP + _CURVE_HEIGHT * (1 - max(0.0, value) / top)


def _curve_axes(top: float) -> Iterator[str]:
    foot = _CURVE_TOP + _CURVE_HEIGHT
    for step in range(5):
        value = top * step / 4
        y = _curve_y(value, top)
        yield element(
            "line", class_="grid", x1=_CURVE_LEFT, x2=_CURVE_LEFT + _CURVE_WIDTH, y1=y, y2=y
        )
        yield text(_CURVE_LEFT - 5, y + 4, f"{100 * value:.3g}", text_anchor="end")
    for tenth in range(0, 11, 2):
        x = _curve_x(tenth / 10)
        yield text(x, foot + 15, f"{10 * tenth}", text_anchor="middle")
    middle = _CURVE_LEFT + _CURVE_WIDTH / 2
    yield text(middle, foot + 32, "share masked while T is fitted, %", text_anchor="middle")
    y = _CURVE_TOP + _CURVE_HEIGHT / 2
    yield text(11, y, "ECE on test, %", text_anchor="middle", transform=f"rotate(-90 11 {y})")


def _curve_marks(curve: MtsCurve, top: float) -> Iterator[str]:
    class_, points = f"on-{curve.fit_on}", curve.points
    at = [(_curve_x(point.ratio), point.ece.mean, point.ece.std) for point in points]
    # One network has no deviation, and a band of width 0 would claim one.
    if all(std is not None for _, _, std in at):
        edge = [(x, mean + (std or 0.0)) for x, mean, std in at]
        edge += [(x, mean - (std or 0.0)) for x, mean, std in reversed(at)]
        outline = " ".join(f"{x:.1f},{_curve_y(value, top):.1f}" for x, value in edge)
        yield element("polygon", class_=f"band {class_}", points=outline)
    line = " ".join(f"{x:.1f},{_curve_y(mean, top):.1f}" for x, mean, _ in at)
    yield element("polyline", class_=f"curve {class_}", points=line)
    for (x, mean, _), point in zip(at, points, strict=True):
        n_found = point.statuses.get("ok", 0)
        told = f"{percent(point.ratio, 0)} masked: ECE {percent(mean)}; " + ", ".join(
            f"{n} {status.replace('_', ' ')}" for status, n in point.statuses.items()
        )
        shape = "mark" if n_found == len(point.networks) else "mark open"
        yield element(
            "circle",
            element("title", escape(told)),
            class_=f"{shape} {class_}",
            cx=x,
            cy=_curve_y(mean, top),
            r=3.6,
        )
