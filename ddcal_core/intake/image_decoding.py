"""One image file, sent by anybody -> its pixels (numpy, Pillow).

What is done to an image on the way, and nothing else:
- it is turned as its EXIF orientation says, as viewers show it;
- a palette, and 1, 2 or 4 bits of grey, become 8 bits a channel;
- alpha is dropped where every pixel is opaque, else laid over a background that is asked for;
- 16 bits of grey become 8, value v to round(255 v / (2^bits - 1));
- of more than 16,777,216 pixels it is first reduced by a whole factor, averaging, to at least four
  times the side asked for (a JPEG by its decoder as far as that goes);
- CMYK becomes RGB as Pillow does it, without a colour profile; no profile is read;
- of several pictures in a JPEG (MPO) the first is taken;
- it is brought to grey or RGB, then cropped and resampled, if that is asked for.

What a decoder warns of, such as JPEG data that do not come out even, is told; the pixels are taken.
Bytes that decode without a complaint may still not be those that were written: no format but PNG,
with its checksums, can tell.

Refused, for there is no one way to do it: 16 bits a channel in colour or with alpha, numbers with a
sign or a point, transparent pixels without a background, animations and files of several pages.
"""

import contextlib
import io
import struct
import warnings
from dataclasses import dataclass, replace

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageColor, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from ddcal_core.errors import InvalidDataError
from ddcal_core.specs.uploads import MAX_GREY_BITS, MAX_IMAGE_SIDE, MIN_IMAGE_SIDE, ImageOptions

MAX_PIXELS = 2**26
MAX_WHOLE_PIXELS = 2**24
"""More are decoded only to be reduced at once."""

_FORMATS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"RIFF": "WEBP",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_GREY_MODES = ("1", "L", "LA")
_DEEP_GREY_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
_MODES = (*_GREY_MODES, *_DEEP_GREY_MODES, "P", "RGB", "RGBA", "CMYK", "YCbCr")
_CONVERTED_FIRST = ("1", "P", "CMYK", "RGBA", "YCbCr")
_SIZE_TAGS, _BITS_TAG = (256, 257), 258
# Of the side asked for: what is left for the last resampling to weigh.
_REDUCED_SIDES = 4
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow raises on broken bytes, found by flipping them.
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    OverflowError,
    TypeError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@dataclass(frozen=True)
class DecodedImage:
    """An image as the data set will have it.

    Attributes:
        pixels: uint8 (H, W, C), C 1 for grey and 3 for colour.
        changes: what had to be done: "turned", "palette", "alpha dropped", "background", "CMYK",
            "16-bit grey", "reduced".
        warnings: what decoders said of it and went on.
        deepest: largest value of 16-bit grey; 0 of other images.
    """

    pixels: NDArray[np.uint8]
    changes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    deepest: int = 0


def decode_image(data: bytes, options: ImageOptions) -> DecodedImage:
    """Decode one image file, whatever its name says it is.

    Args:
        data: the whole file.
        options: `resize`: the largest centred square, by Lanczos; `colour`: grey is
            0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); `background`; `grey_bits`.

    Raises:
        InvalidDataError: it is no whole image, has no or too many pixels, or falls under
            what is refused; says what was wanted and what was got.
    """
    wanted = next((name for start, name in _FORMATS.items() if data.startswith(start)), None)
    if wanted is None or (wanted == "WEBP" and data[8:12] != b"WEBP"):
        raise InvalidDataError(
            f"wanted a PNG, JPEG, WebP, BMP or TIFF file; it starts with {data[:8]!r}"
        )
    if wanted == "PNG":
        _check_png_header(data)
    try:
        with warnings.catch_warnings(record=True) as caught:
            # Pillow speaks of broken EXIF and goes on without it; so do we.
            warnings.simplefilter("always", UserWarning)
            decoded = _decoded(data, wanted, options)
        said = [str(one.message) for one in caught]
        if wanted == "JPEG":
            said += _libjpeg_warnings(data)
        return replace(decoded, warnings=tuple(said))
    except UnidentifiedImageError:
        raise InvalidDataError(f"wanted a whole {wanted}; got no more than its start") from None
    except _UNREADABLE as error:
        raise InvalidDataError(f"wanted a whole {wanted}; got: {error}") from error


def _decoded(data: bytes, image_format: str, options: ImageOptions) -> DecodedImage:
    with Image.open(io.BytesIO(data), formats=[image_format]) as image:
        _check_size(image, options)
        # A JPEG may hold more pictures, such as a preview, of which viewers show the first.
        if image_format != "JPEG" and getattr(image, "n_frames", 1) > 1:
            raise InvalidDataError("wanted one picture; got an animation, or several pages")
        _check_depth(image)
        _check_covered(image)
        is_large = image.width * image.height > MAX_WHOLE_PIXELS
        if is_large and options.resize is not None:
            # Decodes a half, a quarter or an eighth of the lines and columns, and keeps no others.
            image.draft(None, (_REDUCED_SIDES * options.resize,) * 2)
        image.load()
        return _as_asked(image, options, is_large=is_large)


def _libjpeg_warnings(data: bytes) -> list[str]:
    """What libjpeg warns of and Pillow does not pass on; decoded once more, as small as can be."""

    def decode(*, strict: bool) -> None:
        simplejpeg.decode_jpeg(
            data, colorspace="GRAY", min_height=1, min_width=1, min_factor=8, strict=strict
        )

    try:
        decode(strict=True)
    except ValueError as warning:
        # An error as well, and not a warning alone, is one of colours that only Pillow converts.
        with contextlib.suppress(ValueError):
            decode(strict=False)
            return [str(warning)]
    return []


def _check_png_header(data: bytes) -> None:
    """Refuse by the first chunk what Pillow would shrink or warn about."""
    if len(data) < 26 or data[12:16] != b"IHDR":
        raise InvalidDataError("wanted a whole PNG; it ends before its size, or has none")
    width, height, n_bits, colour_type = struct.unpack_from(">2L2B", data, 16)
    _check_pixels(width, height)
    if n_bits == 16 and colour_type != 0:
        raise InvalidDataError(
            "wanted at most 8 bits a channel, or 16 of grey alone; got a PNG of 16 in colour or "
            "with alpha"
        )


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InvalidDataError(f"wanted at most {MAX_PIXELS:,} pixels; got {width:,} x {height:,}")


def _check_size(image: Image.Image, options: ImageOptions) -> None:
    width, height = image.size
    _check_pixels(width, height)
    sides = range(MIN_IMAGE_SIDE, MAX_IMAGE_SIDE + 1)
    if options.resize is None and not (width in sides and height in sides):
        raise InvalidDataError(
            f"wanted {MIN_IMAGE_SIDE} to {MAX_IMAGE_SIDE} pixels a side, or a side to resize to; "
            f"got {height} x {width}"
        )


def _check_depth(image: Image.Image) -> None:
    """Refuse numbers that 8 bits cannot hold, some of which Pillow would cut."""
    bits = image.tag_v2.get(_BITS_TAG, (8,)) if isinstance(image, TiffImageFile) else (8,)
    depths = bits if isinstance(bits, tuple) else (bits,)
    is_deep = image.mode in _DEEP_GREY_MODES
    if image.mode not in _MODES or (max(depths) > 8 and not is_deep):
        raise InvalidDataError(
            "wanted at most 8 bits a channel, or 16 of grey without a sign; got a "
            f"{image.format} of mode {image.mode}, {max(depths)} bits"
        )


def _check_covered(image: Image.Image) -> None:
    """Refuse a file whose strips or tiles leave out lines, which Pillow would leave black."""
    if not isinstance(image, TiffImageFile):
        return
    said = tuple(image.tag_v2[tag] for tag in _SIZE_TAGS)
    ends = [tile.extents[2:] for tile in image.tile if tile.extents is not None]
    found = tuple(max((end[axis] for end in ends), default=0) for axis in (0, 1))
    if found[0] < said[0] or found[1] < said[1]:
        raise InvalidDataError(
            f"wanted a whole TIFF; it has {found[1]} x {found[0]} of {said[1]} x {said[0]} pixels"
        )


def _as_asked(image: Image.Image, options: ImageOptions, *, is_large: bool) -> DecodedImage:
    if image.mode == "P" and image.palette is None:
        raise InvalidDataError("wanted a palette with the image; got none")
    changes = []
    turn = _TURNS.get(_orientation(image))
    if image.mode in ("P", "CMYK"):
        changes.append("palette" if image.mode == "P" else "CMYK")
    is_grey = image.mode in (*_GREY_MODES, *_DEEP_GREY_MODES)
    colour = options.colour or ("grey" if is_grey else "rgb")
    deepest = 0
    made = image
    if image.mode in _DEEP_GREY_MODES:
        made, deepest = _shallow(image, options)
        changes.append("16-bit grey")
    elif "transparency" in image.info or image.mode in ("LA", "RGBA"):
        made, change = _opaque(image, options)
        changes.append(change)
    if made.mode in _CONVERTED_FIRST:
        made = made.convert("L" if made.mode == "1" else "RGB")
    side = options.resize
    if is_large and side is not None:
        made, side = _reduced(made, side), None
        changes.append("reduced")
    made = made.convert("L" if colour == "grey" else "RGB")
    if turn is not None:
        made = made.transpose(turn)
        changes.append("turned")
    if side is not None:
        made = _resized(made, side)
    pixels = np.asarray(made)
    shaped = pixels[..., None] if pixels.ndim == 2 else pixels
    return DecodedImage(shaped, tuple(changes), deepest=deepest)


def _orientation(image: Image.Image) -> int:
    """How EXIF says the image is turned, 1 to 8; 1 where that cannot be read."""
    if not {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"} & image.info.keys():
        return 1
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _UNREADABLE:
        return 1
    return value if isinstance(value, int) else 1


def _shallow(image: Image.Image, options: ImageOptions) -> tuple[Image.Image, int]:
    """16-bit grey as 8-bit, and its largest value."""
    if "transparency" in image.info:
        raise InvalidDataError("wanted 16-bit grey without a transparent value; got one")
    values = np.asarray(image)
    white = 2 ** (options.grey_bits or MAX_GREY_BITS) - 1
    deepest = int(values.max())
    if deepest > white:
        raise InvalidDataError(
            f"wanted values of at most {white:,}, as grey_bits says; got {deepest:,}"
        )
    table = np.rint(np.arange(white + 1) * (255 / white)).astype(np.uint8)
    return Image.fromarray(table[values]), deepest


def _opaque(image: Image.Image, options: ImageOptions) -> tuple[Image.Image, str]:
    """An image without alpha, and what was done with it."""
    layered = image.convert("RGBA")
    if layered.getchannel("A").getextrema() == (255, 255):
        return image, "alpha dropped"
    if options.background is None:
        raise InvalidDataError(
            "wanted opaque images, or a background to lay them over (background=white); got "
            "transparent pixels in one"
        )
    colour = (*ImageColor.getrgb(options.background)[:3], 255)
    ground = Image.new("RGBA", layered.size, colour)
    ground.alpha_composite(layered)
    return ground, "background"


def _reduced(image: Image.Image, side: int) -> Image.Image:
    """The centred square of a large image, averaged by whole blocks first; else as `_resized`."""
    box, crop = _centred_square(image), min(image.size)
    factor = crop // (_REDUCED_SIDES * side)
    if factor < 2:
        return _resized(image, side)
    # The last block of a line may be a part of one.
    return image.reduce(factor, box).resize(
        (side, side), Image.Resampling.LANCZOS, box=(0, 0, crop / factor, crop / factor)
    )


def _centred_square(image: Image.Image) -> tuple[int, int, int, int]:
    width, height = image.size
    crop = min(width, height)
    left, top = (width - crop) // 2, (height - crop) // 2
    return left, top, left + crop, top + crop


def _resized(image: Image.Image, side: int) -> Image.Image:
    # Cropped first: told the box alone, Pillow lets pixels from beyond it into the edges.
    square = image.crop(_centred_square(image))
    return square.resize((side, side), Image.Resampling.LANCZOS)
