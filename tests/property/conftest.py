"""The profile of the laws: the same draws on every run, so that a failure here fails anywhere."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

EXAMPLES_MAX = 80  # all laws together stay well below a minute on two busy cores

settings.register_profile(
    "laws",
    max_examples=EXAMPLES_MAX,
    derandomize=True,
    database=None,
    deadline=None,  # a busy machine is no fault of the code
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("laws")
