import copy

import numpy as np
import pytest
import torch
from kornia.enhance import ZCAWhitening

from ddcal_core.data.dataset_facts import NAMED_DATASETS
from ddcal_core.data.input_space import (
    PerImageZca,
    Standard,
    Zca,
    enter,
    fit_space,
    moved,
    space_of_tensors,
    space_tensors,
)
from ddcal_core.errors import InvalidDataError, StoppedError
from ddcal_core.specs.facts import DatasetFacts
from ddcal_core.specs.spaces import PerImageZcaSpace, StandardSpace, ZcaSpace

ZCA, PER_IMAGE = ZcaSpace(name="zca"), PerImageZcaSpace(name="zca_per_image")
SHAPE = (3, 4, 5)
D = 60
FACTS = DatasetFacts(
    image_shape=SHAPE,
    class_names=("a", "b"),
    train_class_counts=(1, 1),
    test_class_counts=(1, 1),
    mean=(0.25, 0.5, 0.75),
    std=(0.5, 0.125, 2.0),
)


def images_of(n, seed=0):
    """Random images whose features lean on each other: uint8 (n, 3, 4, 5)."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(D, D, generator=generator)
    mixed = torch.randn(n, D, generator=generator) @ mixing * 8 + 120
    return mixed.round().clamp(0, 255).to(torch.uint8).view(n, *SHAPE)


@pytest.fixture(scope="module")
def images():
    """More images than one part of a fit holds."""
    return images_of(2_500)


@pytest.fixture(scope="module")
def spaces(images):
    """All three, fitted on the same images."""
    return {
        spec.name: fit_space(spec, images, FACTS)
        for spec in (StandardSpace(name="standard"), ZCA, PER_IMAGE)
    }


@pytest.mark.parametrize("eps", [0.1, 1e-3])
def test_zca_is_kornias(images, eps):
    """Mean, matrix, whitened images and the way back, against kornia's in float64."""
    pixels = images.double() / 255
    oracle = ZCAWhitening(eps=eps, compute_inv=True)
    wanted = oracle(pixels, include_fit=True)
    space = fit_space(ZcaSpace(name="zca", eps=eps), images, FACTS)
    torch.testing.assert_close(space.mean, oracle.mean_vector[0].float())
    torch.testing.assert_close(space.matrix, oracle.transform_matrix.float(), atol=1e-5, rtol=1e-5)
    got = enter(space, images)
    torch.testing.assert_close(got, wanted.float(), atol=1e-4, rtol=1e-4)
    back = oracle.inverse_transform(got.double())
    torch.testing.assert_close(space.back(got), back.float(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(space.back(got), pixels.float(), atol=1e-5, rtol=1e-5)


def test_zca_of_unseen_images_takes_the_training_fit(images):
    """Test images lose the training mean and take the training matrix."""
    unseen = images_of(7, seed=3)
    oracle = ZCAWhitening(eps=0.1).fit(images.double() / 255)
    wanted = oracle(unseen.double() / 255).float()
    got = enter(fit_space(ZCA, images, FACTS), unseen)
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


def rows_of_length_one(images):
    """Each image less its mean over its own length, a loop in float64 numpy."""
    rows = []
    for image in images.numpy().astype(np.float64).reshape(len(images), -1) / 255:
        centred = image - image.sum() / image.size
        rows.append(centred / np.sqrt((centred * centred).sum()))
    return np.array(rows)


@pytest.mark.parametrize("regularisation", [0.1, 100.0])
def test_zca_per_image_is_the_formula(images, regularisation):
    """Against numpy in float64, by a singular value decomposition of the images themselves."""
    rows = rows_of_length_one(images)
    _, singular, vectors = np.linalg.svd(rows, full_matrices=False)
    values = singular**2 / len(rows)
    scale = 1 / np.sqrt(values + regularisation * values.mean())
    matrix = (vectors.T * scale) @ vectors
    spec = PerImageZcaSpace(name="zca_per_image", regularisation=regularisation)
    space = fit_space(spec, images, FACTS)
    # The mean of each image is gone: that direction has eigenvalue 0, and numpy's may be any sign.
    np.testing.assert_allclose(space.matrix.numpy(), matrix, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(
        enter(space, images).flatten(1).numpy(), rows @ matrix, rtol=1e-3, atol=1e-4
    )


def test_per_image_whitening_forgets_brightness_and_contrast(spaces):
    """0.5 x + 0.3 enters as x does; with zca it does not."""
    pixels = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(1)) * 0.5
    changed = pixels * 0.5 + 0.3
    space = spaces["zca_per_image"]
    torch.testing.assert_close(space(pixels), space(changed), atol=1e-4, rtol=1e-4)
    assert float((spaces["zca"](pixels) - spaces["zca"](changed)).abs().max()) > 0.1


def test_an_image_of_one_colour_is_zero_per_image(spaces):
    """It has no length; every grey level gives (nearly) 0, not noise blown up."""
    levels = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, *SHAPE)
    space = spaces["zca_per_image"]
    assert float(enter(space, levels).abs().max()) < 0.05
    faint = levels[:1].clone()
    faint[0, 0, 0, 0] = 1
    assert float(enter(space, faint).abs().max()) > 0.5


def test_whitening_whitens():
    """With next to nothing added, the second moments of the training images are the identity."""
    images = images_of(1_000)
    whitened = enter(fit_space(ZcaSpace(name="zca", eps=1e-9), images, FACTS), images)
    moments = torch.cov(whitened.flatten(1).double().T)
    torch.testing.assert_close(moments, torch.eye(D).double(), atol=1e-3, rtol=0)
    spec = PerImageZcaSpace(name="zca_per_image", regularisation=1e-9)
    rows = enter(fit_space(spec, images, FACTS), images).flatten(1).double()
    # One direction is empty, that of an image's own mean: the rest is the identity.
    eigenvalues = torch.linalg.eigvalsh(rows.T @ rows / len(rows))
    torch.testing.assert_close(eigenvalues[1:], torch.ones(D - 1).double(), atol=1e-3, rtol=0)
    assert float(eigenvalues[0].abs()) < 0.1


def test_zero_is_the_mean_image(images, spaces):
    """What a mask of fill zero puts there: the mean colour, or under ZCA the mean image's part."""
    zeros = torch.zeros(1, *SHAPE)
    mean = (images.double() / 255).mean(0)
    torch.testing.assert_close(spaces["zca"].back(zeros)[0], mean.float())
    colour = spaces["standard"].back(zeros)[0]
    torch.testing.assert_close(colour, torch.tensor(FACTS.mean).view(3, 1, 1).expand(SHAPE))


def test_a_picture_of_a_per_image_space_lies_in_0_to_1(images, spaces):
    """It shows the image up to brightness and contrast: it correlates with the pixels fully."""
    shown = spaces["zca_per_image"].back(enter(spaces["zca_per_image"], images[:20]))
    assert float(shown.min()) == 0
    assert float(shown.max()) == 1
    for picture, pixels in zip(shown, images[:20].float(), strict=True):
        pair = torch.stack([picture.flatten(), pixels.flatten()])
        assert float(torch.corrcoef(pair)[0, 1]) > 0.999


def test_a_space_is_read_back_from_its_tensors(images, spaces):
    """The same bits; a standard space needs none."""
    for space in spaces.values():
        tensors = {name: value.clone() for name, value in space_tensors(space).items()}
        again = space_of_tensors(space.spec, {**tensors, "images": torch.zeros(1)}, FACTS)
        assert type(again) is type(space)
        assert torch.equal(enter(again, images), enter(space, images))
    assert space_tensors(spaces["standard"]) == {}
    assert set(space_tensors(spaces["zca_per_image"])) == {"input_space.matrix"}
    assert set(space_tensors(spaces["zca"])) == {"input_space.matrix", "input_space.mean"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_space.matrix": None}, r"wanted input_space.matrix float32 \(60, 60\), got none"),
        ({"input_space.matrix": torch.zeros(4, 4)}, r"got torch.float32 of shape \(4, 4\)"),
        ({"input_space.mean": torch.zeros(60).double()}, "input_space.mean .* got torch.float64"),
        ({"input_space.mean": torch.full((60,), torch.nan)}, "finite numbers in input_space.mean"),
    ],
)
def test_a_space_without_its_tensors_is_refused(spaces, change, message):
    """Missing, of another shape or dtype, or not finite."""
    tensors = {**space_tensors(spaces["zca"]), **change}
    tensors = {name: value for name, value in tensors.items() if value is not None}
    with pytest.raises(InvalidDataError, match=message):
        space_of_tensors(ZCA, tensors, FACTS)


@pytest.mark.parametrize("name", ["standard", "zca", "zca_per_image"])
def test_bytes_and_unit_floats_enter_alike(images, spaces, name):
    """uint8 and the same pixels / 255; none stay none; channels and ranges are checked."""
    space = spaces[name]
    assert torch.equal(enter(space, images[:9]), enter(space, images[:9].float() / 255))
    assert enter(space, images[:0]).shape == (0, *SHAPE)
    for wrong, message in (
        (images[:1].long(), "uint8 or floating"),
        (images[:1].float(), r"wanted floating-point pixels in \[0, 1\]"),
        (images[:1, :2], r"got shape \(1, 2, 4, 5\)"),
        (images[0], "got shape"),
    ):
        with pytest.raises(InvalidDataError, match=message):
            enter(space, wrong)


def test_the_standard_space_is_the_formula():
    """(x / 255 - mean) / std in every channel, against numpy in float64, for every grey level."""
    levels = torch.arange(256, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, *SHAPE)
    mean, std = np.array(FACTS.mean), np.array(FACTS.std)
    wanted = (levels.numpy() / 255 - mean[:, None, None]) / std[:, None, None]
    space = Standard(FACTS)
    got = enter(space, levels)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(space.back(got), levels / 255)
    assert float(space.back(torch.full((1, *SHAPE), 100.0)).max()) > 100


def test_images_too_large_for_a_matrix_are_refused():
    """The limit is said; so are too few images."""
    with pytest.raises(InvalidDataError, match=r"at most 4,096 features.*got 2 of 4,128"):
        fit_space(ZCA, torch.zeros(2, 3, 32, 43, dtype=torch.uint8), FACTS)
    with pytest.raises(InvalidDataError, match=r"at least 2 images"):
        fit_space(PER_IMAGE, images_of(1), FACTS)


def test_images_that_are_all_alike_can_be_whitened():
    """Eigenvalues of 0 and slightly below it: finite, and the mean image is 0."""
    images = torch.full((5, *SHAPE), 9, dtype=torch.uint8)
    for spec in (ZCA, PER_IMAGE):
        if spec is PER_IMAGE:
            images = images + torch.arange(D, dtype=torch.uint8).view(SHAPE)
        space = fit_space(spec, images, FACTS)
        assert bool(enter(space, images).isfinite().all())
    assert isinstance(fit_space(ZCA, images, FACTS), Zca)
    assert isinstance(fit_space(PER_IMAGE, images, FACTS), PerImageZca)


def test_fitting_can_be_stopped(images):
    """It reports after each part, and stops when told."""
    seen = []
    fit_space(ZCA, images, FACTS, seen.append)
    assert [(one.step, one.steps) for one in seen] == [(2_000, 2_500), (2_500, 2_500)]

    def stop(progress):
        raise StoppedError

    with pytest.raises(StoppedError):
        fit_space(PER_IMAGE, images, FACTS, stop)


def test_digits_fit_twice_to_the_same_bits():
    """Fitting draws nothing; a space with features that never vary (corners) is finite."""
    images = torch.randint(0, 255, (50, 1, 8, 8), generator=torch.Generator().manual_seed(2))
    images[:, :, 0, 0] = 0
    facts = NAMED_DATASETS["digits"]
    one, two = (fit_space(ZCA, images.to(torch.uint8), facts) for _ in range(2))
    assert torch.equal(one.matrix, two.matrix)
    assert bool(one.matrix.isfinite().all())


def test_images_move_between_spaces_by_way_of_their_pixels(images, spaces):
    """Whitened ones become the standardised ones of the same pixels, and back."""
    pixels = images[:5].float() / 255
    standard, zca = spaces["standard"], spaces["zca"]
    torch.testing.assert_close(
        moved(zca(pixels), zca, standard), standard(pixels), rtol=0, atol=2e-4
    )
    torch.testing.assert_close(
        moved(standard(pixels), standard, zca), zca(pixels), rtol=0, atol=2e-4
    )


def test_images_that_stay_in_their_space_keep_every_bit(images, spaces):
    """A space with the same numbers is the same one, also where nothing leads back to pixels."""
    pixels = images[:5].float() / 255
    for space in spaces.values():
        entered = space(pixels)
        assert moved(entered, space, copy.deepcopy(space)) is entered


def test_images_without_a_way_back_do_not_move(images, spaces):
    """Their brightness and contrast are lost."""
    per_image = spaces["zca_per_image"]
    entered = per_image(images[:5].float() / 255)
    with pytest.raises(InvalidDataError, match="lost their brightness and contrast"):
        moved(entered, per_image, spaces["standard"])
