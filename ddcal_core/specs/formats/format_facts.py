"""What is known of a format that results are downloaded in."""

from dataclasses import dataclass

ZIP = "application/zip"
BYTES = "application/octet-stream"
MARKDOWN = "text/markdown"


@dataclass(frozen=True, kw_only=True)
class FormatFacts:
    """What is known of a format.

    Attributes:
        description: what is in the file, and what is lost.
        media_type: of the file.
        file_name: of the file, which no other file of the result has.
        is_stored: whether the result's own job writes the file; else an export does.
        has_card: whether it says what reports have found, and so changes with the next one.
        use: Python that reads the file, which lies in the working directory under its name.
        needs: the packages that this imports, by the names that pip has for them.
    """

    description: str
    media_type: str
    file_name: str
    is_stored: bool = False
    has_card: bool = False
    use: str
    needs: tuple[str, ...]
