"""The one format of sets of experts, which distillations read."""

from collections.abc import Mapping
from typing import Literal

from ddcal_core.specs.formats.format_facts import FormatFacts

ExpertFormat = Literal["safetensors"]

EXPERT_FORMATS: Mapping[ExpertFormat, FormatFacts] = {
    "safetensors": FormatFacts(
        description="The weights of each network after each epoch.",
        media_type="application/x-safetensors",
        file_name="experts.safetensors",
        is_stored=True,
        use="""\
from safetensors.torch import load_file

weights = load_file("experts.safetensors")
print({name: tensor.shape for name, tensor in weights.items()})
""",
        needs=("safetensors", "torch"),
    ),
}
