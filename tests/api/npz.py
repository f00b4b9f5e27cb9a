"""Uploads for tests: a good .npz of either content, and how to post it."""

import io

import numpy as np

GOOD = {
    "x_train": np.zeros((50, 8, 8), np.uint8),
    "y_train": np.arange(50) % 2,
    "x_test": np.zeros((10, 8, 8), np.uint8),
    "y_test": np.arange(10) % 2,
}


def npz(**changes):
    """The bytes of a good .npz with some arrays changed; None leaves one out."""
    arrays = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npz_bytes(**changes):
    """What httpx needs to post it."""
    return {
        "content": npz(**changes),
        "headers": {"Content-Type": "application/octet-stream"},
    }


GENERATOR = np.random.default_rng(0)
GOOD_LOGITS = {
    "logits_fit": GENERATOR.normal(size=(30, 3)).astype(np.float32),
    "labels_fit": np.arange(30) % 3,
    "logits_test": GENERATOR.normal(size=(20, 3)).astype(np.float32),
    "labels_test": np.arange(20) % 3,
}


def logits_npz(**changes):
    """The bytes of a good .npz of logits with some arrays changed; None leaves one out."""
    arrays = {key: value for key, value in {**GOOD_LOGITS, **changes}.items() if value is not None}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def upload_logits(api, name="mine", *, values=None, **changes):
    """Post a .npz of logits under a name, declared or not, arrays changed; None leaves one out."""
    return api.client.post(
        "/v1/logits",
        params={"name": name} | ({} if values is None else {"values": values}),
        content=logits_npz(**changes),
        headers={"Content-Type": "application/zip"},
    )
