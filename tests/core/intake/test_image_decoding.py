"""PNG and JPEG to pixels: against NumPy and formulas; what cannot be used is refused in words."""

import io
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.image_decoding import decode_image
from ddcal_core.specs.uploads import ImageOptions
from tests.image_files import encoded, noise

AS_IT_IS = ImageOptions()


def decode(data, **options):
    """The pixels of an image."""
    return decode_image(data, ImageOptions(**options)).pixels


def png_chunk(kind, data):
    """One chunk of a PNG."""
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def raw_png(width, height, n_bits, colour_type, rows, *more):
    """A PNG put together by hand, rows unfiltered."""
    head = struct.pack(">2L5B", width, height, n_bits, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [png_chunk(b"IHDR", head), *more, png_chunk(b"IDAT", body), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("shape", [(8, 9), (64, 8, 3)])
def test_a_png_comes_back_bit_for_bit(shape):
    """Grey as one channel, colour as three; rows first."""
    pixels = noise(0, *shape)
    decoded = decode_image(encoded(pixels), AS_IT_IS)
    assert np.array_equal(decoded.pixels.squeeze(), pixels)
    assert decoded.pixels.shape == (*shape[:2], 1 if len(shape) == 2 else 3)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.changes == ()


def test_a_jpeg_comes_back_nearly():
    """Flat colours survive compression within a few levels."""
    for colour in ((200, 30, 90), (0, 0, 0), (255, 255, 255)):
        pixels = decode(encoded(Image.new("RGB", (16, 8), colour), "JPEG", quality=95))
        assert pixels.shape == (8, 16, 3)
        assert np.abs(pixels.astype(int) - colour).max() <= 3
    assert decode(encoded(Image.new("L", (16, 8), 77), "JPEG")).shape == (8, 16, 1)


def test_the_content_counts_not_the_name():
    """A file's name never reaches the decoder: its first bytes say what it is."""
    with pytest.raises(InvalidDataError, match=r"wanted a PNG, JPEG, .*; it starts with b'GIF"):
        decode(encoded(noise(0, 8, 8), "GIF"))


def test_colour_asked_for_is_made():
    """Luma by BT.601, to a level; grey as colour has three equal channels."""
    pixels = noise(0, 20, 30, 3)
    grey = decode(encoded(pixels), colour="grey")
    wanted = pixels.astype(float) @ [0.299, 0.587, 0.114]
    assert grey.shape == (20, 30, 1)
    assert np.abs(grey[..., 0] - wanted).max() <= 1
    grey = noise(1, 8, 8)
    assert np.array_equal(decode(encoded(grey), colour="rgb"), np.stack([grey] * 3, axis=2))
    assert decode(encoded(grey), colour="grey").shape == (8, 8, 1)


def lanczos(pixels, side):
    """Lanczos-3 by its definition, the kernel stretched where the image shrinks.

    Rows first, then columns; whole levels after each.
    """
    made = pixels.astype(float)
    for axis in (1, 0):
        n = made.shape[axis]
        scale = max(n / side, 1)
        centres = (np.arange(side) + 0.5) * n / side - 0.5
        distances = (np.arange(n)[None, :] - centres[:, None]) / scale
        weights = np.where(np.abs(distances) < 3, np.sinc(distances) * np.sinc(distances / 3), 0)
        weights /= weights.sum(1, keepdims=True)
        made = np.moveaxis(np.tensordot(weights, made, (1, axis)), 0, axis)
        made = made.round().clip(0, 255)
    return made


@pytest.mark.parametrize("side", [8, 13, 40, 64])
@pytest.mark.parametrize("shape", [(40, 40, 3), (40, 61, 3), (75, 40)])
def test_resizing_is_lanczos_of_the_centre_square(shape, side):
    """Down and up, against the formula: to a level."""
    pixels = noise(side, *shape)
    crop = min(shape[:2])
    top, left = (shape[0] - crop) // 2, (shape[1] - crop) // 2
    wanted = lanczos(pixels[top : top + crop, left : left + crop], side)
    made = decode(encoded(pixels), resize=side).squeeze()
    assert made.shape == wanted.shape
    assert np.abs(made - wanted).max() <= 1


def test_a_square_of_the_side_asked_for_stays_as_it_is():
    """Nothing is resampled that has the size already."""
    pixels = noise(0, 32, 32, 3)
    assert np.array_equal(decode(encoded(pixels), resize=32), pixels)
    wide = noise(0, 32, 40, 3)
    assert np.array_equal(decode(encoded(wide), resize=32), wide[:, 4:36])


TURNED = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
    9: lambda pixels: pixels,
}


@pytest.mark.parametrize("orientation", TURNED)
def test_exif_orientation_is_followed(orientation):
    """All eight of EXIF 2.3, table 6; what is none of them turns nothing."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = noise(0, 8, 12, 3)
    decoded = decode_image(encoded(pixels, exif=exif), AS_IT_IS)
    assert np.array_equal(decoded.pixels, TURNED[orientation](pixels))
    assert decoded.changes == (("turned",) if 1 < orientation < 9 else ())
    jpeg = encoded(Image.fromarray(pixels), "JPEG", exif=exif)
    turned = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(jpeg))))
    assert np.array_equal(decode(jpeg), turned)


def test_exif_that_cannot_be_read_turns_nothing():
    """Cameras write broken EXIF; the image is whole."""
    pixels = noise(0, 8, 12, 3)
    for exif in (b"Exif\0\0MM\0*\0\0\0\x08", b"Exif\0\0" + b"\xff" * 40, b"nothing like it"):
        assert np.array_equal(decode(encoded(pixels, exif=exif)), pixels)


def test_palettes_become_colour():
    """Entry by entry, opaque transparency included."""
    palette = noise(1, 256, 3)
    indices = noise(2, 8, 9)
    image = Image.fromarray(indices, "P")
    image.putpalette(palette.tobytes())
    for transparency in (None, bytes([255] * 256)):
        more = {} if transparency is None else {"transparency": transparency}
        decoded = decode_image(encoded(image, **more), AS_IT_IS)
        assert np.array_equal(decoded.pixels, palette[indices])
        assert decoded.changes[0] == "palette"


@pytest.mark.parametrize("n_bits", [1, 2, 4])
def test_few_bits_of_grey_are_spread_over_8(n_bits):
    """The largest value is white."""
    levels = np.arange(8 * 8).reshape(8, 8) % 2**n_bits
    bits = (levels[..., None] >> np.arange(n_bits)[::-1]) & 1
    rows = [np.packbits(row.ravel()).tobytes() for row in bits]
    wanted = np.round(levels * 255 / (2**n_bits - 1))
    assert np.array_equal(decode(raw_png(8, 8, n_bits, 0, rows))[..., 0], wanted)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_opaque_alpha_is_dropped(mode):
    """Where it says nothing; where it does, there is no one colour to put behind."""
    pixels = noise(0, 8, 8, len(mode))
    pixels[..., -1] = 255
    image = Image.fromarray(pixels, mode)
    decoded = decode_image(encoded(image), AS_IT_IS)
    assert np.array_equal(decoded.pixels, pixels[..., :-1])
    assert decoded.changes == ("alpha dropped",)
    pixels[3, 3, -1] = 254
    with pytest.raises(InvalidDataError, match=r"or a background .*; got transparent pixels"):
        decode(encoded(Image.fromarray(pixels, mode)))


def test_a_transparent_colour_or_palette_entry_is_refused_where_it_is_used():
    """The colour key of grey and RGB, the alpha of a palette's entries."""
    grey = np.full((8, 8), 5, np.uint8)
    assert decode(encoded(Image.fromarray(grey), transparency=6)).max() == 5
    with pytest.raises(InvalidDataError, match="transparent"):
        decode(encoded(Image.fromarray(grey), transparency=5))
    image = Image.fromarray(grey, "P")
    image.putpalette(noise(0, 256, 3).tobytes())
    with pytest.raises(InvalidDataError, match="transparent"):
        decode(encoded(image, transparency=5))


def test_cmyk_becomes_rgb_without_a_profile():
    """R = 255 (1 - C)(1 - K), within what JPEG changes."""
    ink = np.array([200, 40, 90, 60])
    image = Image.fromarray(np.tile(ink.astype(np.uint8), (16, 16, 1)), "CMYK")
    decoded = decode_image(encoded(image, "JPEG", quality=100), AS_IT_IS)
    wanted = (255 - ink[:3]) * (255 - ink[3]) / 255
    assert np.abs(decoded.pixels - wanted).max() <= 4
    assert decoded.changes == ("CMYK",)


def test_the_first_picture_of_a_jpeg_of_several_is_taken():
    """As phones write them."""
    first, second = (Image.fromarray(noise(seed, 16, 16, 3)) for seed in (0, 1))
    several = encoded(first, "MPO", save_all=True, append_images=[second])
    assert np.array_equal(decode(several), np.asarray(Image.open(io.BytesIO(several))))


WIDE = [bytes(2 * 8)] * 8
GOOD = encoded(noise(0, 8, 8, 3))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "wanted a PNG, JPEG, WebP, BMP or TIFF file; it starts with b''"),
        (b"plain text", "it starts with b'plain te'"),
        (GOOD[:8] + b"and then a text about nothing at all", "wanted a whole PNG"),
        (b"\xff\xd8\xff\xe0 and then a text about nothing at all", "wanted a whole JPEG"),
        (GOOD[:20], "ends before its size"),
        (GOOD[:-80], "wanted a whole PNG; got"),
        (encoded(noise(0, 64, 64, 3), "JPEG")[:-600], "wanted a whole JPEG; got.*truncated"),
        (GOOD[:60] + bytes([GOOD[60] ^ 1]) + GOOD[61:], "wanted a whole PNG; got"),
        (raw_png(8, 8, 16, 4, [row * 2 for row in WIDE]), "or 16 of grey alone; got a PNG of 16"),
        (raw_png(8, 8, 16, 2, [row * 3 for row in WIDE]), "got a PNG of 16"),
        (raw_png(8, 8, 8, 3, [bytes(8)] * 8), "wanted a palette"),
        (raw_png(50_000, 50_000, 8, 0, []), "at most 67,108,864 pixels; got 50,000 x 50,000"),
        (raw_png(2**31 - 1, 2**31 - 1, 8, 2, []), "at most 67,108,864 pixels"),
        (raw_png(0, 8, 8, 0, []), "wanted"),
        (encoded(noise(0, 7, 8)), "8 to 256 pixels a side, or a side to resize to; got 7 x 8"),
        (encoded(noise(0, 8, 257)), "or a side to resize to; got 8 x 257"),
    ],
)
def test_what_is_no_image_for_us_is_refused(data, message):
    """Texts in an image's clothes, cut and broken files, bombs, 16 bits, other sizes."""
    with pytest.raises(InvalidDataError, match=message):
        decode(data)


def test_a_bomb_in_a_jpeg_is_refused_unopened():
    """The header of 65,000 x 65,000 pixels costs nothing."""
    small = encoded(noise(0, 8, 8, 3), "JPEG")
    at = small.index(b"\xff\xc0") + 5
    for side in (8_200, 10_000, 65_000):
        bomb = small[:at] + struct.pack(">2H", side, side) + small[at + 4 :]
        with pytest.raises(InvalidDataError, match="pixels"):
            decode(bomb, resize=32)


def test_a_bomb_in_a_text_of_a_png_is_refused():
    """A megabyte of text, inflated from little, ends the reading."""
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "x" * 3_000_000, zip=True)
    with pytest.raises(InvalidDataError, match="wanted a whole PNG; got"):
        decode(encoded(noise(0, 8, 8), pnginfo=info))


def test_animations_are_refused():
    """An animated PNG has no one picture."""
    frames = [Image.fromarray(noise(seed, 8, 8, 3)) for seed in (0, 1)]
    with pytest.raises(InvalidDataError, match="wanted one picture; got an animation"):
        decode(encoded(frames[0], save_all=True, append_images=frames[1:]))


def test_flipped_bytes_raise_nothing_but_the_refusal():
    """However an image is damaged, it is decoded or refused; checksums repaired on every other."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(noise(0, 8, 8, 3))
    originals = [
        encoded(image, exif=exif, transparency=(1, 2, 3)),
        encoded(image.convert("P"), transparency=0),
        encoded(image, "JPEG", exif=exif, progressive=True),
        encoded(image.convert("CMYK"), "JPEG"),
    ]
    dice = random.Random(0)
    n_refused = 0
    for trial in range(3_000):
        damaged = bytearray(originals[trial % len(originals)])
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(3, len(damaged))] = dice.randrange(256)
        data = repaired(bytes(damaged)) if trial % 3 else bytes(damaged)
        try:
            decode(data, resize=16)
        except InvalidDataError:
            n_refused += 1
    assert 1_000 < n_refused < 3_000


def repaired(data):
    """A PNG with its chunks' checksums made right; other bytes as they are."""
    made, at = bytearray(data), 8
    while data.startswith(b"\x89PNG") and at + 12 <= len(made):
        (n,) = struct.unpack_from(">L", made, at)
        if at + 12 + n > len(made):
            break
        made[at + 8 + n : at + 12 + n] = struct.pack(">L", zlib.crc32(made[at + 4 : at + 8 + n]))
        at += 12 + n
    return bytes(made)
