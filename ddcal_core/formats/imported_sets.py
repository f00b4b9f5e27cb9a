"""What a manifest and a report say of a distilled set that was made elsewhere."""

from ddcal_core.formats.records import Record
from ddcal_core.specs.uploads import DeclaredSpace, SetFileFormat


class ImportedSet(Record):
    """Where a distilled set that was made elsewhere came from.

    Attributes:
        file_format: of the file: "dc", the structure of DC, DSA and DM; "pair", MTT's and TESLA's
            two files in a zip; "torch", a .pt of tensors; "safetensors" or "npz".
        sha256: of the file.
        experiment: the set's place in the file, from 0.
        n_experiments: sets in the file.
        declared_space: what the sender said the images are.
        reported_accuracies: mean of what the file says networks reached, by their name; nobody
            here has measured it.
        notes: what is odd about the set, or not known of it, a sentence or two each.
    """

    file_format: SetFileFormat
    sha256: str
    experiment: int
    n_experiments: int
    declared_space: DeclaredSpace
    reported_accuracies: dict[str, float]
    notes: tuple[str, ...]
