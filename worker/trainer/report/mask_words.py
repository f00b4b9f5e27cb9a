"""A mask: in a label, and where masks have to be told apart."""

from ddcal_core.specs.masks import MaskShape, MaskSpec


def mask_words(mask: MaskSpec) -> str:
    """Name a mask: its ratio, and what of it is not the default."""
    size = mask.patch_size
    in_patches = f" in {size} × {size} patches" if size else ""
    # Not rounded: two ratios of one report are to be told apart.
    ratio = f"{100 * mask.ratio:g}\u202f%"
    return ", ".join([ratio + in_patches, *_mask_options(mask)])


def shape_words(shape: MaskShape) -> str:
    """Name what a mask masks as one, and what of it is not the default."""
    size = shape.patch_size
    unit = f"patches of {size} × {size}" if size else "single pixels"
    return ", ".join([unit, *_mask_options(shape)])


def _mask_options(shape: MaskShape) -> list[str]:
    options = (
        (shape.channels == "independent", "channels apart"),
        (shape.scope == "shared", "one mask for all"),
        (shape.fill == "noise", "noise for pixels"),
    )
    return [word for is_chosen, word in options if is_chosen]
