"""What holds for every test."""

import os

from hypothesis import HealthCheck, settings

# Most of a cold run is LLVM optimising kernels that then play for milliseconds; at this level it takes half the time.
os.environ.setdefault("NUMBA_OPT", "1")

# A busy machine is slow at drawing examples, which says nothing of them.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
