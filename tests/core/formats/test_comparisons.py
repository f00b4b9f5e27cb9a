"""comparison.json is read back; what is none, or of another version, is refused in words."""

import pytest

from ddcal_core.errors import InvalidDataError
from ddcal_core.formats.comparisons import read_comparison


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ("{", "wanted a comparison as JSON"),
        ("[]", "wanted a comparison's fields; got list"),
        ("{}", "wanted a comparison of version 2, the first that there is; got one of version 1"),
        ('{"version": 3}', "this comparison is of version 3; this ddcal reads versions 1 to 2"),
        ('{"version": 2}', "wanted a comparison of version 2; got dataset"),
    ],
)
def test_what_is_no_comparison_is_refused_in_words(held, words):
    """Nothing else is taken for one."""
    with pytest.raises(InvalidDataError, match=words):
        read_comparison(held)
