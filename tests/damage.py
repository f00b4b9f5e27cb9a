"""Files damaged as a medium damages them."""

import os
from pathlib import Path


def flip_a_bit(path: Path, place: int = -1) -> None:
    """Flip one bit of a file in place: inode, size and mtime stay, as far as the kernel lets them.

    Args:
        path: of the file.
        place: of the byte; by default the last.
    """
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(place % status.st_size)
        (byte,) = file.read(1)
        file.seek(place % status.st_size)
        file.write(bytes([byte ^ 1]))
        file.flush()
        os.fsync(file.fileno())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
