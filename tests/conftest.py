"""What holds for every test."""

import os

from hypothesis import HealthCheck, settings

# Most of a cold run is LLVM optimising kernels that then play for milliseconds; at this level it takes half the time.
os.environ.setdefault("NUMBA_OPT", "1")

# There is a worker for each core; threads of their own would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is slow at drawing examples, which says nothing of them.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
