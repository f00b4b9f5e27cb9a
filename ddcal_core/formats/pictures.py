"""Images as small PNG pictures for people to look at (NumPy, Pillow; no torch)."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ddcal_core.specs.facts import DatasetFacts

MAX_SHOWN_CLASSES = 50
MAX_SHOWN_PER_CLASS = 20

_GAP = 1
_GAP_GREY = 128
_LABEL_WIDTH = 120
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


def sheet_png(pixels: NDArray[np.uint8], labels: NDArray[np.int64], facts: DatasetFacts) -> bytes:
    """Draw a row of images for each class, its name on the left.

    The first 50 classes and 20 images of each are shown, enlarged without smoothing.

    Args:
        pixels: uint8 (N, C, H, W).
        labels: int64 (N,).
        facts: with the class names.

    Returns:
        A PNG.
    """
    rows = [
        (facts.class_names[k], pixels[labels == k][:MAX_SHOWN_PER_CLASS])
        for k in range(min(facts.n_classes, MAX_SHOWN_CLASSES))
    ]
    strips = [(name, _strip(row)) for name, row in rows if len(row)]
    scale = max(1, 40 // facts.image_shape[1])
    row_height = max(facts.image_shape[1] * scale, _LABEL_SIZE + 2) + _GAP
    width = _LABEL_WIDTH + scale * max(strip.shape[1] for _, strip in strips)
    sheet = Image.new("RGB", (width, row_height * len(strips)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_LABEL_SIZE)
    for i, (name, strip) in enumerate(strips):
        picture = Image.fromarray(strip)
        picture = picture.resize(
            (picture.width * scale, picture.height * scale), Image.Resampling.NEAREST
        )
        sheet.paste(picture, (_LABEL_WIDTH, i * row_height))
        shown = name if len(name) <= 16 else f"{name[:15]}…"
        draw.text((4, i * row_height + 2), shown, fill="black", font=font)
    return _png(sheet)


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
