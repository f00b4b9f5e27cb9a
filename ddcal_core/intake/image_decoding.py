"""One PNG or JPEG, sent by anybody -> its pixels (numpy, Pillow).

What is done to an image on the way, and nothing else:
- it is turned as its EXIF orientation says, as viewers show it;
- a palette, and 1, 2 or 4 bits of grey, become 8 bits a channel;
- alpha is dropped where every pixel is opaque;
- CMYK becomes RGB as Pillow does it, without a colour profile; no profile is read;
- of several pictures in a JPEG (MPO) the first is taken;
- it is brought to grey or RGB, then cropped and resampled, if that is asked for.

What a decoder warns of, such as JPEG data that do not come out even, is told; the pixels are taken.
Bytes that decode without a complaint may still not be those that were written: no format but PNG,
with its checksums, can tell.

Refused, for there is no one way to do it: 16 bits a channel, transparent pixels, animations.
"""

import contextlib
import io
import struct
import warnings
from dataclasses import dataclass, replace

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ddcal_core.errors import InvalidDataError
from ddcal_core.specs.uploads import MAX_IMAGE_SIDE, MIN_IMAGE_SIDE, ImageOptions

MAX_PIXELS = 2**24

_FORMATS = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}
_GREY_MODES = ("1", "L", "LA")
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
        changes: what had to be done besides what was asked for: "turned", "palette", "alpha
            dropped", "CMYK".
        warnings: what decoders said of it and went on.
    """

    pixels: NDArray[np.uint8]
    changes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def decode_image(data: bytes, options: ImageOptions) -> DecodedImage:
    """Decode one image file, whatever its name says it is.

    Args:
        data: the whole file.
        options: `resize`: the largest centred square, by Lanczos; `colour`: grey is
            0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).

    Raises:
        InvalidDataError: it is no whole PNG or JPEG, has no or too many pixels, or falls under
            what is refused; says what was wanted and what was got.
    """
    wanted = next((name for start, name in _FORMATS.items() if data.startswith(start)), None)
    if wanted is None:
        raise InvalidDataError(f"wanted a PNG or JPEG file; it starts with {data[:8]!r}")
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
        image.load()
        if image_format == "PNG" and getattr(image, "is_animated", False):
            raise InvalidDataError("wanted one picture; got an animation")
        return _as_asked(image, options)


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
    width, height, n_bits = struct.unpack_from(">2LB", data, 16)
    _check_pixels(width, height)
    if n_bits == 16:
        raise InvalidDataError("wanted at most 8 bits a channel; got a PNG of 16")


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


def _as_asked(image: Image.Image, options: ImageOptions) -> DecodedImage:
    if image.mode == "P" and image.palette is None:
        raise InvalidDataError("wanted a palette with the image; got none")
    changes = []
    turn = _TURNS.get(_orientation(image))
    if image.mode in ("P", "CMYK"):
        changes.append("palette" if image.mode == "P" else "CMYK")
    if "transparency" in image.info or image.mode in ("LA", "RGBA"):
        _check_opaque(image)
        changes.append("alpha dropped")
    colour = options.colour or ("grey" if image.mode in _GREY_MODES else "rgb")
    made = image.convert("RGB") if image.mode in ("P", "CMYK", "RGBA") else image
    made = made.convert("L" if colour == "grey" else "RGB")
    if turn is not None:
        made = made.transpose(turn)
        changes.append("turned")
    if options.resize is not None:
        made = _resized(made, options.resize)
    pixels = np.asarray(made)
    return DecodedImage(pixels[..., None] if pixels.ndim == 2 else pixels, tuple(changes))


def _orientation(image: Image.Image) -> int:
    """How EXIF says the image is turned, 1 to 8; 1 where that cannot be read."""
    if not {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"} & image.info.keys():
        return 1
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except _UNREADABLE:
        return 1
    return value if isinstance(value, int) else 1


def _check_opaque(image: Image.Image) -> None:
    alpha = image.convert("RGBA").getchannel("A")
    if alpha.getextrema() != (255, 255):
        raise InvalidDataError("wanted opaque images; got transparent pixels in one")


def _resized(image: Image.Image, side: int) -> Image.Image:
    width, height = image.size
    crop = min(width, height)
    left, top = (width - crop) // 2, (height - crop) // 2
    # Cropped first: told the box alone, Pillow lets pixels from beyond it into the edges.
    square = image.crop((left, top, left + crop, top + crop))
    return square.resize((side, side), Image.Resampling.LANCZOS)
