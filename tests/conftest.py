"""Settings that make every test run alike: one thread, no network, pinned examples."""

from __future__ import annotations

import os

# Before torch is first imported. One thread: reductions over several threads sum in another order.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# No test may reach a hub; a missing file must fail at once and not after a time-out.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

from hypothesis import HealthCheck, settings  # noqa: E402

# `pinned` draws the same examples every time, so a failure is never a matter of luck. To look for
# new ones: HYPOTHESIS_PROFILE=explore make test
settings.register_profile(
    "pinned",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("explore", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "pinned"))
