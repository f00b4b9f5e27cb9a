"""What space the images of a distilled set made elsewhere are in, and whether they look like it.

Learned images stray: pixels leave [0, 1], normalised ones have no exact mean. What is refused looks
like another space than the one declared.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.set_structure import MATRIX, MATRIX_MEAN
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.spaces import InputSpaceSpec, StandardSpace, ZcaSpace
from ddcal_core.specs.uploads import SetOptions

_NEAR_PIXELS = (-0.1, 1.1)
_FEWEST_NEAR = 0.8  # of all numbers: of images made in whitened space and taken back, more are
_WIDEST_PIXELS = 0.55  # no numbers in [0, 1] have a deviation above 0.5
_LARGEST = 100.0
_SYMMETRIC = 1e-3


class Spaced(NamedTuple):
    """Images with the space they are in.

    Attributes:
        images: float32 (M, C, H, W), network-input space.
        pixels: to look at, uint8 (M, C, H, W).
        spec: the input space.
        facts: of the data set, with the mean and std of the space.
        arrays: what a whitened space is made of, by name.
        notes: what is odd, a sentence each.
    """

    images: NDArray[np.float32]
    pixels: NDArray[np.uint8]
    spec: InputSpaceSpec
    facts: DatasetFacts
    arrays: dict[str, NDArray[Any]]
    notes: tuple[str, ...]


def in_space(
    images: NDArray[Any],
    others: Mapping[str, NDArray[Any]],
    facts: DatasetFacts,
    options: SetOptions,
) -> Spaced:
    """Take images into the space that networks are to read.

    Args:
        images: (M, C, H, W), floating point and finite, or bytes.
        others: arrays that came with them, such as mean and std.
        facts: of the data set.
        options: what the sender says.

    Raises:
        InvalidDataError: they do not look like what the sender says they are.
    """
    is_bytes = images.dtype == np.uint8
    if is_bytes and options.space != "pixels":
        raise InvalidDataError(
            f"images: wanted floating point numbers, as they are {options.space}; got bytes, which "
            "are pixels (space=pixels)"
        )
    if MATRIX in others and options.space != "zca":
        raise InvalidDataError(
            f"images: wanted {options.space} ones, without {MATRIX}; the file has it, as whitened "
            "images have (space=zca)"
        )
    floats: NDArray[np.float32] = images.astype(np.float32)
    if is_bytes:
        floats /= 255
    _check_plausible(floats, options.space)
    if options.space == "zca":
        return _whitened(floats, others, facts, options.zca_eps)
    if options.space == "standardised":
        facts = facts.model_copy(update=_numbers(others, facts, options))
    mean, std = (np.array(one, np.float32).reshape(-1, 1, 1) for one in (facts.mean, facts.std))
    pixels = floats if options.space == "pixels" else floats * std + mean
    standard = floats if options.space == "standardised" else (floats - mean) / std
    notes = _stray_note(floats) if options.space == "pixels" else ()
    return Spaced(standard, _shown(pixels), StandardSpace(name="standard"), facts, {}, notes)


def _numbers(
    others: Mapping[str, NDArray[Any]], facts: DatasetFacts, options: SetOptions
) -> dict[str, tuple[float, ...]]:
    """Mean and std of each channel: the sender's, the file's, or the data set's own."""
    n_channels, found = facts.image_shape[0], {}
    for name in ("mean", "std"):
        given, default = getattr(options, name), getattr(facts, name)
        held = others[name].ravel().tolist() if name in others else default
        numbers = tuple(float(one) for one in (held if given is None else given))
        if len(numbers) != n_channels or not np.isfinite(numbers).all():
            raise InvalidDataError(f"{name}: wanted {n_channels} numbers, one a channel")
        found[name] = numbers
    if min(found["std"]) <= 0:
        raise InvalidDataError(f"std: wanted numbers above 0; got {min(found['std']):g}")
    return found


def _check_plausible(images: NDArray[np.float32], space: str) -> None:
    low, high = float(images.min()), float(images.max())
    low_near, high_near = _NEAR_PIXELS
    share_near = float(((images >= low_near) & (images <= high_near)).mean())
    deviation = float(images.std(dtype=np.float64))
    found = f"got numbers from {low:.3g} to {high:.3g}, mean {float(images.mean()):.3g}"
    if low >= 0 and high > _LARGEST / 10:
        raise InvalidDataError(
            f"images: wanted {_WORDS[space]}; {found}, which look like pixels from 0 to 255: "
            "divide them by 255 (space=pixels), or send them as bytes"
        )
    if max(abs(low), abs(high)) > _LARGEST:
        raise InvalidDataError(
            f"images: wanted {_WORDS[space]}; {found}, which look like no images"
        )
    if space == "pixels" and (share_near < _FEWEST_NEAR or deviation > _WIDEST_PIXELS):
        raise InvalidDataError(
            f"images: wanted {_WORDS[space]}; {found}, which look standardised "
            "(space=standardised) or whitened (space=zca)"
        )
    if space != "pixels" and low >= 0 and high <= 1:
        raise InvalidDataError(
            f"images: wanted {_WORDS[space]}, some of them below 0; {found}, which look like "
            "pixels in [0, 1] (space=pixels)"
        )


_WORDS = {
    "pixels": "pixels in [0, 1]",
    "standardised": "standardised numbers, (pixel - mean) / std",
    "zca": "whitened numbers",
}


def _stray_note(images: NDArray[np.float32]) -> tuple[str, ...]:
    share = float(((images < 0) | (images > 1)).mean())
    if share == 0:
        return ()
    return (f"{100 * share:.2g} % of the pixels lie outside [0, 1]; they are kept as they are.",)


def _whitened(
    images: NDArray[np.float32],
    others: Mapping[str, NDArray[Any]],
    facts: DatasetFacts,
    eps: float | None,
) -> Spaced:
    n_features = images[0].size
    matrix = _part(others, MATRIX, (n_features, n_features))
    mean = _part(others, MATRIX_MEAN, (n_features,))
    if np.abs(matrix - matrix.T).max() > _SYMMETRIC * np.abs(matrix).max():
        raise InvalidDataError(f"{MATRIX}: wanted a symmetric matrix, as ZCA's is")
    try:
        # float64: solving multiplies rounding by the matrix's condition number.
        rows = np.linalg.solve(matrix.astype(np.float64), images.reshape(len(images), -1).T).T
    except np.linalg.LinAlgError as error:
        raise InvalidDataError(f"{MATRIX}: wanted one with an inverse; {error}") from error
    pixels = (rows + mean).reshape(images.shape)
    _check_plausible(pixels.astype(np.float32), "pixels")
    arrays = {MATRIX_MEAN: mean, MATRIX: matrix}
    spec = ZcaSpace(name="zca") if eps is None else ZcaSpace(name="zca", eps=eps)
    return Spaced(images, _shown(pixels), spec, facts, arrays, ())


def _part(
    others: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    found = others.get(name)
    if found is None or found.shape != shape or not np.isfinite(found).all():
        got = "none" if found is None else f"shape {found.shape}"
        raise InvalidDataError(
            f"{name}: wanted finite numbers of shape {shape} in the file of whitened images, or "
            f"zca_eps, to have them fitted on the data set; got {got}"
        )
    return found.astype(np.float32)


def _shown(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    shown: NDArray[np.uint8] = (pixels.clip(0, 1) * 255).round().astype(np.uint8)
    return shown
