"""What holds for every test."""

import os

# Most of a cold run is LLVM optimising kernels that then play for milliseconds; at this level it takes half the time.
os.environ.setdefault("NUMBA_OPT", "1")
