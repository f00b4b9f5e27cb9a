"""Random generators named by what they are for, so that no draw depends on the ones before it."""

import hashlib
import json

import torch


def seeded_generator(seed: int, *path: str | int) -> torch.Generator:
    """A fresh CPU generator for one purpose of one seeded computation.

    Counter-based: equal (seed, path) give equal draws, whatever was drawn elsewhere and in
    whatever order, so that a computation can start again in its middle. Draw on the CPU and move
    the result; then a GPU sees the same numbers.

    Args:
        seed: of the whole computation, any integer.
        path: what is drawn, from coarse to fine ("distill", "mask", 17). 1 and "1" differ.

    Returns:
        A generator seeded with the first 8 bytes of sha256 of (seed, path). PyTorch's CPU
        generator keeps 32 bits of them: among n paths two coincide with chance about n^2 / 2^33.
    """
    digest = hashlib.sha256(json.dumps([seed, *path]).encode()).digest()
    generator = torch.Generator()
    generator.manual_seed(int.from_bytes(digest[:8], "big", signed=True))
    return generator
