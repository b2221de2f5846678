"""What measuring costs: CPU seconds per minute of source of the decode and of each scorer, and its share.

    python benchmarks/score.py [--seconds 20] [--json]

Models have the real architectures and random weights, through the code that loads real ones: ViT-B-32-256 of
open_clip from a .safetensors file, a tagger of CED-tiny's size and inputs in ONNX, CLAP of transformers from a folder,
silero-vad as its package ships it. Weights change no time. Exports for the plug-ins av_embed and av_sync
were not at hand and are left out. The file is 640x360, H.264 and AAC, stereo; every scorer gets what its
recipe's default asks for. One thread; medians over rounds.

- clip_throughput_ratio: pictures per CPU second of the scorer, over that of a bare open_clip loop on the same
  pictures in batches of 32, text embedded before; both on `--threads` threads, taking turns (limit 0.9)

There is no int8 option: whether verdicts agree can only be said with real weights, which were not at hand.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import inputs
import numpy as np
from tap import FORMS, RATE_HZ, render

from v2a_data.curate.score import PartVideo, tap_spec, tap_view
from v2a_data.media.tap import tap
from v2a_data.schema import WINDOW_S
from v2a_data.scorers import SCORERS
from v2a_data.scorers.base import Scorer, VideoTap, batches

LIMIT = 0.9
CLIP = "ViT-B-32-256"
PX, BATCH = 256, 32
HEADER = ("step", "CPU s per minute", "share", "what ran")
MINUTE_S = 60.0
# CED-tiny: patches of 16 x 16 of 64 mel bands by 201 frames in 2 s, 12 layers, 192 wide, 3 heads, 527 classes.
PATCH, WIDTH, DEPTH, HEADS, CLASSES = 16, 192, 12, 3, 527
TOKENS = (64 // PATCH) * (201 // PATCH)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20, help="length of the file")
    parser.add_argument("--rounds", type=int, default=3, help="each scorer so often; medians are shown")
    parser.add_argument("--pictures", type=int, default=64, help="for the ratio to bare open_clip")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for both sides of the ratio")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scorers = opened(folder)
        rows = costs(scorers, folder, options.seconds, options.rounds)
        ratio = clip_ratio(scorers["clip_topic"][0], folder, options.pictures, options.rounds)
    verdict = "ok" if ratio >= LIMIT else "MISSED"
    words = f"clip_throughput_ratio {ratio:.3f}, limit {LIMIT} {verdict}; {options.threads} thread(s)"
    inputs.show("score", HEADER, rows, words, options.json, clip_throughput_ratio=round(ratio, 3))
    return int(ratio < LIMIT)


def opened(folder: Path) -> dict[str, tuple[Scorer, str]]:
    """Each scorer, opened, and what it runs."""
    configs: dict[str, tuple[dict[str, Any], str]] = {
        "motion": ({}, "no model"),
        "loudness": ({}, "no model"),
        "together": ({}, "no model"),
        "speech": ({}, "silero-vad"),
        "audio_tags": (
            {"model": str(ced_shaped(folder / "ced")), "family": "ced", "classes": ("/m/0",)},
            "CED-tiny's shape, random",
        ),
        "clip_topic": (
            {"model": CLIP, "weights": str(clip_shaped(folder)), "image_px": PX, "on": ("a dog",), "off": ("a wall",)},
            f"{CLIP}, random",
        ),
        "audio_text": (
            {"weights": str(clap_shaped(folder / "clap")), "on": ("a dog",), "off": ("a drum",)},
            "CLAP HTSAT, random",
        ),
    }
    found: dict[str, tuple[Scorer, str]] = {}
    for name, (config, words) in configs.items():
        scorer: Scorer = SCORERS[name](SCORERS[name].Config(**config))
        scorer.open("cpu")
        found[name] = (scorer, words)
    return found


def costs(scorers: dict[str, tuple[Scorer, str]], folder: Path, seconds: int, rounds: int) -> list[tuple[str, ...]]:
    """A row for the decode with its tap, and one per scorer."""
    width, kbit = FORMS[360]
    path = render(folder / "source.mp4", width, 360, kbit, seconds)
    windows = tuple(float(start) for start in np.arange(0, seconds, WINDOW_S))
    video = PartVideo("lo-0", str(path), "x", float(seconds), windows)
    spec = tap_spec(windows, [scorer.needs for scorer, _ in scorers.values()])
    ways: dict[str, tuple[Callable[[], object], str]] = {
        "decode and tap": (partial(tap, str(path), spec, str(folder)), "PyAV")
    }
    for name, (scorer, words) in scorers.items():
        ways[name] = (partial(measured, scorer, video, folder), words)
    taken = {name: median_cpu_s(way, rounds) / seconds * MINUTE_S for name, (way, _) in ways.items()}
    whole = sum(taken.values())
    return [(name, f"{s:.2f}", f"{s / whole:.1%}", ways[name][1]) for name, s in taken.items()]


def measured(scorer: Scorer, video: PartVideo, folder: Path) -> None:
    scorer.score([tap_view(video, scorer.needs, folder, RATE_HZ)])


def median_cpu_s(way: Callable[[], object], rounds: int) -> float:
    """CPU seconds of one call, the first one left out."""
    return statistics.median([cpu_s(way) for _ in range(rounds + 1)][1:])


def cpu_s(way: Callable[[], object]) -> float:
    started = time.process_time()
    way()
    return time.process_time() - started


def clip_ratio(scorer: Scorer, folder: Path, count: int, rounds: int) -> float:
    """Pictures per CPU second of the scorer over those of a bare loop."""
    pictures = np.random.default_rng(0).integers(0, 255, (count, PX, PX, 3), dtype=np.uint8)
    # Several videos, with the frames wider than high, as the tap gives them.
    wide = np.pad(pictures, ((0, 0), (0, 0), (99, 100), (0, 0)))
    starts = np.arange(count) * WINDOW_S
    taps = [
        VideoTap(f"lo-{n}", "x", starts[some], wide[some, None], starts[some, None] + 1)
        for n, some in enumerate(np.array_split(np.arange(count), 5))
    ]
    loop = bare(folder, pictures)
    scorer.score(taps[:1])
    loop()
    turns = [(cpu_s(loop), cpu_s(lambda: scorer.score(taps))) for _ in range(rounds)]
    return statistics.median(alone for alone, _ in turns) / statistics.median(ours for _, ours in turns)


def bare(folder: Path, pictures: np.ndarray) -> Callable[[], None]:
    """The loop that open_clip's documentation shows, on pictures that are squares of the right size already."""
    import open_clip
    import torch

    model = open_clip.create_model(CLIP, pretrained=str(folder / "clip.safetensors")).eval()
    mean, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in (model.visual.image_mean, model.visual.image_std))
    texts = model.encode_text(open_clip.get_tokenizer(CLIP)(["a dog", "a wall"]), normalize=True).detach()

    def loop() -> None:
        with torch.inference_mode():
            for some in batches(pictures, BATCH):
                pixels = torch.from_numpy(np.stack(some)).permute(0, 3, 1, 2).float() / 255
                seen = model.encode_image((pixels - mean) / spread, normalize=True)
                (100 * seen @ texts.T).softmax(dim=-1)

    return loop


def clip_shaped(folder: Path) -> Path:
    """Random weights of the real architecture in a local file."""
    import open_clip
    from safetensors.torch import save_file

    path = folder / "clip.safetensors"
    save_file({k: v.contiguous() for k, v in open_clip.create_model(CLIP).state_dict().items()}, path)
    return path


def clap_shaped(folder: Path) -> Path:
    """CLAP in transformers' default size, its tokenizer made on the spot."""
    from tiny import make_clap
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    make_clap(folder, steps=0)
    ClapModel(ClapConfig()).save_pretrained(str(folder))
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(str(folder))
    return folder


def ced_shaped(folder: Path) -> Path:
    """A transformer of CED-tiny's size over log-mel patches, written as ONNX by hand, random weights."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng, nodes, stored = np.random.default_rng(0), [], []

    def weights(*shape: int) -> str:
        name = f"w{len(stored)}"
        stored.append(numpy_helper.from_array(rng.normal(0, 0.02, shape).astype(np.float32), name))
        return name

    def ints(*values: int) -> str:
        name = f"w{len(stored)}"
        stored.append(numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name

    def node(kind: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"x{len(nodes)}"], **attributes))
        return f"x{len(nodes) - 1}"

    def dense(x: str, wide: int, out: int) -> str:
        return node("Add", node("MatMul", x, weights(wide, out)), weights(out))

    def heads(x: str, order: list[int]) -> str:
        return node("Transpose", node("Reshape", x, ints(0, TOKENS, HEADS, WIDTH // HEADS)), perm=order)

    def block(x: str) -> str:
        calm = node("LayerNormalization", x, weights(WIDTH), weights(WIDTH))
        query, value = (heads(dense(calm, WIDTH, WIDTH), [0, 2, 1, 3]) for _ in range(2))
        chances = node("Softmax", node("MatMul", query, heads(dense(calm, WIDTH, WIDTH), [0, 2, 3, 1])), axis=-1)
        mixed = node("Transpose", node("MatMul", chances, value), perm=[0, 2, 1, 3])
        x = node("Add", x, dense(node("Reshape", mixed, ints(0, TOKENS, WIDTH)), WIDTH, WIDTH))
        calm = node("LayerNormalization", x, weights(WIDTH), weights(WIDTH))
        return node("Add", x, dense(node("Gelu", dense(calm, WIDTH, 4 * WIDTH)), 4 * WIDTH, WIDTH))

    x = node("Conv", node("Unsqueeze", "feats", ints(1)), weights(WIDTH, 1, PATCH, PATCH), strides=[PATCH, PATCH])
    x = node("Transpose", node("Reshape", x, ints(0, WIDTH, TOKENS)), perm=[0, 2, 1])
    x = node("Add", x, weights(TOKENS, WIDTH))
    for _ in range(DEPTH):
        x = block(x)
    chances = node("Sigmoid", dense(node("ReduceMean", x, ints(1), keepdims=0), WIDTH, CLASSES))
    taken = helper.make_tensor_value_info("feats", TensorProto.FLOAT, ["n", 64, 201])
    given = helper.make_tensor_value_info(chances, TensorProto.FLOAT, ["n", CLASSES])
    graph = helper.make_graph(nodes, "ced", [taken], [given], stored)
    folder.mkdir()
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    rows = [f"{i},/m/{i},x" for i in range(CLASSES)]
    (folder / "class_labels_indices.csv").write_text("\n".join(["index,mid,display_name", *rows]) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
