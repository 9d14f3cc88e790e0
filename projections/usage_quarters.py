"""Usage by quarter of an hour: the base that longer stretches are sums of."""

from projections.usage import QUARTER, bucket_projection

PROJECTION = bucket_projection("usage_quarters", QUARTER)
