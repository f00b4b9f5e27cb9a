"""Pixels -> what networks read: normalised by channel, or whitened (ZCA), and back.

Two transforms are called ZCA in the field, and a set made in one is noise to a network of the
other; so a space says which it is (`spec`) and travels with whatever was made in it, matrix and
all. 0 is the mean colour in the standard space, the mean image under ZCA, and any image of one
colour where images are whitened without their own mean.
"""

from collections.abc import Iterator, Mapping
from typing import assert_never

import torch
from torch import Tensor, nn

from ddcal_core.data.labelled import as_pixels
from ddcal_core.errors import InvalidDataError
from ddcal_core.progress import Progress, ProgressCallback, ignore_progress
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.spaces import (
    MAX_WHITENED_FEATURES,
    InputSpaceSpec,
    PerImageZcaSpace,
    StandardSpace,
    ZcaSpace,
)

PHASE = "whiten"
_CHUNK = 2_000  # images at once; 49 MB of float64 for 32 x 32 pixels in colour
# Below every image that is not of one colour: one pixel off by 1/255 has length 0.0028 and more.
_SHORTEST = 1e-3


class Standard(nn.Module):
    """(pixel - mean) / std, channel by channel.

    Args:
        facts: of the data set: its mean and std, of pixels in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, facts: DatasetFacts) -> None:
        super().__init__()
        self.spec, self.facts = StandardSpace(name="standard"), facts
        self.register_buffer("mean", torch.tensor(facts.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(facts.std).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Give network input float32 (N, C, H, W) of pixels float32 in [0, 1], same shape."""
        return (pixels - self.mean) / self.std

    def enter_(self, pixels: Tensor) -> Tensor:
        """Make network input of pixels in place, the same to the bit as `forward` gives."""
        return pixels.sub_(self.mean).div_(self.std)

    def back(self, images: Tensor) -> Tensor:
        """Give pixels float32 (N, C, H, W) of network input; learned ones may leave [0, 1]."""
        return images.float() * self.std + self.mean


class Zca(nn.Module):
    """(pixels - mean) matrix, pixels as rows of D = C H W features.

    Args:
        facts: of the data set.
        spec: which eps.
        mean: float32 (D,), of each feature over the images fitted on.
        matrix: float32 (D, D), symmetric.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, facts: DatasetFacts, spec: ZcaSpace, mean: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.spec, self.facts = spec, facts
        self.register_buffer("mean", mean)
        self.register_buffer("matrix", matrix)

    def forward(self, pixels: Tensor) -> Tensor:
        """Give network input float32 (N, C, H, W) of pixels float32 in [0, 1], same shape."""
        return ((pixels.flatten(1) - self.mean) @ self.matrix).view_as(pixels)

    def back(self, images: Tensor) -> Tensor:
        """Give pixels float32 (N, C, H, W) of network input; learned ones may leave [0, 1]."""
        return _unmixed(images, self.matrix).add(self.mean).view_as(images)


class PerImageZca(nn.Module):
    """Each image less its mean, divided by its length, times matrix.

    An image of one colour, which has no length, becomes 0.

    Args:
        facts: of the data set.
        spec: which regularisation.
        matrix: float32 (D, D), symmetric, D = C H W.
    """

    matrix: Tensor

    def __init__(self, facts: DatasetFacts, spec: PerImageZcaSpace, matrix: Tensor) -> None:
        super().__init__()
        self.spec, self.facts = spec, facts
        self.register_buffer("matrix", matrix)

    def forward(self, pixels: Tensor) -> Tensor:
        """Give network input float32 (N, C, H, W) of pixels float32 in [0, 1], same shape."""
        return (_unit_rows(pixels.flatten(1)) @ self.matrix).view_as(pixels)

    def back(self, images: Tensor) -> Tensor:
        """Give pictures float32 (N, C, H, W) in [0, 1] to look at, no pixels: see the spec.

        Brightness and contrast are lost; each image is stretched from black to white.
        """
        flat = _unmixed(images, self.matrix)
        low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
        return ((flat - low) / (high - low).clamp_min(_SHORTEST)).view_as(images)


InputSpace = Standard | Zca | PerImageZca


def enter(space: InputSpace, images: Tensor, index: Tensor | None = None) -> Tensor:
    """From pixels to network input, a part at a time.

    Args:
        space: on the CPU.
        images: (N, C, H, W) on the CPU, uint8 from 0 to 255, or floating point in [0, 1].
        index: int64 (M,) into them, or None for all.

    Returns:
        float32 (M, C, H, W), or of all N.

    Raises:
        InvalidDataError: another dtype, floats outside [0, 1] or NaN, or images of another shape
            than the space's.
    """
    check_shape(space, images)
    n_images = len(images) if index is None else len(index)
    # Filled, as parts to be joined would be there twice.
    entered = torch.empty((n_images, *images.shape[1:]))
    for part, pixels in _parts(images, index):
        entered[part] = space(as_pixels(pixels))
    return entered


def fit_space(
    spec: InputSpaceSpec,
    images: Tensor,
    facts: DatasetFacts,
    on_progress: ProgressCallback = ignore_progress,
    *,
    index: Tensor | None = None,
) -> InputSpace:
    """Make the space of a spec; the whitened ones are fitted in float64 and kept in float32.

    Args:
        spec: which space.
        images: uint8 (N, C, H, W).
        facts: mean and std of the standard space.
        on_progress: told after each part of the images.
        index: int64 (M,), the images to fit on: training images alone, without those cut for
            validation; None for all.

    Raises:
        InvalidDataError: too many features for a matrix, or fewer than two images.
    """
    if isinstance(spec, StandardSpace):
        return Standard(facts)
    n_images = len(images) if index is None else len(index)
    n_features = images[0].numel() if n_images > 1 else 0
    if not 0 < n_features <= MAX_WHITENED_FEATURES:
        raise InvalidDataError(
            f"{spec.name}: wanted at least 2 images of at most {MAX_WHITENED_FEATURES:,} features "
            f"(channels x height x width), got {n_images:,} of {n_features:,}"
        )
    match spec:
        case ZcaSpace():
            sums = [part.flatten(1).double().sum(0) for _, part in _parts(images, index)]
            mean = torch.stack(sums).sum(0) / (255 * n_images)
            # As the two published ZCAs have it: by N - 1 here (kornia's), by N below (RTP's).
            covariance = _second_moments(images, index, mean, on_progress) / (n_images - 1)
            return Zca(facts, spec, mean.float(), _inverse_root(covariance, spec.eps).float())
        case PerImageZcaSpace():
            moments = _second_moments(images, index, None, on_progress) / n_images
            # The mean of the diagonal is that of the eigenvalues.
            ridge = spec.regularisation * float(moments.diagonal().mean())
            return PerImageZca(facts, spec, _inverse_root(moments, ridge).float())
        case _:
            assert_never(spec)


def moved(images: Tensor, source: InputSpace, target: InputSpace) -> Tensor:
    """Give images of one space in another, by way of their pixels.

    Args:
        images: float32 (N, C, H, W), in the source, on the CPU.
        source: a space, on the CPU.
        target: another one of the same shape, or the same.

    Returns:
        float32 (N, C, H, W), in the target; the same to the bit where both have the same numbers.

    Raises:
        InvalidDataError: the source has no way back to pixels.
    """
    if _has_same_numbers(source, target):
        return images
    if isinstance(source, PerImageZca):
        raise InvalidDataError(
            f"wanted images in the space {target.spec.name} of these training images; got ones in "
            f"another {source.spec.name}, which has lost their brightness and contrast"
        )
    check_shape(target, images)
    there: Tensor = target(source.back(images))
    return there


def _has_same_numbers(one: InputSpace, other: InputSpace) -> bool:
    mine, others = one.state_dict(), other.state_dict()
    return type(one) is type(other) and all(
        torch.equal(value, others[name]) for name, value in mine.items()
    )


def to_pixels(images: Tensor, space: InputSpace) -> Tensor:
    """Give pixels to look at: values outside [0, 1] are clipped, which loses them.

    Args:
        images: float32 (N, C, H, W), network-input space, on the CPU.
        space: that space; one that is whitened image by image gives the picture up to brightness
            and contrast.

    Returns:
        uint8 (N, C, H, W), on the CPU.
    """
    return (space.back(images).clamp(0, 1) * 255).round().to(torch.uint8)


def space_tensors(space: InputSpace) -> dict[str, Tensor]:
    """The tensors to store with a space, beside its spec and the data set's facts.

    Returns:
        "input_space.matrix" and, for zca, "input_space.mean"; nothing for the standard space.
    """
    if isinstance(space, Standard):
        return {}
    return {f"input_space.{name}": value for name, value in space.state_dict().items()}


def space_of_tensors(
    spec: InputSpaceSpec, tensors: Mapping[str, Tensor], facts: DatasetFacts
) -> InputSpace:
    """Rebuild a space.

    Args:
        spec: which one.
        tensors: as `space_tensors` gives them; others among them are not looked at.
        facts: of the data set: shape, and mean and std of the standard space.

    Raises:
        InvalidDataError: a tensor is missing, of another shape or dtype, or not finite.
    """
    if isinstance(spec, StandardSpace):
        return Standard(facts)
    n_features = torch.Size(facts.image_shape).numel()
    matrix = _stored(tensors, "input_space.matrix", (n_features, n_features))
    match spec:
        case PerImageZcaSpace():
            return PerImageZca(facts, spec, matrix)
        case ZcaSpace():
            return Zca(facts, spec, _stored(tensors, "input_space.mean", (n_features,)), matrix)
        case _:
            assert_never(spec)


def _stored(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    found = tensors.get(name)
    if found is None or found.shape != shape or found.dtype != torch.float32:
        got = "none" if found is None else f"{found.dtype} of shape {tuple(found.shape)}"
        raise InvalidDataError(f"wanted {name} float32 {shape}, got {got}")
    if not bool(found.isfinite().all()):
        raise InvalidDataError(f"wanted finite numbers in {name}, got NaN or infinities")
    return found


def check_shape(space: InputSpace, images: Tensor) -> None:
    """Refuse images that are not of the space's shape.

    Raises:
        InvalidDataError: not (N, C, H, W), or another number of channels or, where images are
            whitened, of features.
    """
    if isinstance(space, Standard):
        wanted, got, what = space.mean.numel(), images.shape[1:2], "channels"
    else:
        wanted, got, what = len(space.matrix), images.shape[1:], "features an image"
    if images.ndim != 4 or got.numel() != wanted:
        raise InvalidDataError(
            f"wanted images (N, C, H, W) of {wanted} {what}, got shape {tuple(images.shape)}"
        )


def _unit_rows(rows: Tensor) -> Tensor:
    """Rows (N, D) less their mean, divided by their length."""
    centred = rows - rows.mean(1, keepdim=True)
    lengths = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    rows_of_length_one: Tensor = centred / lengths.clamp_min(_SHORTEST)
    return rows_of_length_one


def _parts(images: Tensor, index: Tensor | None) -> Iterator[tuple[slice, Tensor]]:
    """The images at an index, or all, some at once: where among them they are, and they."""
    n_images = len(images) if index is None else len(index)
    for start in range(0, n_images, _CHUNK):
        part = slice(start, min(start + _CHUNK, n_images))
        yield part, images[part] if index is None else images[index[part]]


def _second_moments(
    images: Tensor, index: Tensor | None, mean: Tensor | None, on_progress: ProgressCallback
) -> Tensor:
    """Sum over images of x^T x, float64 (D, D): x less a mean, or of length 1 without one."""
    n_images = len(images) if index is None else len(index)
    n_features = images[0].numel()
    total = torch.zeros(n_features, n_features, dtype=torch.float64, device=images.device)
    for part, pixels in _parts(images, index):
        rows = pixels.flatten(1).double() / 255
        rows = _unit_rows(rows) if mean is None else rows - mean
        total.addmm_(rows.T, rows)
        on_progress(Progress(phase=PHASE, step=part.stop, steps=n_images))
    return total


def _inverse_root(moments: Tensor, ridge: float) -> Tensor:
    """(moments + ridge)^(-1/2), symmetric, float64 (D, D)."""
    values, vectors = torch.linalg.eigh(moments)
    # Rounding makes eigenvalues of 0 slightly negative.
    root: Tensor = (vectors * (values.clamp_min(0) + ridge).rsqrt()) @ vectors.T
    return root


def _unmixed(images: Tensor, matrix: Tensor) -> Tensor:
    """Rows float32 (N, D) that the matrix would map to images."""
    # float64: solving multiplies rounding by the matrix's condition number.
    solved: Tensor = torch.linalg.solve(matrix.double(), images.flatten(1).double().T)
    return solved.T.float()
