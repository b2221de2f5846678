"""Clips per second out of the same shards: the trainer's stream beside a stock webdataset pipeline.

The stock pipeline is what webdataset's users write: `WebDataset(...).shuffle().map(decode).batched()` in a torch
DataLoader, decoding with PyAV (torchvision has no video decoder any more), frames as RGB scaled by swscale. Batches
of whole 10 s clips are counted twice: as the loader hands them over on the host (uint8; YUV planes here, RGB there),
and as float RGB (B, 3, T, H, W) on the CPU. The trainer makes its RGB on the device, which without a GPU is slow.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import inputs
import numpy as np
import torch
import webdataset
from v2a.decode import Form
from v2a.stream import BLOCK, ShardStream, shard_source
from v2a.train import to_batch

from v2a_data.shards.read import open_shards

VIEWS = (Form(64, 36, Fraction(25, 2), 16000), Form(256, 144, Fraction(25), 16000))
BATCH = 2
# Queues are in use when the clock starts; and as the stream decodes in blocks, it starts and ends at one's end.
WARM_UP = BLOCK // BATCH
HEADER = ("view", "workers", "batches", "v2a.stream clips/s", "webdataset clips/s", "ratio")
ENDS = ("uint8, host", "float RGB, CPU")


@dataclass(frozen=True)
class Stock:
    """One sample to arrays, in a worker of the stock pipeline."""

    form: Form
    step: int

    def __call__(self, sample: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        frames = []
        with av.open(io.BytesIO(sample["mp4"])) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index % self.step == 0:
                    frames.append(frame.to_ndarray(format="rgb24", width=self.form.width, height=self.form.height))
        with av.open(io.BytesIO(sample["mp4"])) as container:
            sounds = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
        sound = torch.from_numpy(np.concatenate(sounds).astype(np.float32) / 32768.0)
        return torch.from_numpy(np.stack(frames)), sound


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=Path, help="a folder of shards; default: rendered here")
    parser.add_argument("--videos", type=int, default=2 * BLOCK, help="how many to render")
    parser.add_argument("--clips", type=int, default=4 * BLOCK, help="how many to count, each time")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    count = options.clips // BATCH
    with tempfile.TemporaryDirectory() as name:
        folder = options.shards or inputs.shards(Path(name), options.videos)
        rows = []
        for form in VIEWS:
            for workers in (0, 1, 2):
                for end in ENDS:
                    ours, theirs = (speed(make(folder, form, workers, end, count)) for make in (stream, stock))
                    view = f"{form.width}x{form.height} {float(form.fps):g} fps"
                    rows.append((view, workers, end, round(ours, 1), round(theirs, 1), round(ours / theirs, 2)))
    inputs.show("stream", HEADER, rows, "ratio: v2a.stream over webdataset, same shards, same view", options.json)


def speed(batches: Iterator[int]) -> float:
    """Clips per second in steady state; what is left at the end is taken too, so that workers end by themselves."""
    times = []
    for clips in batches:
        assert clips == BATCH
        times.append(time.monotonic())
    return BATCH * (len(times) - WARM_UP) / (times[-1] - times[WARM_UP - 1])


def stream(folder: Path, form: Form, workers: int, end: str, count: int) -> Iterator[int]:
    """The trainer's way: planes in a ring of shared memory, colours converted on the device."""
    shards = open_shards(folder)
    entries = shards.split("train")
    source = shard_source(shards, entries, form, workers)
    crop = min(source.length(entry) for entry in entries)
    with ShardStream(source, entries, crop, BATCH, 0) as batches:
        for crops in islice(batches, WARM_UP + count):
            batch = to_batch(crops, form, torch.device("cpu")) if end == ENDS[1] else None
            assert batch is None or batch.video.shape == (BATCH, 3, crop, form.height, form.width)
            yield len(crops.keys)


def stock(folder: Path, form: Form, workers: int, end: str, count: int) -> Iterator[int]:
    """The stock way."""
    urls = sorted(str(path) for path in folder.glob("train/*.tar"))
    decode = Stock(form, int(25 / form.fps))
    samples = webdataset.WebDataset(urls, shardshuffle=len(urls))
    each = -(-(WARM_UP + count) // max(1, workers))
    pipeline = samples.repeat().shuffle(16).map(decode).batched(BATCH, partial=False).with_epoch(each)
    # A fork of a process that has used PyAV can hang.
    more = {"multiprocessing_context": "spawn"} if workers else {}
    for frames, sound in webdataset.WebLoader(pipeline, batch_size=None, num_workers=workers, **more):
        video = frames.permute(0, 4, 1, 2, 3).float().div(255.0) if end == ENDS[1] else frames
        assert len(sound) == len(video)
        yield len(video)


if __name__ == "__main__":
    main()
