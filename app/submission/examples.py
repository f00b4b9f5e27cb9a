"""Submissions to copy, which the OpenAPI document shows and the tests submit."""

from typing import Any

EXAMPLES: dict[str, dict[str, Any]] = {
    "pipeline": {
        "summary": "Everything at once: about two minutes on two cores",
        "value": {
            "kind": "pipeline",
            "params": {
                "dataset": "digits",
                "seed": 0,
                "distill": {
                    "method": "dm",
                    "images_per_class": 10,
                    "mask": {"ratio": 0.3},
                },
                "train": {
                    "network": "convnet",
                    "width": 32,
                    "depth": 2,
                    "n_seeds": 3,
                    "epochs": 300,
                },
                "baselines": [{"source": "random"}, {"source": "full", "epochs": 30}],
                "calibrate": [
                    {"method": "none"},
                    {"method": "ts", "fit_on": "validation"},
                    {"method": "ts", "fit_on": "training_set"},
                    {"method": "mts", "fit_on": "training_set", "mask": {"ratio": 0.7}},
                ],
                "evaluate": {"n_bins": 15},
            },
            "timeout_seconds": 3600,
        },
    },
    "losses": {
        "summary": "Losses said to calibrate, each before and after the same temperature scaling",
        "value": {
            "kind": "pipeline",
            "params": {
                "dataset": "digits",
                "distill": {"method": "dm", "images_per_class": 10},
                "train": {"depth": 2},
                "train_losses": [
                    {"name": "label_smoothing", "smoothing": 0.05},
                    {"name": "focal", "gamma": 3.0},
                    {"name": "flsd_53"},
                    {"name": "mixup", "alpha": 0.2},
                ],
                "calibrate": [{"method": "none"}, {"method": "ts", "fit_on": "validation"}],
            },
        },
    },
    "calibrations": {
        "summary": "Exact temperature scaling beside the literature's optimiser, vector scaling, "
        "isotonic regression, an ensemble, and a temperature found without any real image",
        "value": {
            "kind": "pipeline",
            "params": {
                "dataset": "digits",
                "distill": {"method": "dm", "images_per_class": 10},
                "train": {"depth": 2},
                "calibrate": [
                    {"method": "none"},
                    {"method": "ts"},
                    {"method": "ts", "optimiser": "lbfgs_50"},
                    {"method": "vector"},
                    {"method": "isotonic"},
                    {"method": "ets"},
                    {"method": "mts", "mask": {"ratio": "auto"}},
                ],
            },
        },
    },
    "networks": {
        "summary": "Does a set distilled on a ConvNet teach others? Beside coresets and a teacher",
        "value": {
            "kind": "pipeline",
            "params": {
                "dataset": "digits",
                "distill": {"method": "dm", "images_per_class": 10},
                "train": {"depth": 2, "n_seeds": 2, "epochs": 100},
                "train_networks": [
                    {"network": "alexnet"},
                    {"network": "vit", "width": 64, "depth": 3},
                    {"network": "resnet18", "norm": "batch"},
                ],
                "baselines": [
                    {"source": "random"},
                    {"source": "taught", "teacher": {"epochs": 10}},
                    {"source": "herding", "features": {"name": "convnet", "depth": 2}},
                ],
                "calibrate": [{"method": "none"}, {"method": "ts", "fit_on": "validation"}],
            },
        },
    },
    "whitened": {
        "summary": "Three classes with a long tail, whitened by ZCA in every row",
        "value": {
            "kind": "pipeline",
            "params": {
                "dataset": "digits",
                "classes": ["8", 3, "1"],
                "imbalance": {"factor": 0.1},
                "input_space": {"name": "zca", "eps": 0.1},
                "distill": {"method": "dm", "images_per_class": 5},
                "train": {"depth": 2},
                "calibrate": [{"method": "none"}, {"method": "ts", "fit_on": "validation"}],
            },
        },
    },
    "distill": {
        "summary": "A distilled set of ten images per class",
        "value": {
            "kind": "distill",
            "params": {
                "dataset": "digits",
                "distill": {
                    "method": "dm",
                    "images_per_class": 10,
                    "mask": {"ratio": 0.3},
                    "iterations": 200,
                },
            },
        },
    },
    "regularisers": {
        "summary": "A set distilled under cutmix in the place of a mask, networks trained under "
        "cutout",
        "value": {
            "kind": "pipeline",
            "params": {
                "dataset": "digits",
                "distill": {
                    "method": "dm",
                    "images_per_class": 10,
                    "regulariser": {"name": "cutmix", "alpha": 1.0},
                },
                "train": {"depth": 2, "regulariser": {"name": "cutout", "side": 0.5}},
                "calibrate": [{"method": "none"}, {"method": "ts"}],
            },
        },
    },
    "vit-adamw": {
        "summary": "A vision transformer trained by AdamW with warm-up, on real images",
        "value": {
            "kind": "train",
            "params": {
                "dataset": "digits",
                "training_set": {"source": "full"},
                "train": {
                    "network": "vit",
                    "width": 64,
                    "optimiser": {"name": "adamw", "warm_up": 0.1},
                    "n_seeds": 1,
                    "epochs": 30,
                },
            },
        },
    },
    "information-drop": {
        "summary": "How much accuracy is lost without a third of the pixels: distilled beside real",
        "value": {
            "kind": "pipeline",
            "params": {
                "dataset": "digits",
                "distill": {"method": "dm", "images_per_class": 10},
                "train": {"depth": 2, "drop": {"what": "pixels", "share": 0.3}},
                "baselines": [{"source": "random"}, {"source": "full", "epochs": 30}],
                "calibrate": [{"method": "none"}, {"method": "ts"}],
            },
        },
    },
    "distill-dc": {
        "summary": "Gradients matched: one image per class, masked",
        "value": {
            "kind": "distill",
            "params": {
                "dataset": "digits",
                "distill": {"method": "dc", "images_per_class": 1, "mask": {"ratio": 0.3}},
            },
        },
    },
    "distill-dsa": {
        "summary": "Gradients matched under Siamese augmentation",
        "value": {
            "kind": "distill",
            "params": {
                "dataset": "digits",
                "distill": {"method": "dsa", "images_per_class": 1, "mask": {"ratio": 0.3}},
            },
        },
    },
    "distill-rtp": {
        "summary": "A set put together from bases that all classes share",
        "value": {
            "kind": "distill",
            "params": {
                "dataset": "digits",
                "distill": {"method": "rtp", "images_per_class": 1, "mask": {"ratio": 0.3}},
            },
        },
    },
    "study-mask-ratio": {
        "summary": "A study: does a set distilled under a mask teach better calibrated networks?",
        "value": {
            "kind": "study",
            "params": {
                "base": {
                    "dataset": "digits",
                    "distill": {"method": "dm", "images_per_class": 1},
                    "train": {"n_seeds": 2},
                },
                "vary": {"distill.mask.ratio": [0, 0.1, 0.3], "seed": [0, 1, 2]},
            },
        },
    },
    "experts": {
        "summary": "Four experts, whose trajectories method mtt imitates",
        "value": {
            "kind": "experts",
            "params": {"dataset": "digits", "experts": {"n_experts": 4, "depth": 2}},
        },
    },
    "pipeline-mtt": {
        "summary": "Trajectories matched: the pipeline records its own experts first",
        "value": {
            "kind": "pipeline",
            "params": {
                "dataset": "digits",
                "distill": {"method": "mtt", "images_per_class": 1, "iterations": 50, "depth": 2},
                "train": {"depth": 2, "n_seeds": 2},
                "calibrate": [{"method": "none"}, {"method": "ts"}],
            },
        },
    },
    "train-random": {
        "summary": "Two networks on as many random real images (the coreset row)",
        "value": {
            "kind": "train",
            "params": {
                "dataset": "digits",
                "training_set": {"source": "random", "images_per_class": 10},
                "train": {"depth": 2, "n_seeds": 2},
            },
        },
    },
    "train-full": {
        "summary": "One network on 500 of the real images",
        "value": {
            "kind": "train",
            "params": {
                "dataset": "digits",
                "training_set": {"source": "full", "n_images": 500},
                "train": {"depth": 2, "n_seeds": 1, "epochs": 30},
            },
            "priority": 1,
        },
    },
}
"""Submissions that work as they stand, for the OpenAPI document."""

EXAMPLES_ON_UPLOADS: dict[str, dict[str, Any]] = {
    "calibrate-logits": {
        "summary": "Calibrate a network made elsewhere, its logits uploaded as my-network (see "
        "POST /v1/logits)",
        "value": {
            "kind": "calibrate",
            "params": {
                "logits": "my-network",
                "calibrate": [{"method": "none"}, {"method": "ts"}],
                "evaluate": {"n_bins": 15},
            },
        },
    },
}
"""Those that work once what they name has been uploaded, as the upload's own sample does."""
