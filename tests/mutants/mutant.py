"""One mutant: a change of a few words in one file, and the tests that have to notice it."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


class StaleMutantError(Exception):
    """The text that a mutant replaces is not in its file any more, or not once."""


@dataclass(frozen=True)
class Mutant:
    """A mechanism taken away.

    Attributes:
        name: what is missing then, in a few words joined by hyphens.
        path: of the file, from the root.
        before: text of it, which stands there once.
        after: what stands there instead.
        killed_by: tests, by path and name, at least one of which fails then; with its parameters
            in brackets where one case of it is enough.
        is_slow: its tests take too long for a sample at every change.
    """

    name: str
    path: str
    before: str
    after: str
    killed_by: tuple[str, ...]
    is_slow: bool = False

    def mutated(self, root: Path = ROOT) -> str:
        """The file's text with the change.

        Raises:
            StaleMutantError: the code has changed since the mutant was written.
        """
        text = (root / self.path).read_text()
        if text.count(self.before) != 1 or self.before == self.after:
            raise StaleMutantError(
                f"{self.name}: wanted its text once in {self.path}; got it "
                f"{text.count(self.before)} times: write the mutant anew"
            )
        return text.replace(self.before, self.after)
