"""Images as small PNG pictures for people to look at (NumPy, Pillow; no torch)."""

import io
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ddcal_core.specs.facts import DatasetFacts

MAX_SHOWN_CLASSES = 100
MAX_SHOWN_PER_CLASS = 20

_GAP = 1
_GAP_GREY = 128
_MARGIN = 4
_LABEL_SIZE = 12


def image_png(pixels: NDArray[np.uint8]) -> bytes:
    """Write one image as it is.

    Args:
        pixels: uint8 (C, H, W), C 1 or 3.

    Returns:
        A PNG of H rows and W columns.
    """
    return _png(Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)))


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
    *,
    foot: str | None = None,
) -> bytes:
    """Draw a row of images for each class, its name on the left.

    The first 100 classes and 20 images of each are shown, enlarged without smoothing; a last line
    says what is left out.

    Args:
        pixels: uint8 (N, C, H, W).
        labels: int64 (N,).
        facts: with the class names.
        foot: what the last line says, where the images are already a choice of many.

    Returns:
        A PNG.
    """
    rows = [
        (facts.class_names[k], pixels[labels == k][:MAX_SHOWN_PER_CLASS])
        for k in range(min(facts.n_classes, MAX_SHOWN_CLASSES))
    ]
    strips = [(name, _strip(row)) for name, row in rows if len(row)]
    left_out = left_out_words(labels, facts.n_classes) if foot is None else foot
    font = ImageFont.load_default(_LABEL_SIZE)
    label_width = 3 * _MARGIN + ceil(max(font.getlength(name) for name, _ in strips))
    scale = max(1, 40 // pixels.shape[2])
    row_height = max(pixels.shape[2] * scale, _LABEL_SIZE + 2) + _GAP
    width = label_width + scale * max(strip.shape[1] for _, strip in strips)
    width = max(width, ceil(font.getlength(left_out)) + 2 * _MARGIN)
    end = row_height * len(strips)
    height = end + (2 * _LABEL_SIZE if left_out else 0)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (name, strip) in enumerate(strips):
        picture = Image.fromarray(strip)
        picture = picture.resize(
            (picture.width * scale, picture.height * scale), Image.Resampling.NEAREST
        )
        sheet.paste(picture, (label_width, i * row_height))
        draw.text((_MARGIN, i * row_height + 2), name, fill="black", font=font)
    draw.text((_MARGIN, end + 4), left_out, fill="black", font=font)
    return _png(sheet)


def left_out_words(labels: NDArray[np.int64], n_classes: int) -> str:
    """Say which classes and images are beyond those that are shown; nothing where all are.

    Args:
        labels: int64 (N,), of the images.
        n_classes: of the data set.
    """
    said = []
    if n_classes > MAX_SHOWN_CLASSES:
        said.append(f"the first {MAX_SHOWN_CLASSES} of {n_classes:,} classes")
    n_most = int(np.bincount(labels).max())
    if n_most > MAX_SHOWN_PER_CLASS:
        said.append(f"the first {MAX_SHOWN_PER_CLASS} of {n_most:,} images per class")
    return f"Shown: {', '.join(said)}." if said else ""


def _strip(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give uint8 (H, N (W + 1) - 1) or with a last axis of 3."""
    n_images, n_channels, height, width = pixels.shape
    strip = np.full((height, n_images * (width + _GAP) - _GAP, n_channels), _GAP_GREY, np.uint8)
    for i, picture in enumerate(pixels.transpose(0, 2, 3, 1)):
        start = i * (width + _GAP)
        strip[:, start : start + width] = picture
    return strip[:, :, 0] if n_channels == 1 else strip


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
