"""The page's longer captions: of networks on test images, and of one network's uploaded rows."""

from ddcal_core.formats.reports import Report, UnknownTrainingSet

_OF_IMAGES = {
    "table": (
        "How to read it: in the small drawings ● is the ECE after, ○ before calibration (T = 1), "
        "the whisker ± one standard deviation over networks, a ring the limit where no "
        'temperature is best. <span class="swatch chance"></span>Grey reaches up to the ECE that '
        "a perfectly calibrated network with the same confidences stays under in 95 % of tests of "
        "this size: a dot on the grey cannot be told from perfect. The chance level is that ECE's "
        "mean and, after the slash, its 95 % point. “On training set” means on the small set "
        "the network itself was trained on, for a random baseline its own images."
    ),
    "comparison": (
        "Calibrations are compared on the same networks and the same test images. An interval "
        "over test images says what other images of this kind would change; one over networks, "
        "what other seeds would: with three networks a difference has to be 2.5 times its "
        "deviation to show. Each winner was picked on these test images, which flatters it: take "
        "it for a hint, and choose on images of your own."
    ),
    "reliability": (
        "Test predictions of all networks of a training set are pooled and sorted into bins by "
        'confidence. <span class="swatch bar"></span>Bars show how often the bin was right; '
        '<span class="swatch over"></span>confidence that was not earned, '
        '<span class="swatch under"></span>accuracy beyond the confidence. On the dashed line the '
        "two agree. Whiskers: 95 % Wilson interval, each test image counted once. Below: how many "
        "predictions a bin holds; a tall gap over an empty bin means little."
    ),
}
_OF_ROWS = {
    "table": (
        "How to read it: in the small drawings ● is the ECE after, ○ before calibration (T = 1), "
        'a ring the limit where no temperature is best. <span class="swatch chance"></span>Grey '
        "reaches up to the ECE that a perfectly calibrated network with the same confidences "
        "stays under in 95 % of tests of this size: a dot on the grey cannot be told from "
        "perfect. The chance level is that ECE's mean and, after the slash, its 95 % point. “On "
        "fit rows” means fitted on logits_fit and labels_fit."
    ),
    "comparison": (
        "Calibrations are compared on the same rows. An interval says what other rows of this "
        "kind would change; there is one network, so nothing says what another would. The winner "
        "was picked on these rows, which flatters it: take it for a hint, and choose on rows of "
        "your own."
    ),
    "reliability": (
        "The network's predictions are sorted into bins by confidence. "
        '<span class="swatch bar"></span>Bars show how often the bin was right; '
        '<span class="swatch over"></span>confidence that was not earned, '
        '<span class="swatch under"></span>accuracy beyond the confidence. On the dashed line the '
        "two agree. Whiskers: 95 % Wilson interval. Below: how many rows a bin holds; a tall gap "
        "over an empty bin means little."
    ),
}


def is_of_rows(report: Report) -> bool:
    """Whether a report is on uploaded logits, of which only rows are known, not images."""
    return isinstance(report.training_sets[0], UnknownTrainingSet)


def caption(report: Report, name: str) -> str:
    """Give a paragraph of HTML.

    Args:
        report: whose page it is for.
        name: "table", "comparison" or "reliability".
    """
    words = (_OF_ROWS if is_of_rows(report) else _OF_IMAGES)[name]
    return f'<p class="caption">{words}</p>'
