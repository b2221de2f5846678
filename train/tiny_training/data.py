"""Rendered frames and sounds to train the tiny models on, made once and kept in a folder.

Nothing is degraded on purpose but by what codecs do; things and sounds that are held out never occur.
Seeds begin with `TRAIN`, which no benchmark uses.
"""

import argparse
import io
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageFilter

from tiny_training.words import HELD_OUT_THING, LABELS
from v2a_data.synthetic import SUBJECTS, WORLD_VERSION
from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.faults import NOTHING
from v2a_data.synthetic.music import music
from v2a_data.synthetic.paint import Canvas
from v2a_data.synthetic.scene import Scene
from v2a_data.synthetic.things import THINGS
from v2a_data.synthetic.tones import speech

TRAIN = 731001
RATE_HZ = 16000
WINDOW = 2 * RATE_HZ
# Frames are kept a little wider than the square that the model sees, so that it can be moved about.
SIDE, SPARE = 96, 6
FRAMES = 5
SECONDS = 4.0
_SCENES_PER_SONG = 6
SHOWN = ("", *(name for name in THINGS if name != HELD_OUT_THING))


def make_scene(seed: int, number: int, *, family: int = TRAIN, ood: bool = False) -> Scene:
    """Scene `number` of a family of seeds; labels take turns."""
    drawn = [Draw(np.random.default_rng([family, seed, number, k]), ood=ood) for k in (1, 2)]
    return Scene(SUBJECTS[LABELS[number % len(LABELS)]](drawn[0], SECONDS), drawn[1], SECONDS)


def frames_of(job: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Frames `(FRAMES, SIDE, SIDE + 2 * SPARE, 3)` of a scene, and of each its label and what is shown.

    Shown is −1 for the label itself, else an index of `SHOWN`.
    """
    seed, number = job
    rng = np.random.default_rng([TRAIN, seed, number, 3])
    scene = make_scene(seed, number)
    kind = -1 if rng.random() < 0.62 else int(rng.integers(len(SHOWN)))
    shown = None
    if kind >= 0:
        name = SHOWN[kind]
        thing = Draw(np.random.default_rng([TRAIN, seed, number, 4]))
        shown = THINGS[name](thing, SECONDS, scene.subject) if name else NOTHING
    high = int(rng.choice([144, 144, 180, 240, 360]))
    canvas = Canvas(round(high * 16 / 9 / 2) * 2, high)
    rows = []
    for time_s in (np.arange(FRAMES) + rng.random(FRAMES)) * SECONDS / FRAMES:
        scene.picture(canvas, float(time_s), shown=shown)
        rows.append(_as_decoded(canvas.pixels(), rng))
    return np.stack(rows), np.tile([number % len(LABELS), kind], (FRAMES, 1))


def _as_decoded(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A frame after a codec and the decode's scaling: blocks, softness, its middle at the model's size."""
    picture = Image.fromarray(pixels)
    if rng.random() < 0.25:
        picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.2)) * picture.height / 240))
    if rng.random() < 0.75:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.integers(12, 92)))
        picture = Image.open(buffer)
    filters = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX)
    wide = round(picture.width * SIDE / picture.height)
    picture = picture.convert("RGB").resize((wide, SIDE), filters[int(rng.integers(3))])
    left = (wide - SIDE) // 2 - SPARE
    return np.asarray(picture)[:, left : left + SIDE + 2 * SPARE]


@lru_cache(maxsize=4)
def _song(seed: int, number: int) -> np.ndarray:
    return music(np.random.default_rng([TRAIN, seed, number, 6]), 2 * WINDOW, RATE_HZ)


def sounds_of(job: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Windows `(2, WINDOW)` float16 of a scene's subject, of its surroundings, of music and of speech."""
    seed, number = job
    rng = np.random.default_rng([TRAIN, seed, number, 5])
    scene = make_scene(seed, number)
    pieces = (scene.subject_sound(RATE_HZ), scene.background_sound(RATE_HZ))
    # The same music for some scenes: it takes longer to make than all else.
    bed = _song(seed, number // _SCENES_PER_SONG)
    # Other voices: the same few utterances, faster or slower.
    words = speech(rng, 4 * WINDOW, RATE_HZ)
    first, pace = float(rng.uniform(0, WINDOW)), float(rng.uniform(0.82, 1.22))
    talk = np.interp(first + pace * np.arange(2 * WINDOW), np.arange(len(words)), words)
    return tuple(x[: 2 * WINDOW].reshape(2, WINDOW).astype(np.float16) for x in (*pieces, bed, talk))


def make(kind: Literal["frames", "sounds"], data: Path, scenes: int | None, seed: int, workers: int) -> Path:
    """Render what one training needs, unless it is there; returns its folder, `<name>.npy` per part."""
    names, work, usual = _KINDS[kind]
    folder = data / f"{kind}-world{WORLD_VERSION}-seed{seed}-{scenes or usual}"
    if all((folder / f"{name}.npy").is_file() for name in names):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(seed, number) for number in range(scenes or usual)]
    begun, parts = time.monotonic(), []
    with ProcessPoolExecutor(workers) as pool:
        for done, part in enumerate(pool.map(work, jobs, chunksize=20), 1):
            parts.append(part)
            if done % 200 == 0:
                left_s = (time.monotonic() - begun) / done * (len(jobs) - done)
                print(f"{done}/{len(jobs)} scenes, {left_s:.0f} s left", flush=True)
    for name, column in zip(names, zip(*parts, strict=True), strict=True):
        values = np.concatenate(column)
        np.save(folder / f"{name}.npy", values)
        print(f"{name}.npy {values.shape} {values.dtype}")
    return folder


def parser(words: str | None) -> argparse.ArgumentParser:
    """What both trainings are asked on the command line."""
    made = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", type=Path, default=Path("tiny-data"), help="where what is rendered is kept")
    made.add_argument("--scenes", type=int, help="how many to render; the packaged model's number without it")
    made.add_argument("--workers", type=int, default=2, help="processes that render")
    made.add_argument("--out", type=Path, default=Path("v2a_data/models/tiny"))
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--threads", type=int, default=1)
    return made


# Parts, who makes them for a scene, and how many scenes the packaged models were trained on.
_KINDS: dict[str, tuple[tuple[str, ...], Callable[[tuple[int, int]], tuple[np.ndarray, ...]], int]] = {
    "frames": (("frames", "shown"), frames_of, 3600),
    "sounds": (("subject", "around", "music", "speech"), sounds_of, 2200),
}
