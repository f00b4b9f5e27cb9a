"""One regulariser of each kind, strong enough to be seen on 8 x 8 pixels."""

from ddcal_core.specs.regularisers import Cutmix, Cutout, InputDropout, Mixup

REGULARISERS = (
    Mixup(name="mixup", alpha=1.0),
    Cutmix(name="cutmix", alpha=1.0),
    Cutout(name="cutout", side=0.4),
    InputDropout(name="input_dropout", rate=0.3),
)
