"""Pictures for reports: spectrograms side by side, reconstructions with their code maps, loss curves."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from v2a.metrics.features import log_mel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 110


def spectrograms(rows: Sequence[tuple[str, np.ndarray]], rate_hz: int) -> bytes:
    """Log-mel spectrograms of sounds `(title, (samples,))` under each other on one scale, as PNG."""
    figure = _figure(9, 1.55 * len(rows) + 0.5)
    axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (title, sound) in zip(axes, rows, strict=True):
        mel = log_mel(sound, rate_hz)
        axis.imshow(
            mel, origin="lower", aspect="auto", cmap="magma", vmin=-9, vmax=3, extent=(0, len(sound) / rate_hz, 0, 80)
        )
        axis.set_title(title, fontsize=9, loc="left")
        axis.set_ylabel("mel band", fontsize=8)
        axis.tick_params(labelsize=8)
    axes[-1].set_xlabel("seconds", fontsize=8)
    return _png(figure)


def code_maps(frames: np.ndarray, rebuilt: np.ndarray, codes: np.ndarray) -> bytes:
    """Frames `(n, h, w, 3)`, grey `(n, h, w, 1)`, in 0..1, their reconstructions and codes `(n, h', w')`, as PNG."""
    frames, rebuilt = (np.broadcast_to(part, (*part.shape[:3], 3)) for part in (frames, rebuilt))
    figure = _figure(1.9 * len(frames), 3.9)
    axes = figure.subplots(3, len(frames), squeeze=False)
    colours = np.random.default_rng(3).random((int(codes.max()) + 1, 3))
    for column in range(len(frames)):
        for row, (title, image) in enumerate(
            (("frame", frames[column]), ("reconstruction", rebuilt[column]), ("codes", colours[codes[column]]))
        ):
            axes[row, column].imshow(np.clip(image, 0, 1), interpolation="nearest")
            axes[row, column].set_axis_off()
            if column == 0:
                axes[row, column].set_title(title, fontsize=9, loc="left")
    return _png(figure)


def curves(rows: Sequence[tuple[str, Sequence[float], Sequence[float]]]) -> bytes:
    """Curves `(title, steps, values)` beside each other, as PNG."""
    figure = _figure(3.4 * len(rows), 2.5)
    axes = figure.subplots(1, len(rows), squeeze=False)[0]
    for axis, (title, steps, values) in zip(axes, rows, strict=True):
        axis.plot(steps, values, linewidth=1.4, color="#0b6e8a")
        axis.set_title(title, fontsize=9, loc="left")
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)
    return _png(figure)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: "Figure") -> bytes:
    body = io.BytesIO()
    figure.savefig(body, dpi=_DPI, format="png")
    return body.getvalue()
