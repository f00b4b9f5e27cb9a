"""Images as small PNG pictures for people to look at (NumPy, Pillow; no torch)."""

import io
from dataclasses import dataclass
from math import ceil, isqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ddcal_core.specs.facts import DatasetFacts


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What of a set a sheet shows.

    Attributes:
        n_classes: the first ones.
        n_per_class: the first images of each.
        n_pixels: of all images together; larger ones are made smaller. None: as they are.
        side: longest of an image; larger ones are made smaller. None: as they are.
        n_letters: of a class's name; None: all.
        is_quick: whether it has to be written fast, as grey where the images are.
    """

    n_classes: int
    n_per_class: int
    n_pixels: int | None = None
    side: int | None = None
    n_letters: int | None = None
    is_quick: bool = False


PREVIEW = Bounds(n_classes=100, n_per_class=20)
SNAPSHOT = Bounds(n_classes=20, n_per_class=10, n_pixels=250_000, n_letters=16, is_quick=True)
"""Of a set on its way: many are made in a run, and kept."""
SAMPLES = Bounds(n_classes=30, n_per_class=12, side=48)
"""Of a data set: the sheet stays below some megabytes whatever was sent."""

_GAP = 1
_GAP_GREY = 128
_MARGIN = 4
_LABEL_SIZE = 12
_LEAST_SIDE = 40  # of a small image, once it is enlarged
_QUICK_LEVEL = 2


def image_png(pixels: NDArray[np.uint8]) -> bytes:
    """Write one image as it is.

    Args:
        pixels: uint8 (C, H, W), C 1 or 3.

    Returns:
        A PNG of H rows and W columns.
    """
    return _png(_picture(pixels))


def strip_png(pixels: NDArray[np.uint8]) -> bytes:
    """Put images side by side, one pixel of grey between them.

    Args:
        pixels: uint8 (N, C, H, W), N >= 1, C 1 or 3.

    Returns:
        A PNG of H rows and N (W + 1) - 1 columns.
    """
    return _png(Image.fromarray(_strip(pixels)))


def sheet_png(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    facts: DatasetFacts,
    bounds: Bounds = PREVIEW,
) -> bytes:
    """Draw a row of images for each class, its name on the left.

    Small images are enlarged without smoothing; a last line says what is left out.

    Args:
        pixels: uint8 (N, C, H, W), of all images, or of those alone that `shown_images` names.
        labels: int64 (N,), of all images.
        facts: with the class names.
        bounds: what of them is shown.

    Returns:
        A PNG.
    """
    chosen = shown_images(labels, bounds)
    if len(pixels) == len(labels):
        pixels = pixels[chosen]
    if len(pixels) != len(chosen):
        raise ValueError(f"wanted {len(chosen)} or {len(labels)} images, got {len(pixels)}")
    pixels, of_shown = _smaller(pixels, bounds), labels[chosen]
    names = {k: facts.class_names[k][: bounds.n_letters] for k in np.unique(of_shown)}
    strips = [(name, _strip(pixels[of_shown == k])) for k, name in names.items()]
    left_out = left_out_words(labels, facts.n_classes, bounds)
    font = ImageFont.load_default(_LABEL_SIZE)
    label_width = 3 * _MARGIN + ceil(max(font.getlength(name) for name, _ in strips))
    scale = max(1, _LEAST_SIDE // pixels.shape[2])
    row_height = max(pixels.shape[2] * scale, _LABEL_SIZE + 2) + _GAP
    width = label_width + scale * max(strip.shape[1] for _, strip in strips)
    width = max(width, ceil(font.getlength(left_out)) + 2 * _MARGIN)
    end = row_height * len(strips)
    height = end + (2 * _LABEL_SIZE if left_out else 0)
    is_grey = bounds.is_quick and pixels.shape[1] == 1
    sheet = Image.new("L" if is_grey else "RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (name, strip) in enumerate(strips):
        picture = Image.fromarray(strip)
        picture = picture.resize(
            (picture.width * scale, picture.height * scale), Image.Resampling.NEAREST
        )
        sheet.paste(picture, (label_width, i * row_height))
        draw.text((_MARGIN, i * row_height + 2), name, fill="black", font=font)
    draw.text((_MARGIN, end + 4), left_out, fill="black", font=font)
    return _png(sheet, is_quick=bounds.is_quick)


def shown_images(labels: NDArray[np.int64], bounds: Bounds) -> NDArray[np.int64]:
    """The places of the images that a sheet shows, in their order.

    Args:
        labels: int64 (N,), of all images.
        bounds: what of them is shown.
    """
    rank = np.zeros(len(labels), np.int64)
    for k in range(bounds.n_classes):
        own = labels == k
        rank[own] = np.arange(own.sum())
    return np.flatnonzero((labels < bounds.n_classes) & (rank < bounds.n_per_class))


def left_out_words(labels: NDArray[np.int64], n_classes: int, bounds: Bounds = PREVIEW) -> str:
    """Say which classes and images are beyond those that are shown; nothing where all are.

    Args:
        labels: int64 (N,), of the images.
        n_classes: of the data set.
        bounds: what of them is shown.
    """
    said = []
    if n_classes > bounds.n_classes:
        said.append(f"the first {bounds.n_classes} of {n_classes:,} classes")
    n_most = int(np.bincount(labels).max())
    if n_most > bounds.n_per_class:
        said.append(f"the first {bounds.n_per_class} of {n_most:,} images per class")
    return f"Shown: {', '.join(said)}." if said else ""


def _smaller(pixels: NDArray[np.uint8], bounds: Bounds) -> NDArray[np.uint8]:
    """Images within a bound of pixels, each pixel the mean of those it stands for."""
    n_images, n_channels, height, width = pixels.shape
    side = max(height, width) if bounds.side is None else bounds.side
    if bounds.n_pixels is not None:
        side = min(side, isqrt(bounds.n_pixels // n_images))
    if max(height, width) <= side:
        return pixels
    share = side / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    drawn = [
        np.asarray(_picture(one).resize(size, Image.Resampling.BOX)).reshape(
            size[1], size[0], n_channels
        )
        for one in pixels
    ]
    return np.stack(drawn).transpose(0, 3, 1, 2)


def _strip(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give uint8 (H, N (W + 1) - 1) or with a last axis of 3."""
    n_images, n_channels, height, width = pixels.shape
    strip = np.full((height, n_images * (width + _GAP) - _GAP, n_channels), _GAP_GREY, np.uint8)
    for i, picture in enumerate(pixels.transpose(0, 2, 3, 1)):
        start = i * (width + _GAP)
        strip[:, start : start + width] = picture
    return strip[:, :, 0] if n_channels == 1 else strip


def _picture(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def _png(picture: Image.Image, *, is_quick: bool = False) -> bytes:
    buffer = io.BytesIO()
    picture.save(
        buffer, "PNG", optimize=not is_quick, compress_level=_QUICK_LEVEL if is_quick else 9
    )
    return buffer.getvalue()
