"""What a training is judged by while it runs, on clips of the validation split; and how it stands."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from v2a.training.journal import Journal


@dataclass(frozen=True)
class Validation:
    """`run(step, folder, journal)` judges the module as it is and gives figures; pictures and sounds go to `folder`.

    The best is chosen by the first of `by` that could be measured, higher is better. Never by a mean squared error of
    waveforms, which ranks silence above real sound.
    """

    run: Callable[[int, Path, Journal | None], dict[str, float]]
    by: tuple[str, ...]

    def decisive(self, figures: dict[str, float]) -> float | None:
        """The figure that decides, null where none of them could be measured."""
        return next((figures[name] for name in self.by if name in figures), None)


@dataclass(frozen=True)
class Standing:
    """The best validation so far, and how many in a row were no better."""

    step: int = 0
    value: float | None = None
    without_better: int = 0
    figures: dict[str, float] = field(default_factory=dict)

    def after(self, step: int, value: float | None, figures: dict[str, float]) -> "Standing":
        """After one more validation; one that could not be measured is no better."""
        if value is not None and (self.value is None or value > self.value):
            return Standing(step, value, 0, figures)
        return Standing(self.step, self.value, self.without_better + 1, self.figures)

    def to_table(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)
