import pytest
import torch

from ddcal_core.seeding import seeded_generator


def drawn(seed, *path):
    """The first numbers of a generator."""
    return torch.rand(8, generator=seeded_generator(seed, *path)).tolist()


def test_equal_paths_draw_equal_numbers():
    """The same seed and path give the same draws, whatever was drawn in between."""
    first = drawn(3, "distill", "mask", 17)
    drawn(3, "distill", "mask", 16)
    assert drawn(3, "distill", "mask", 17) == first


@pytest.mark.parametrize(
    "path",
    [
        (3, "distill", "mask", "17"),
        (3, "distill", "mask"),
        (3, "distill", "mask", 17, 0),
        (3, "distill/mask", 17),
        (4, "distill", "mask", 17),
        (3, "mask", "distill", 17),
        (-3, "distill", "mask", 17),
    ],
)
def test_other_paths_draw_other_numbers(path):
    """Every part of seed and path counts: its value, its type, its place."""
    assert drawn(*path) != drawn(3, "distill", "mask", 17)


def test_seed_is_sha256_of_the_path():
    """The seed is what sha256sum says of '[7, "distill", "mask", 17]': stored sets stay valid."""
    generator = seeded_generator(7, "distill", "mask", 17)
    assert generator.initial_seed() % 2**64 == 0xB1E4BC8FCBFE73CB


def test_streams_are_independent():
    """Neighbouring counters give uncorrelated uniform numbers."""
    draws = torch.stack([torch.rand(2000, generator=seeded_generator(0, "x", i)) for i in range(9)])
    correlation = torch.corrcoef(draws) - torch.eye(9)
    assert correlation.abs().max() < 5 / 2000**0.5
    assert abs(float(draws.mean()) - 0.5) < 5 * (1 / 12 / draws.numel()) ** 0.5


def test_global_generator_is_left_alone():
    """Neither making nor using a generator touches PyTorch's global one."""
    before = torch.get_rng_state()
    drawn(0, "x")
    assert torch.equal(torch.get_rng_state(), before)
