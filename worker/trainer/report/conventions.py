"""What each number of a report is, word for word as report.json and its page say it."""

CONVENTIONS = {
    "n_test": "Test images behind every number; no other part of this service reads them.",
    "accuracy": "Share of test images whose largest logit is the label's.",
    "nll": "Mean negative log-likelihood in nats, from logits in float64.",
    "brier": "Mean over images of the sum over classes of (p − [class = label])², 0 to 2.",
    "ece": (
        "Expected calibration error: the sum over bins of n/N × |accuracy − mean confidence|. "
        "Equal-width bins (a, b] on [0, 1], 0 in the first; empty bins count 0."
    ),
    "signed_gap": "Mean confidence − accuracy; above 0 over-confident, below 0 under-confident.",
    "null": (
        "The ECE that a perfectly calibrated model with the same confidences shows "
        "on so many images, mean and 95 % point over 200 draws of its labels."
    ),
    "temperature": (
        "Probabilities are softmax(logits / T). T minimises the NLL on the images fitted on, "
        "solved exactly unless L-BFGS is named. TS: on the images as they are; MTS: each pixel set "
        "to 0 (the mean colour; whitened, the mean image) with the given chance. On test nothing "
        "is masked. Vector scaling: "
        "a weight and a bias per class, pulled towards 1/T and 0 as by a label each. Isotonic "
        "regression: a rising function a class of the softmax probability, rows made to sum to 1. "
        "ETS: softmax(logits / T), softmax(logits) and 1/K mixed, T that of TS, weights of least "
        "NLL."
    ),
    "fit_on": (
        "validation: real images cut from the training split, or the data set's own validation "
        "split, never distilled from or trained on; "
        "training set: the small set the network itself was trained on (for a random baseline its "
        "own random images)."
    ),
    "found": (
        "Ratio left open. Fitted on validation: the mask of least NLL there, in single pixels or "
        "patches. On the training set no image is masked: T is a factor times the T at which the "
        "network is as unsure midway between two images of different classes as it should be, or, "
        "of two classes, times the root mean square of its logits about their row's mean. T "
        "carried with the set: the factor was measured with one network and the labels of the "
        "validation images when the set was made. T from the set alone: the factor comes from "
        "networks trained on parts of the set, no real label at all."
    ),
    "mean_std": "Mean and sample standard deviation (n − 1) over networks; none for one network.",
    "verdict": (
        "within chance: mean ECE at most the mean 95 % point of the chance level; otherwise "
        "over- or under-confident if the signed gap explains more than half of the ECE, else off "
        "both ways."
    ),
    "ece_interval": (
        "With each network's ECE: a 95 % interval for its ECE on all images of this kind, basic "
        "bootstrap of 400 draws, down to 0 where chance explains the ECE; none at a limit. "
        "(Percentile bootstraps leave 0 out even for a calibrated network.)"
    ),
    "further": (
        "Root mean square and maximum: of the ECE's own bins, the second the bin that is off most "
        "(one prediction can set it). Adaptive: the ECE on bins of equal mass, equal confidences "
        "kept together. Classwise: the mean over all classes of the ECE of that class's "
        "probability. Debiased: l2 on bins of equal mass, less what finitely many labels add to "
        "it. Smooth: SmoothECE, kernel instead of bins. AURC: mean error rate among the most "
        "confident predictions, over all shares of them; low is good, and no calibration that "
        "keeps their order moves it. No limit T → 0 or ∞ is given any."
    ),
    "wilson": (
        "Each bin's share of right predictions has a 95 % Wilson score interval: of one network's "
        "counts in report.json, in the diagrams with each test image counted once."
    ),
    "difference": (
        "A calibration's ECE is compared on the same networks and test images. Over networks: 95 % "
        "interval by Student's t (three networks: ± 2.5 deviations of their differences). Over "
        "test images: basic bootstrap, 500 resamples, mean over networks. More than noise: every "
        "interval leaves 0 out. The lowest was picked on these very images, which flatters it."
    ),
    "failures": (
        "On test: over-calibration, under-confident after it; under-calibration, "
        "over-confident, both as the verdict has it. When fitted: accuracy lost, if the masked "
        "images keep less than half of the accuracy beyond guessing 1/K; nearly uniform and nearly "
        "certain, if T is above 10 times or below a fiftieth of the logits' spread (mean of "
        "largest minus row mean)."
    ),
    "effective_rank": (
        "Exp of the entropy (natural logarithm) of the squared singular values divided by their "
        "sum, of the matrix with one flattened image a row, in network-input space, as it is and "
        "about the mean image. report.json has that of the values themselves, too "
        "(effective_rank_of_values), which is the definition of Roy and Vetterli (EUSIPCO 2007); "
        "it is the larger one. Neither is divided by the largest it could be, min(N, D)."
    ),
    "ranking": (
        "DD-Ranking (arXiv 2505.13300), as fractions of accuracy. HLR, hard label recovery: "
        "networks on the full data less networks on the set, both on hard labels. IOR, "
        "improvement over random: networks on the set less networks on as many random real "
        "images. Only networks trained alike, but for epochs and learning rate."
    ),
    "predictions": (
        "predictions.csv.gz beside this page (gunzip, or as it is into pandas): every network, "
        "calibration and test image, with confidence, prediction, label and whether it is right. "
        "Text that a spreadsheet could take for a formula starts with an apostrophe."
    ),
    "logits": (
        "test_logits.safetensors beside this page: of the first network of each training set, 8 "
        "at most, the logits as trained (logits.0, ...; float32), with labels and the places of "
        "the images among all test images (int32); 1,000,000 logits of a network at most, of "
        "images spread evenly. Of the most confident mistakes, 96 at most, the pixels (uint8)."
    ),
    "units": "Fractions in report.json; percent on its page.",
}
