"""Files of distilled sets as others write them, made by what they use."""

import zipfile

import numpy as np
import torch

from ddcal_core.specs.facts import DatasetFacts

FACTS = DatasetFacts(
    image_shape=(1, 8, 8),
    class_names=("a", "b", "c"),
    train_class_counts=(20, 20, 20),
    test_class_counts=(5, 5, 5),
    mean=(0.25,),
    std=(0.5,),
)


def synthetic(ipc, seed=0, *, facts=FACTS):
    """Images as gradient matching leaves them, in normalised space, class after class; labels."""
    generator = torch.Generator().manual_seed(seed)
    n_images = ipc * facts.n_classes
    images = torch.randn(n_images, *facts.image_shape, generator=generator)
    return images, torch.arange(facts.n_classes).repeat_interleave(ipc)


def dc_file(path, ipc=1, n_experiments=2, *, facts=FACTS, **how):
    """What main.py of DC, DSA and DM saves after each experiment; the sets in it."""
    data = [list(synthetic(ipc, seed, facts=facts)) for seed in range(n_experiments)]
    accuracies = {"ConvNet": [np.float64(0.5), np.float64(0.75)]}
    torch.save({"data": data, "accs_all_exps": accuracies}, path, **how)
    return data


def pair_file(path, images, labels, *, names=("images_best.pt", "labels_best.pt")):
    """MTT's two files, in a zip as people make one."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, tensor in zip(names, (images, labels), strict=True):
            with archive.open(name, "w") as member:
                torch.save(tensor, member)
