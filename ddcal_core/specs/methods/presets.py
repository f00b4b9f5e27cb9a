"""The numbers that a distillation takes where a request gives none.

`published` are those of the paper's own code, only where it reports results; `smoke` are ours, for
every data set, sized for two CPU cores: they show that a method works, not how well it can. Each
method's stand in its own module.
"""

from collections.abc import Mapping
from typing import TypeVar, assert_never

from ddcal_core.specs.methods.method import MethodSpec, Values

# No preset fills it in, and stored specs leave it out where it says nothing.
_OPTIONAL = {"published_for"}
SpecT = TypeVar("SpecT", bound=MethodSpec)


def preset_values(spec: MethodSpec, dataset: str) -> Values:
    """The fields that a spec's preset sets.

    Raises:
        ValueError: nothing was published for this data set and size; says for which it was.
    """
    size = spec.images_per_class
    if spec.published_for is not None and spec.preset != "published":
        raise ValueError(f"published_for: wanted it with preset published, got {spec.preset}")
    match spec.preset:
        case "smoke":
            return spec.smoke(dataset, size, version=spec.preset_version)
        case "published":
            rows, method = spec.published(), spec.model_dump()["method"]
            meant = spec.published_for or dataset
            if (meant, size) not in rows:
                raise ValueError(
                    "preset: wanted smoke, or for published a data set and images_per_class that "
                    f"{method} reports: {_listed(rows)}; got {meant} with {size}. published_for "
                    "says which of them a data set of another name is"
                )
            return rows[meant, size]
        case _:
            assert_never(spec.preset)


def _listed(rows: Mapping[tuple[str, int], Values]) -> str:
    sizes: dict[str, list[str]] = {}
    for dataset, size in rows:
        sizes.setdefault(dataset, []).append(str(size))
    return "; ".join(f"{dataset} {', '.join(own)}" for dataset, own in sizes.items()) or "none"


def resolved(spec: SpecT, dataset: str) -> SpecT:
    """A spec with its preset's numbers where the request gave none; then every field counts as set.

    Args:
        spec: as it came in; what was given is kept, nested objects as a whole.
        dataset: the name of the data set to distill.

    Raises:
        ValueError: the preset has nothing for this data set and size.
    """
    left = type(spec).model_fields.keys() - spec.model_fields_set - _OPTIONAL
    if not left:
        return spec
    values = preset_values(spec, dataset)
    filled = {name: value for name, value in values.items() if name in left}
    return type(spec).model_validate({**spec.model_dump(), **filled})
