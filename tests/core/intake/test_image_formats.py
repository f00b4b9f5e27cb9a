"""WebP, BMP, TIFF, 16 bits of grey, alpha over a background, and photos of many megapixels."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from app.shared.processes import dying_with_us
from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.image_decoding import MAX_WHOLE_PIXELS, decode_image
from ddcal_core.intake.process import take_in
from ddcal_core.specs.uploads import ImageOptions
from tests.image_files import encoded, noise, one_level, zipped


def decode(data, **options):
    """The pixels of an image."""
    return decode_image(data, ImageOptions(**options)).pixels


@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 3)])
@pytest.mark.parametrize(
    ("image_format", "options"),
    [
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
        ("TIFF", {"compression": "packbits"}),
    ],
)
def test_formats_without_loss_come_back_bit_for_bit(shape, image_format, options):
    """Grey stays grey, but for WebP, which knows colour alone."""
    pixels = noise(0, *shape)
    made = decode(encoded(pixels, image_format, **options))
    if image_format == "WEBP" and len(shape) == 2:
        pixels = np.stack([pixels] * 3, 2)
    assert np.array_equal(made.squeeze(), pixels)
    assert made.dtype == np.uint8


def test_a_tiff_is_turned_as_it_says():
    """By the tag that EXIF has of it."""
    pixels = noise(0, 8, 12, 3)
    turned = decode(encoded(pixels, "TIFF", tiffinfo={274: 6}))
    assert np.array_equal(turned, np.rot90(pixels, -1))


def deep_grey(image_format, values, **options):
    """A file of 16-bit grey."""
    return encoded(Image.fromarray(values.astype(np.uint16)), image_format, **options)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [None, 12, 10])
def test_16_bits_of_grey_become_8_by_the_rule(image_format, bits):
    """round(255 v / (2^bits - 1)) of each value; larger ones are refused."""
    most = 2 ** (bits or 16) - 1
    values = np.random.default_rng(0).integers(0, most + 1, (16, 16))
    values[0, :2] = 0, most
    decoded = decode_image(deep_grey(image_format, values), ImageOptions(grey_bits=bits))
    wanted = [[round(255 * int(v) / most) for v in row] for row in values]
    assert decoded.pixels[..., 0].tolist() == wanted
    assert (decoded.deepest, decoded.changes) == (most, ("16-bit grey",))
    if bits:
        with pytest.raises(InvalidDataError, match="as grey_bits says; got"):
            decode(deep_grey(image_format, values), grey_bits=bits - 1)


def test_16_bit_images_are_told_with_what_would_be_brighter(tmp_path):
    """In the notes of the facts."""
    files = {
        f"{name}/{k}.png": deep_grey("PNG", noise(k + 9 * n, 8, 8).astype(int) * 16)
        for k in range(4)
        for n, name in enumerate(("cat", "dog"))
    }
    (tmp_path / "upload").write_bytes(zipped(files))
    (note,) = take_in(tmp_path / "upload", tmp_path, 10**6).facts.notes
    assert "value v became round(255 v / 65,535)" in note
    assert "grey_bits=12 they would use the whole range" in note
    options = ImageOptions(grey_bits=12)
    (note,) = take_in(tmp_path / "upload", tmp_path, 10**6, options).facts.notes
    assert note == "8 images are 16-bit grey: value v became round(255 v / 4,095)."


@pytest.mark.parametrize(
    ("background", "colour"),
    [("white", (255,) * 3), ("black", (0,) * 3), ("#10C0fF", (16, 192, 255))],
)
@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_laid_over_a_background_that_is_asked_for(background, colour, image_format):
    """A p + (1 - a) b, to a level, in every format with alpha; without one it is refused."""
    pixels = noise(0, 10, 10, 4)
    options = {"lossless": True, "exact": True} if image_format == "WEBP" else {}
    data = encoded(Image.fromarray(pixels, "RGBA"), image_format, **options)
    decoded = decode_image(data, ImageOptions(background=background))
    alpha = pixels[..., 3:] / 255
    wanted = alpha * pixels[..., :3] + (1 - alpha) * np.array(colour)
    assert np.abs(decoded.pixels - wanted).max() <= 1
    assert decoded.changes == ("background",)
    with pytest.raises(InvalidDataError, match=r"\(background=white\); got transparent pixels"):
        decode(data)


def test_grey_with_alpha_stays_grey():
    """Over a grey background."""
    pixels = noise(0, 10, 10, 2)
    made = decode(encoded(Image.fromarray(pixels, "LA")), background="black")
    assert made.shape == (10, 10, 1)
    wanted = pixels[..., 0] * (pixels[..., 1] / 255)
    assert np.abs(made[..., 0] - wanted).max() <= 1


def photo(width, height):
    """A smooth picture with a fine pattern on it, RGB."""
    x, y = np.arange(width) / width, np.arange(height) / height
    grid = np.add.outer(np.sin(9 * y), np.cos(7 * x)) * 40 + 100
    image = np.empty((height, width, 3), np.uint8)
    for c in range(3):
        image[..., c] = grid + 20 * c
    return image


@pytest.mark.long
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_a_large_photo_is_reduced_to_what_resampling_it_whole_gives(image_format):
    """To two levels, against Pillow's Lanczos of the whole picture."""
    data = encoded(photo(5_000, 3_600), image_format)
    assert MAX_WHOLE_PIXELS < 5_000 * 3_600
    decoded = decode_image(data, ImageOptions(resize=64))
    whole = Image.open(io.BytesIO(data)).crop((700, 0, 4_300, 3_600))
    wanted = np.asarray(whole.resize((64, 64), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(decoded.pixels - wanted).max() <= 2
    assert "reduced" in decoded.changes


PEAK = r"""
import json, re, sys
from pathlib import Path
from ddcal_core.intake.process import take_in
from ddcal_core.specs.uploads import ImageOptions
folder = Path(sys.argv[1])
facts = take_in(folder / "upload", folder, 10**9, ImageOptions(resize=256)).facts
(peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps([facts.image_shape, int(peak) * 1024]))
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("image_format", "options", "most"),
    [("JPEG", {}, 120), ("JPEG", {"progressive": True}, 300), ("PNG", {}, 620), ("WEBP", {}, 900)],
)
def test_photos_of_48_megapixels_take_little_memory(tmp_path, image_format, options, most):
    """A JPEG is decoded small; others whole, once: 48 million pixels of 4 bytes, and a copy."""
    files = {name: encoded(one) for name, one in one_level(shape=(300, 300, 3)).items()}
    files["cat/0.png"] = encoded(photo(8_000, 6_000), image_format, **options)
    (tmp_path / "upload").write_bytes(zipped(files))
    argv = dying_with_us([sys.executable, "-c", PEAK, str(tmp_path)], death_signal=9)
    shape, peak = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    assert shape == [3, 256, 256]
    assert peak < most * 2**20, f"{peak / 2**20:.0f} MiB"
