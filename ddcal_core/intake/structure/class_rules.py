"""What a class may be called, and how many there may be (standard library only)."""

import unicodedata

from ddcal_core.errors import InvalidDataError
from ddcal_core.intake.structure.zip_names import is_unshown, unjoined

MAX_CLASS_NAME_LENGTH = 64
MAX_CLASSES = 1_000
MIN_TRAIN_IMAGES_PER_CLASS = 2


def clean_class_name(name: str, *, where: str) -> str:
    """A class's name in NFC, without spaces around it.

    Args:
        name: as it was given; no halves of surrogate pairs.
        where: it stood, for the message.

    Raises:
        InvalidDataError: control or format characters in it but joiners between letters, or not 1
            to 64 characters.
    """
    if any(map(is_unshown, unjoined(name))):
        raise InvalidDataError(
            f"{where}: wanted no control or format characters; got {name[:80]!r}"
        )
    name = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(name) <= MAX_CLASS_NAME_LENGTH:
        raise InvalidDataError(
            f"{where}: wanted 1 to {MAX_CLASS_NAME_LENGTH} characters; got {len(name)}"
        )
    return name
