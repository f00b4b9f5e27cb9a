"""Text in tables that people open in a spreadsheet (standard library only)."""

# What a spreadsheet would run instead of show, full-width forms among them.
_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")


def safe_cell(words: str) -> str:
    """Give text that a spreadsheet shows as it is: one that starts like a formula gets a quote."""
    return f"'{words}" if words.lstrip(" ").startswith(_FORMULA_STARTS) else words
