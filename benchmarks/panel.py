"""A picture of the synthetic world: every label, what is shown instead of them, and every planted fault.

    python benchmarks/panel.py panel.jpg [--labels Dog,Drum] [--seed 0]

Stills over time, a spectrogram (0 to 8 kHz) of the same seconds under them; ticks mark the truth's events.
Faults are shown on the labels in turn. All of it is synthetic.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from v2a.metrics.features import log_mel

from v2a_data.synthetic import SUBJECTS, WORLD_VERSION
from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.faults import BY_NAME, plan_fault
from v2a_data.synthetic.paint import Canvas
from v2a_data.synthetic.plan import plan_video
from v2a_data.synthetic.render import Staged, channels, pictures
from v2a_data.synthetic.scene import Scene
from v2a_data.synthetic.things import THINGS

RATE_HZ = 16000
SECONDS = 6.0
STILLS = 3
COLUMNS = 3
WIDTH, HEIGHT = 256, 144
BAND, HEAD, GAP = 72, 26, 14
GROUND, INK, FAINT, MARK = (22, 24, 30), (236, 238, 242), (132, 138, 150), (255, 196, 84)
# From silent to loud: night, violet, red, amber, white.
SCALE = np.asarray([(14, 14, 24), (58, 28, 92), (150, 44, 92), (226, 92, 60), (252, 180, 74), (254, 244, 214)])


def make(label: str, seed: int) -> Scene:
    """A scene of the panel."""
    number = list(SUBJECTS).index(label)
    subject = SUBJECTS[label](Draw(np.random.default_rng([seed, number, 11])), SECONDS)
    return Scene(subject, Draw(np.random.default_rng([seed, number, 12])), SECONDS)


def still(scene: Scene, time_s: float, thing: str | None = None) -> Image.Image:
    """One frame, with a stand-in shown where a thing is named."""
    canvas = Canvas(WIDTH, HEIGHT)
    shown = THINGS[thing](Draw(np.random.default_rng([7, len(thing)])), SECONDS, scene.subject) if thing else None
    scene.picture(canvas, time_s, shown)
    return Image.fromarray(canvas.pixels())


def spectrogram(sound: np.ndarray, width: int, height: int) -> Image.Image:
    """Log-mel spectrogram in colour, low frequencies below."""
    mel = log_mel(sound, RATE_HZ)[::-1]
    low, high = np.quantile(mel, 0.1), mel.max()
    level = np.clip((mel - low) / max(high - low, 1e-6), 0, 1) * (len(SCALE) - 1)
    floor = np.minimum(level.astype(int), len(SCALE) - 2)
    part = (level - floor)[..., None]
    colours = SCALE[floor] * (1 - part) + SCALE[floor + 1] * part
    return Image.fromarray(colours.astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)


def row(label: str, seed: int) -> Image.Image:
    """Name, stills and spectrogram of one label."""
    wide = STILLS * WIDTH
    tile = Image.new("RGB", (wide, HEAD + HEIGHT + BAND + 8), GROUND)
    pen = ImageDraw.Draw(tile)
    scene = make(label, seed)
    events = scene.subject.events_s
    pen.text((2, 3), label, fill=INK, font=ImageFont.load_default(16))
    note = f"{len(events)} events in {SECONDS:g} s"
    pen.text((wide - 2, 6), note, fill=FAINT, font=ImageFont.load_default(12), anchor="ra")
    times = still_times(events)
    for place, time_s in enumerate(times):
        tile.paste(still(scene, time_s), (place * WIDTH, HEAD))
    tile.paste(spectrogram(scene.sound(RATE_HZ), wide, BAND), (0, HEAD + HEIGHT + 2))
    for event_s in events:
        x = round(event_s / SECONDS * wide)
        pen.line([x, HEAD + HEIGHT + BAND + 3, x, HEAD + HEIGHT + BAND + 7], fill=MARK, width=2)
    for time_s in times:
        x, y = round(time_s / SECONDS * wide), HEAD + HEIGHT + 2
        pen.polygon([(x - 4, y), (x + 4, y), (x, y + 6)], fill=INK)
    return tile


def still_times(events_s: np.ndarray) -> list[float]:
    """When the stills are taken: in each third of the time, a little after an event where there is one."""
    found = []
    for place in range(STILLS):
        start, stop = place * SECONDS / STILLS, (place + 1) * SECONDS / STILLS
        inside = events_s[(events_s >= start) & (events_s < stop - 0.3)]
        found.append(float(inside[len(inside) // 2]) + (0.12, 0.2, 0.3)[place] if len(inside) else (start + stop) / 2)
    return found


def stand_ins(labels: list[str], seed: int) -> Image.Image:
    """What uploads show instead, one for each of several labels."""
    tile = Image.new("RGB", (len(THINGS) * WIDTH, HEAD + HEIGHT), GROUND)
    pen = ImageDraw.Draw(tile)
    for place, name in enumerate(THINGS):
        label = labels[place % len(labels)]
        pen.text(
            (place * WIDTH + 2, 3), f"{name.replace('_', ' ')}, for {label}", fill=INK, font=ImageFont.load_default(14)
        )
        tile.paste(still(make(label, seed), 2.0, name), (place * WIDTH, HEAD))
    return tile


def fault_row(kind: str, label: str, seed: int) -> Image.Image:
    """Name, stills and spectrogram of one fault, planted from 2 s on, as the file would hold it."""
    base = plan_video(seed, list(BY_NAME).index(kind), (label,), HEIGHT, (SECONDS, SECONDS))
    form = replace(base.form, width=WIDTH, height=HEIGHT, rate_hz=RATE_HZ, picture_start_s=0.0, sound_start_s=0.0)
    fault = plan_fault(BY_NAME[kind], np.random.default_rng([seed, 3]), SECONDS, label)
    if fault.start_s == 0 and not BY_NAME[kind].file and kind not in ("shift", "wrong_label"):
        fault = replace(fault, start_s=2.0, stop_s=SECONDS)
    plan = replace(base, form=form).with_faults(fault)
    staged = Staged(plan)
    sound = channels(plan, staged.mix()).mean(axis=0)
    times = np.asarray([0.9, 3.2, 5.2])
    wide = STILLS * WIDTH
    tile = Image.new("RGB", (wide, HEAD + HEIGHT + BAND + 8), GROUND)
    pen = ImageDraw.Draw(tile)
    note = f"{label}, {fault.start_s:g} to {fault.stop_s:g} s {fault.what} {fault.value or ''}".strip()
    pen.text((2, 3), kind.replace("_", " "), fill=INK, font=ImageFont.load_default(16))
    pen.text((wide - 2, 6), note, fill=FAINT, font=ImageFont.load_default(12), anchor="ra")
    for place, pixels in enumerate(pictures(plan, staged, times)):
        tile.paste(Image.fromarray(pixels), (place * WIDTH, HEAD))
    tile.paste(spectrogram(sound, wide, BAND), (0, HEAD + HEIGHT + 2))
    for time_s in times:
        x, y = round(time_s / SECONDS * wide), HEAD + HEIGHT + 2
        pen.polygon([(x - 4, y), (x + 4, y), (x, y + 6)], fill=INK)
    return tile


def words(size: tuple[int, int], lines: tuple[tuple[int, tuple[int, int, int], str], ...]) -> Image.Image:
    """A tile of text: `(height, colour, line)`."""
    tile = Image.new("RGB", size, GROUND)
    pen = ImageDraw.Draw(tile)
    y = HEAD + 30
    for high, colour, line in lines:
        pen.text((30, y), line, fill=colour, font=ImageFont.load_default(high))
        y += round(high * 1.7)
    return tile


def legend(count: int, seed: int) -> tuple[tuple[int, tuple[int, int, int], str], ...]:
    """What is shown."""
    return (
        (28, INK, "The synthetic world"),
        (
            16,
            FAINT,
            f"Version {WORLD_VERSION}, {count} labels, seed {seed}, {SECONDS:g} s each. Rendered, not footage.",
        ),
        (16, FAINT, "Stills at the white marks; log-mel spectrogram, 0 to 8 kHz."),
        (16, MARK, "Ticks: events of the truth, seen and heard."),
    )


def panel(labels: list[str], seed: int) -> Image.Image:
    """The whole picture: labels, what is shown instead of them, then faults."""
    upper = [row(label, seed) for label in labels]
    size = upper[0].size
    upper.insert(0, words(size, legend(len(labels), seed)))
    # What only concerns the file has nothing to show.
    kinds = [name for name, kind in BY_NAME.items() if not kind.file]
    lower = [fault_row(kind, labels[n % len(labels)], seed) for n, kind in enumerate(kinds)]
    rest = ", ".join(name.replace("_", " ") for name, kind in BY_NAME.items() if kind.file)
    lower.insert(
        0, words(size, ((28, INK, "Planted faults"), (16, FAINT, f"Not shown, as only the file has it: {rest}.")))
    )
    wide = COLUMNS * size[0] + (COLUMNS - 1) * GAP
    parts = [grid(upper, wide), fitted(stand_ins(labels, seed), wide), grid(lower, wide)]
    out = Image.new("RGB", (wide + 2 * GAP, sum(part.height + GAP for part in parts) + GAP), GROUND)
    y = GAP
    for part in parts:
        out.paste(part, (GAP, y))
        y += part.height + GAP
    return out


def grid(tiles: list[Image.Image], wide: int) -> Image.Image:
    """Tiles of one size, `COLUMNS` side by side."""
    high = tiles[0].height
    lines = -(-len(tiles) // COLUMNS)
    out = Image.new("RGB", (wide, lines * (high + GAP) - GAP), GROUND)
    for place, tile in enumerate(tiles):
        out.paste(tile, (place % COLUMNS * (tile.width + GAP), place // COLUMNS * (high + GAP)))
    return out


def fitted(tile: Image.Image, wide: int) -> Image.Image:
    """A tile scaled to a width."""
    return tile.resize((wide, round(tile.height * wide / tile.width)), Image.Resampling.LANCZOS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--labels", default=",".join(SUBJECTS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    labels = [SUBJECTS[name.strip()] and name.strip() for name in options.labels.split(",")]
    panel(labels, options.seed).save(options.out, quality=85)
    print(f"{len(labels)} labels, seed {options.seed}, synthetic: {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
