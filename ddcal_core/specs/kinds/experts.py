"""`experts`: networks trained on real images, for method mtt."""

from pydantic import Field

from ddcal_core.specs.experts import ExpertSpec
from ddcal_core.specs.kinds.data import DataParams


class ExpertsParams(DataParams):
    """The params of an `experts` job."""

    experts: ExpertSpec = Field(ExpertSpec(), description="How the experts are trained.")
