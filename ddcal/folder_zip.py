"""A folder of image files as one zip, to be uploaded."""

import contextlib
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def zip_of_folder(folder: Path) -> Iterator[Path]:
    """Pack a folder's files into a temporary zip, in order of their names, uncompressed.

    Images are compressed already. Names are relative to the folder; hidden files and folders are
    left out; a link to a file is packed as the file.

    Raises:
        OSError: a file cannot be read, a link leads to a folder, or a name is not UTF-8.
    """
    with tempfile.TemporaryDirectory(prefix="ddcal-") as temporary:
        path = Path(temporary) / "images.zip"
        with zipfile.ZipFile(path, "w", strict_timestamps=False) as archive:
            for file in _files(folder):
                name = file.relative_to(folder).as_posix()
                try:
                    archive.write(file, name)
                except UnicodeEncodeError as error:
                    raise OSError(f"{name!r}: wanted a name in UTF-8") from error
        yield path


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            yield path
        elif path.is_symlink():
            raise OSError(f"{path}: wanted a folder; got a link to one, which may lead in a circle")
        else:
            yield from _files(path)
