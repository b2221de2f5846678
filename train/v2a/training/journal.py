"""What a training writes down as it goes: `metrics.jsonl`, and the trackers that the recipe names."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from v2a_data.errors import MissingToolError
from v2a_data.files import write_text

FILE = "metrics.jsonl"
_PROJECT = "v2a"


class Tracker(Protocol):
    """Gets every row beside the file."""

    def figures(self, step: int, values: Mapping[str, float]) -> None: ...

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """`image` (h, w, 3) uint8."""
        ...

    def sound(self, step: int, name: str, samples: np.ndarray, rate_hz: int) -> None:
        """`samples` (n,) float32 in −1..1."""
        ...

    def close(self) -> None: ...


class Journal:
    """Rows of figures, in order of steps. Use as a context manager."""

    def __init__(self, folder: Path, step: int, trackers: Sequence[Tracker]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._trackers = folder / FILE, trackers
        cut(self._path, step)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        for tracker in self._trackers:
            tracker.close()

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        """One row; the file holds six decimals."""
        row = {"step": step, **{key: round(value, 6) for key, value in values.items()}}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        for tracker in self._trackers:
            tracker.figures(step, values)

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """A picture `(h, w, 3)` uint8 for the trackers."""
        for tracker in self._trackers:
            tracker.picture(step, name, image)

    def sound(self, step: int, name: str, samples: np.ndarray, rate_hz: int) -> None:
        """A sound `(n,)` for the trackers."""
        for tracker in self._trackers:
            tracker.sound(step, name, samples, rate_hz)


def cut(path: Path, step: int) -> None:
    """Take out what a killed run logged after its checkpoint: those steps are done again."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        write_text(path, "".join(line for line in whole if json.loads(line)["step"] <= step))


def open_trackers(names: Sequence[str], folder: Path, run: str, step: int, about: dict[str, Any]) -> list[Tracker]:
    """The trackers of a run that goes on from `step`. Raises `MissingToolError` for a package that is not there."""
    return [TensorBoard(folder / name, step) if name == "tensorboard" else Hosted(name, run, about) for name in names]


class TensorBoard:
    """Event files in a folder; what came after `step` in an earlier run is hidden."""

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder), purge_step=step + 1)  # type: ignore[no-untyped-call]

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        self._writer.add_image(name, image, step, dataformats="HWC")

    def sound(self, step: int, name: str, samples: np.ndarray, rate_hz: int) -> None:
        self._writer.add_audio(name, samples[None], step, rate_hz)

    def close(self) -> None:
        self._writer.close()


class Hosted:
    """trackio or Weights & Biases, which share their interface; keys and places are set up with their own tools."""

    def __init__(self, name: str, run: str, about: dict[str, Any]) -> None:
        import importlib

        try:
            self._module: Any = importlib.import_module(name)
        except ImportError:
            raise MissingToolError(
                f"the tracker {name} is not installed", hint=f"pip install 'v2a-data[{name}]'"
            ) from None
        # trackio knows a run again by its name, wandb by its id.
        same = {"id": run} if name == "wandb" else {}
        self._module.init(project=_PROJECT, name=run, config=about, resume="allow", **same)

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        self._module.log(dict(values), step=step)

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        self._module.log({name: self._module.Image(image)}, step=step)

    def sound(self, step: int, name: str, samples: np.ndarray, rate_hz: int) -> None:
        from v2a.generate import to_pcm

        self._module.log({name: self._module.Audio(to_pcm(samples), sample_rate=rate_hz)}, step=step)

    def close(self) -> None:
        self._module.finish()
