"""What the trainer's stream costs and gives, beside the usual ways, on the same shards: whole clips of 256x144.

`cpu_ratio_to_decode`: CPU per sample, of all processes, over that of decoding alone (H.264 and FLAC from bytes in
memory, nothing copied, by as many processes of one thread). `throughput_share`: samples per second over cores / CPU
per sample.
`throughput_ratio_dataloader`: over stock webdataset in a torch DataLoader with PyAV's `to_ndarray("rgb24")`.
`throughput_ratio_best_dataloader`: over the best that a DataLoader did here, with YUV planes, or with torchcodec where
that is installed. `idle_share`: of the time of a device whose step takes 1.2 × the stream's batch time.
`memory_growth`: of all processes, from a tenth of the samples to the last.

Rounds of all ways take turns, and the best round of each counts: the machine may have other work.
"""

import argparse
import io
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import av
import inputs
import numpy as np
import psutil
import torch
import webdataset
from v2a.reading.form import Form
from v2a.reading.order import BLOCK
from v2a.reading.source import shard_source
from v2a.stream import Crops, ShardStream

from v2a_data.media.picture import plane_view, split_planes
from v2a_data.shards.read import open_shards

FORM = Form(256, 144, Fraction(25), 16000)
HEADER = ("way", "clips/s", "CPU ms per clip", "clips")


@dataclass
class Way:
    """A way to get clips: samples per second and CPU seconds per sample of its best rounds."""

    name: str
    speed: float = 0.0
    cpu_s: float = float("inf")
    clips: int = 0

    def round(self, clips: int, wall_s: float, cpu_s: float) -> None:
        self.speed, self.cpu_s = max(self.speed, clips / wall_s), min(self.cpu_s, cpu_s / clips)
        self.clips += clips


class Clock:
    """Wall time and the CPU time of this process and its children, from `start` on."""

    def start(self) -> None:
        self._wall, self._cpu = time.monotonic(), cpu_of_all()

    def stop(self) -> tuple[float, float]:
        return time.monotonic() - self._wall, cpu_of_all() - self._cpu


def cpu_of_all() -> float:
    """CPU seconds of this process and of the children that live."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def memory_of_all() -> int:
    """Bytes of this process and its children, what they share counted once."""
    own = psutil.Process()
    return sum(process.memory_full_info().pss for process in (own, *own.children(recursive=True)))


def decode_only(mp4: bytes) -> None:
    """The limit: every frame and sound decoded, nothing done with it."""
    with av.open(io.BytesIO(mp4), "r", format="mp4") as container:
        for stream in (container.streams.video[0], container.streams.audio[0]):
            stream.codec_context.thread_count = 1
        for packet in container.demux(container.streams.video[0], container.streams.audio[0]):
            packet.decode()


def sound_of(mp4: bytes) -> torch.Tensor:
    with av.open(io.BytesIO(mp4), "r") as container:
        sounds = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    return torch.from_numpy(np.concatenate(sounds).astype(np.float32) / 32768.0)


def rgb_sample(sample: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """What everyone writes first."""
    with av.open(io.BytesIO(sample["mp4"]), "r") as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return torch.from_numpy(np.stack(frames)), sound_of(sample["mp4"])


def yuv_sample(sample: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Planes as decoded, one thread, one allocation."""
    with av.open(io.BytesIO(sample["mp4"]), "r") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        planes = np.empty(FORM.plane_shape(stream.frames), np.uint8)
        for target, frame in zip(planes, container.decode(stream), strict=True):
            for plane, part in enumerate(split_planes(target, FORM.width, FORM.height)):
                part[:] = plane_view(frame, plane)
    return torch.from_numpy(planes), sound_of(sample["mp4"])


def torchcodec_sample(sample: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """torchcodec's own frames, uint8 RGB."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(sample["mp4"], dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="approximate")
    return decoder[:], sound_of(sample["mp4"])


def dataloader(folder: Path, decode: Callable[..., Any], workers: int, batch: int, count: int) -> Iterator[int]:
    """Clips per batch of webdataset in a DataLoader, for at least `count` batches."""
    urls = sorted(str(path) for path in folder.glob("train/*.tar"))
    samples = webdataset.WebDataset(urls, shardshuffle=len(urls), nodesplitter=None)
    pipeline = samples.repeat().shuffle(16).map(decode).batched(batch, partial=False)
    pipeline = pipeline.with_epoch(-(-count // max(1, workers)))
    # A fork of a process that has used PyAV can hang.
    loader = torch.utils.data.DataLoader(
        pipeline, batch_size=None, num_workers=workers, multiprocessing_context="spawn" if workers else None
    )
    for frames, _ in loader:
        yield len(frames)


@contextmanager
def opened(folder: Path, workers: int, batch: int) -> Iterator[Iterator[Crops]]:
    """Our batches of whole clips."""
    shards = open_shards(folder)
    entries = shards.split("train")
    source = shard_source(shards, entries, FORM, workers)
    crop = min(source.length(entry) for entry in entries)
    with ShardStream(source, entries, crop, batch, 0) as stream:
        yield iter(stream)


def measure(way: Way, batches: Iterator[int], clips: int, batch: int) -> None:
    """One round, after the queues are full."""
    clock = Clock()
    for _ in range(BLOCK // batch):
        next(batches)
    clock.start()
    for _ in range(clips // batch):
        next(batches)
    way.round(clips // batch * batch, *clock.stop())


def decoded(mp4s: list[bytes]) -> float:
    """CPU seconds of decoding some clips, in a process of its own."""
    decode_only(mp4s[0])  # what is loaded at the first time is not counted
    began = time.process_time()
    for mp4 in mp4s:
        decode_only(mp4)
    return time.process_time() - began


def limit(way: Way, pool: Pool, mp4s: list[bytes], clips: int, workers: int) -> None:
    """One round of decoding alone, by as many processes at once: cores that share a cache slow each other down."""
    each = [[mp4s[(i + j) % len(mp4s)] for j in range(clips // workers)] for i in range(workers)]
    began = time.monotonic()
    cpu = pool.map(decoded, each, chunksize=1)
    way.round(clips // workers * workers, time.monotonic() - began, sum(cpu))


def idle_share(batches: Iterator[Crops], batch_s: float, steps: int) -> float:
    """How much of its time a device waits whose step takes 1.2 × the stream's batch time.

    As with a GPU, the host asks for the next batch while the device works: it may be one step ahead.
    """
    idle, began = 0.0, time.monotonic()
    ends = began  # when the device is done with what it was given
    for _ in range(steps):
        next(batches)
        now = time.monotonic()
        idle += max(0.0, now - ends)
        starts = max(now, ends)
        ends = starts + 1.2 * batch_s
        time.sleep(max(0.0, starts - now))
    return idle / (ends - began)


def growth(batches: Iterator[Crops], samples: int, batch: int) -> tuple[int, int]:
    """Bytes after a tenth of the samples and after all."""
    for _ in islice(batches, samples // batch // 10):
        pass
    first = memory_of_all()
    for _ in islice(batches, samples // batch - samples // batch // 10):
        pass
    return first, memory_of_all()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=Path, help="a folder of shards; default: rendered here")
    parser.add_argument("--videos", type=int, default=2 * BLOCK, help="how many to render")
    parser.add_argument("--clips", type=int, default=4 * BLOCK, help="how many to count, each round")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way has its turn")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--workers", type=int, default=psutil.cpu_count(), help="of every way; default: all cores")
    parser.add_argument("--samples", type=int, default=2000, help="how many to take for memory")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        run(options.shards or inputs.shards(Path(name), options.videos), options)


def run(folder: Path, options: argparse.Namespace) -> None:
    batch, workers, clips = options.batch, options.workers, options.clips
    torch.set_num_threads(1)
    shards = open_shards(folder)
    mp4s = [shards.read(entry).mp4 for entry in shards.split("train")[:clips]]
    ours, bare = Way("v2a.stream"), Way("decoding alone")
    stock = {"DataLoader, to_ndarray(rgb24)": rgb_sample, "DataLoader, YUV planes": yuv_sample}
    if has_torchcodec():
        stock["DataLoader, torchcodec"] = torchcodec_sample
    ways = {name: Way(name) for name in stock}
    pool = multiprocessing.get_context("spawn").Pool(workers)
    with pool, opened(folder, workers, batch) as stream:
        for _ in range(options.rounds):
            limit(bare, pool, mp4s, clips, workers)
            measure(ours, (len(crops.keys) for crops in stream), clips, batch)
            for name, decode in stock.items():
                loader = dataloader(folder, decode, workers, batch, (BLOCK + clips) // batch)
                measure(ways[name], loader, clips, batch)
                list(loader)  # workers that are ended before their time abort
        idle = min(idle_share(stream, batch / ours.speed, 4 * clips // batch) for _ in range(options.rounds))
        first, last = growth(stream, options.samples, batch)
    rows = [
        (way.name, round(way.speed, 1), round(way.cpu_s * 1000, 1), way.clips) for way in (bare, ours, *ways.values())
    ]
    speeds = [way.speed for way in ways.values()]
    figures = {
        "cpu_ratio_to_decode": round(ours.cpu_s / bare.cpu_s, 3),
        "throughput_share": round(ours.speed / (min(workers, psutil.cpu_count()) / ours.cpu_s), 3),
        "throughput_ratio_dataloader": round(ours.speed / speeds[0], 2),
        "throughput_ratio_best_dataloader": round(ours.speed / max(speeds[1:]), 2),
        "idle_share": round(idle, 4),
        "memory_growth": round(last / first - 1, 4),
        "memory_mb": round(last / 1e6),
        "memory_samples": options.samples,
        "torchcodec": has_torchcodec(),
    }
    words = "\n".join(f"{name}: {value}" for name, value in figures.items())
    inputs.show("stream", HEADER, rows, words, options.json, **figures)


def has_torchcodec() -> bool:
    """Whether torchcodec is here and its libraries load."""
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        return False
    return True


if __name__ == "__main__":
    main()
