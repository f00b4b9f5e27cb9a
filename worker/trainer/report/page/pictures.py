"""The distilled images as PNG strips for the report's page."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from markupsafe import Markup

from ddcal_core.data.input_space import to_pixels
from ddcal_core.formats.pictures import PREVIEW, strip_png
from worker.trainer.inputs import SetInput
from worker.trainer.loading import load_distilled_set, space_of_set
from worker.trainer.report.page.templates import render
from worker.trainer.report.training_sets import TrainingSet


@dataclass(frozen=True)
class ClassStrip:
    """A class's images side by side.

    Attributes:
        class_name: as the user wrote it.
        n_shown: images in the strip.
        n_images: images the set has of the class.
        data_url: the PNG.
        width: of the PNG, in pixels.
        height: likewise.
    """

    class_name: str
    n_shown: int
    n_images: int
    data_url: str
    width: int
    height: int


@dataclass(frozen=True)
class SetPicture:
    """A distilled set to look at.

    Attributes:
        label: of the training set.
        strips: one a class, at most 100.
        n_classes: classes the set has.
    """

    label: str
    strips: tuple[ClassStrip, ...]
    n_classes: int


def set_pictures(groups: Sequence[TrainingSet]) -> list[SetPicture]:
    """Draw each distilled set once, whatever was trained on it, as pixels clipped for looking."""
    firsts: dict[str, tuple[str, SetInput]] = {}
    for group in groups:
        if group.distilled is not None:
            firsts.setdefault(group.distilled.id, (group.label, group.distilled))
    return [_set_picture(label, distilled) for label, distilled in firsts.values()]


def _set_picture(label: str, distilled: SetInput) -> SetPicture:
    examples = load_distilled_set(distilled, torch.device("cpu"))
    space = space_of_set(distilled)
    facts, pixels = space.facts, to_pixels(examples.images[:], space)
    strips = [
        _strip(facts.class_names[k], pixels[examples.labels == k])
        for k in range(min(facts.n_classes, PREVIEW.n_classes))
        # Soft labels may give no image most to a class.
        if bool((examples.labels == k).any())
    ]
    return SetPicture(label, tuple(strips), facts.n_classes)


def _strip(class_name: str, pixels: torch.Tensor) -> ClassStrip:
    shown = pixels[: PREVIEW.n_per_class]
    data = base64.b64encode(strip_png(shown.numpy())).decode()
    height, width = shown.shape[2:]
    return ClassStrip(
        class_name=class_name,
        n_shown=len(shown),
        n_images=len(pixels),
        data_url=f"data:image/png;base64,{data}",
        width=len(shown) * (width + 1) - 1,  # a grey column between two images
        height=height,
    )


def picture_section(pictures: Sequence[SetPicture]) -> Markup:
    """Show every class of each distilled set; nothing where there is none."""
    if not pictures:
        return Markup()
    return render("images.html", pictures=[_shown(picture) for picture in pictures])


def _shown(picture: SetPicture) -> Mapping[str, object]:
    n_left = picture.n_classes - len(picture.strips)
    n_most = max(strip.n_images for strip in picture.strips)
    n_shown = max(strip.n_shown for strip in picture.strips)
    notes = [
        f"{n_left} more classes are not shown." if n_left else "",
        f"The first {n_shown} of {n_most} images per class." if n_shown < n_most else "",
    ]
    return {
        "label": picture.label,
        "strips": [_enlarged(strip) for strip in picture.strips],
        "notes": " ".join(filter(None, notes)),
    }


def _enlarged(strip: ClassStrip) -> Mapping[str, object]:
    scale = max(1, round(48 / strip.height))
    return {
        "name": strip.class_name,
        "url": strip.data_url,
        "alt": f"{strip.n_shown} distilled images of class {strip.class_name}",
        "width": strip.width * scale,
        "height": strip.height * scale,
    }
