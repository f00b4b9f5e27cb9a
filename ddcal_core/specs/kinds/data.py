"""What jobs on real images have in common."""

from ddcal_core.specs.fields import Classes, DatasetName, LongTail, NValidation, Seed, Spec
from ddcal_core.specs.spaces import InputSpaceSpec, StandardSpace


class DataParams(Spec):
    """Which real images a job works on, in which input space, and the seed it draws by."""

    dataset: DatasetName
    seed: Seed = 0
    n_validation: NValidation = None
    classes: Classes = None
    imbalance: LongTail = None
    input_space: InputSpaceSpec = StandardSpace(name="standard")
