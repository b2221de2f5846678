"""The window grid of a video."""

import numpy as np

from v2a_data.schema import WINDOW_S

# A picture that ends this little early still fills its last window.
_TOLERANCE_S = 0.04


def window_starts(
    duration_s: float, wanted_start_s: float | None = None, wanted_stop_s: float | None = None
) -> np.ndarray:
    """Starts of the 2 s windows `(n,)`: from 0, or from the source's own segment start; no partial tail."""
    start_s = wanted_start_s or 0.0
    stop_s = min(duration_s, wanted_stop_s) if wanted_stop_s is not None else duration_s
    count = int(max(0.0, stop_s - start_s + _TOLERANCE_S) // WINDOW_S)
    return start_s + np.arange(count) * WINDOW_S
