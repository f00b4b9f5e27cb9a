"""Files with flipped bytes: each is taken or refused, and nothing falls over or grows."""

import json
import random
import signal
import subprocess
import sys

import numpy as np
import pytest

from app.shared.processes import dying_with_us
from tests.core.intake.bad_files import arrow, npz, parquet, table
from tests.core.intake.known_files_made import cifar, mat, mnist, tarred
from tests.image_files import class_folders, encoded, noise, zipped

PROGRAM = r"""
import json, sys
from pathlib import Path
from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.process import take_in
from ddcal_core.specs.uploads import ImageOptions

folder = Path(sys.argv[1])
counts = {"taken": 0, "refused": 0}
for path in sorted(folder.glob("*.bad"), key=lambda path: int(path.stem)):
    print(path.stem, file=sys.stderr, flush=True)
    try:
        take_in(path, folder, 20_000_000, ImageOptions())
        counts["taken"] += 1
    except InvalidDataError:
        counts["refused"] += 1
print(json.dumps(counts))
"""


def pictures(image_format, **options):
    """A zip of images of a format."""
    return zipped(
        {
            name.replace("png", "x.png"): encoded(one, image_format, **options)
            for name, one in class_folders(shape=(16, 16, 3)).items()
        }
    )


def table_of():
    """Images with a table."""
    rows = "".join(f"{k}.png,{'cat' if k % 2 else 'dog'}\n" for k in range(12))
    return table("filename,label\n" + rows)


def deep():
    """16 bits of grey as TIFF."""
    values = np.random.default_rng(0).integers(0, 60_000, (16, 16)).astype(np.uint16)
    return zipped(
        {
            f"{name}/{k}.tif": encoded(values + k, "TIFF")
            for name in ("cat", "dog")
            for k in range(6)
        }
    )


FORMATS = {
    "parquet": parquet,
    "parquet zstd": lambda: parquet(compression="zstd"),
    "arrow": arrow,
    "arrow zstd": lambda: arrow(compression="zstd"),
    "mat": lambda: mat(noise(0, 30, 8, 8, 3), np.arange(30) % 3, compressed=False),
    "mat packed": lambda: mat(noise(0, 30, 8, 8, 3), np.arange(30) % 3),
    "cifar": lambda: tarred(cifar()[0], "w"),
    "idx": lambda: zipped(mnist(bytes, "")[0]),
    "tar.gz": lambda: tarred({k: encoded(v) for k, v in class_folders().items()}),
    "tar": lambda: tarred({k: encoded(v) for k, v in class_folders().items()}, "w"),
    "table": table_of,
    "npz": npz,
    "webp": lambda: pictures("WEBP"),
    "bmp": lambda: pictures("BMP"),
    "tiff": lambda: pictures("TIFF", compression="tiff_lzw"),
    "deep tiff": deep,
}


def damaged(content, dice):
    """With a few other bytes, mostly where headers are; sometimes cut."""
    data = bytearray(content)
    for _ in range(dice.randint(1, 4)):
        near = dice.choice((len(data), 600, -600))
        place = dice.randrange(near) if near > 0 else len(data) + near + dice.randrange(-near)
        data[place % len(data)] = dice.choice((0, 127, 255, dice.randrange(256)))
    if dice.random() < 0.1:
        del data[dice.randrange(len(data)) :]
    return bytes(data)


@pytest.mark.parametrize("name", FORMATS)
def test_flipped_bytes_raise_nothing_but_the_refusal(tmp_path, name):
    """In a process with a limit of memory: no crash, no other exception, no hang."""
    content, dice = FORMATS[name](), random.Random(0)
    for trial in range(60):
        (tmp_path / f"{trial}.bad").write_bytes(damaged(content, dice))
    argv = dying_with_us(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        death_signal=signal.SIGKILL,
        memory_bytes=2 * 2**30,
    )
    ran = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, f"{ran.returncode}: {ran.stderr[-3_000:]}"
    counts = json.loads(ran.stdout)
    assert sum(counts.values()) == 60
    assert counts["refused"] > 5
