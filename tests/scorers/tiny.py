"""Tiny models that the tests make themselves: a CLIP of two colours, a tagger of two pitches, and what joins them."""

import json
from pathlib import Path

import numpy as np

ARCHITECTURE = "v2a-test-clip"
_CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}
COLOURS = {"a red picture": (200, 30, 30), "a blue picture": (40, 60, 200)}


def make_clip(folder: Path, *, steps: int, name: str = ARCHITECTURE) -> tuple[Path, Path]:
    """An open_clip model in its own architecture file and .safetensors weights; random with 0 steps."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    architecture, weights = folder / f"{name}.json", folder / "weights.safetensors"
    architecture.write_text(json.dumps(_CONFIG))
    open_clip.add_model_config(architecture)
    torch.manual_seed(0)
    model = open_clip.create_model(name)
    tokens = open_clip.get_tokenizer(name)(list(COLOURS))
    colours = torch.tensor(list(COLOURS.values())).float().view(2, 3, 1, 1) / 255
    mean, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in (model.visual.image_mean, model.visual.image_std))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(steps):
        pictures = (colours + 0.15 * torch.randn(2, 3, 32, 32)).clamp(0, 1)
        seen, said = (
            model.encode_image((pictures - mean) / spread, normalize=True),
            model.encode_text(tokens, normalize=True),
        )
        logits = 20 * seen @ said.T
        target = torch.arange(2)
        loss = torch.nn.functional.cross_entropy(logits, target) + torch.nn.functional.cross_entropy(logits.T, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, weights)
    return architecture, weights


def make_tagger(folder: Path, classes: tuple[str, ...], name: str = "tiny-tagger") -> Path:
    """An ONNX tagger of up to four classes by filters: low sound, high sound, any sound, any sound taken softer."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    taps = np.arange(-64, 65)
    window = np.hamming(129)
    low = np.sinc(2 * 600 / 16000 * taps) * 2 * 600 / 16000 * window
    high = -low
    high[64] += 1
    constants = {
        "filters": np.stack([low, high, low + high, 0.3 * (low + high)])[: len(classes), None].astype(np.float32),
        "floor": np.asarray(1e-7, np.float32),
        "gain": np.asarray(2.0, np.float32),
        "level": np.asarray(9.0, np.float32),
        "channel": np.asarray([1], np.int64),
        "time": np.asarray([2], np.int64),
    }
    nodes = [
        helper.make_node("Unsqueeze", ["sound", "channel"], ["x"]),
        helper.make_node("Conv", ["x", "filters"], ["bands"]),
        helper.make_node("Mul", ["bands", "bands"], ["power"]),
        helper.make_node("ReduceMean", ["power", "time"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "floor"], ["safe"]),
        helper.make_node("Log", ["safe"], ["log"]),
        helper.make_node("Add", ["log", "level"], ["raised"]),
        helper.make_node("Mul", ["raised", "gain"], ["scaled"]),
        helper.make_node("Sigmoid", ["scaled"], ["tags"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tagger",
        [helper.make_tensor_value_info("sound", TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info("tags", TensorProto.FLOAT, ["batch", len(classes)])],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    path.with_suffix(".json").write_text(json.dumps({"classes": list(classes), "licence": "Apache-2.0"}))
    return path


def make_ced(folder: Path, classes: tuple[str, ...], *, batch: int | str = "batch") -> Path:
    """An ONNX model in the form of the CED export, with random weights: `feats (batch, 64, time)` → `prob`."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    constants = {
        "time": np.asarray([2], np.int64),
        "scale": np.asarray(0.02, np.float32),
        "weights": rng.normal(0, 0.3, (64, len(classes))).astype(np.float32),
    }
    nodes = [
        helper.make_node("ReduceMean", ["feats", "time"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "weights"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["prob"]),
    ]
    graph = helper.make_graph(
        nodes,
        "ced",
        [helper.make_tensor_value_info("feats", TensorProto.FLOAT, [batch, 64, "time_dim"])],
        [helper.make_tensor_value_info("prob", TensorProto.FLOAT, [batch, len(classes)])],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = folder / "model.onnx"
    onnx.save(model, path)
    rows = [f'{i},{mid},"Name, of {i}"' for i, mid in enumerate(classes)]
    (folder / "class_labels_indices.csv").write_text("\n".join(["index,mid,display_name", *rows]) + "\n")
    return path


def make_embed(folder: Path, **about: object) -> Path:
    """A joint embedding by path: red pictures lie with low sounds, blue ones with high sounds."""
    from onnx import helper

    folder.mkdir(parents=True, exist_ok=True)
    make_tagger(folder, ("/m/0cmf2", "/m/04rlf"), "sound")
    constants = {
        "places": np.asarray([1, 3, 4], np.int64),
        "colours": np.asarray([[10, -10], [0, 0], [-10, 10]], np.float32),
    }
    nodes = [
        helper.make_node("ReduceMean", ["picture", "places"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "colours"], ["sides"]),
        helper.make_node("Sigmoid", ["sides"], ["seen"]),
    ]
    _save(folder / "picture.onnx", nodes, constants, {"picture": ["n", 2, 3, 32, 32]}, {"seen": ["n", 2]})
    _write_about(folder, about)
    return folder


SYNC_OFFSETS_S = (-0.4, -0.2, 0.0, 0.2, 0.4)


def make_sync(folder: Path, **about: object) -> Path:
    """An offset classifier by path: brightness of 5 frames a second against loudness, over two windows."""
    from onnx import helper

    folder.mkdir(parents=True, exist_ok=True)
    steps, half = 20, len(SYNC_OFFSETS_S) // 2
    constants = {
        "places": np.asarray([2, 3, 4], np.int64),
        "one": np.asarray([1], np.int64),
        "gain": np.asarray(100.0, np.float32),
        **{f"at{k}": np.asarray([k], np.int64) for k in range(steps + 1)},
    }
    nodes = [
        helper.make_node("ReduceMean", ["picture", "places"], ["light"], keepdims=0),
        helper.make_node("Abs", ["sound"], ["rough"]),
        helper.make_node("Unsqueeze", ["rough", "one"], ["wave"]),
        helper.make_node("AveragePool", ["wave"], ["pooled"], kernel_shape=[3200], strides=[3200]),
        helper.make_node("Squeeze", ["pooled", "one"], ["loud"]),
    ]
    for n, k in enumerate(range(-half, half + 1)):
        seen, heard = (max(0, -k), steps - max(0, k)), (max(0, k), steps + min(0, k))
        nodes += [
            helper.make_node("Slice", ["light", f"at{seen[0]}", f"at{seen[1]}", "one"], [f"p{n}"]),
            helper.make_node("Slice", ["loud", f"at{heard[0]}", f"at{heard[1]}", "one"], [f"s{n}"]),
            helper.make_node("Mul", [f"p{n}", f"s{n}"], [f"both{n}"]),
            helper.make_node("ReduceSum", [f"both{n}", "one"], [f"sum{n}"], keepdims=1),
        ]
    names = [f"sum{n}" for n in range(len(SYNC_OFFSETS_S))]
    nodes += [
        helper.make_node("Concat", names, ["sums"], axis=1),
        helper.make_node("Mul", ["sums", "gain"], ["logits"]),
    ]
    inputs = {"picture": ["n", steps, 3, 32, 32], "sound": ["n", 64000]}
    _save(folder / "model.onnx", nodes, constants, inputs, {"logits": ["n", len(SYNC_OFFSETS_S)]})
    _write_about(folder, {"frames": 10, "windows": 2, "offsets_s": SYNC_OFFSETS_S, **about})
    return folder


def _save(path: Path, nodes: list, constants: dict, inputs: dict, outputs: dict) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    taken, given = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in some.items()]
        for some in (inputs, outputs)
    )
    stored = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, path.stem, taken, given, stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def _write_about(folder: Path, about: dict) -> None:
    """`about.json` of the tiny models; `about` lays over it, `frames` in its place."""
    picture = {"frames": about.pop("frames", 2), "px": 32, "mean": [0.0, 0.0, 0.0], "spread": [1.0, 1.0, 1.0]}
    table = {"name": "tiny", "licence": "Apache-2.0", "picture": picture, "sound": {"rate_hz": 16000}, **about}
    (folder / "about.json").write_text(json.dumps(table))


SOUNDS = {"a low sound": 200.0, "a high sound": 5000.0}


def make_clap(folder: Path, *, steps: int) -> Path:
    """A CLAP model of transformers as it saves one, trained for `steps` to tell two pitches; random with 0."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    words = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    words.train_from_iterator([*SOUNDS, "the sound of a recording of"], vocab_size=300, special_tokens=special)
    words.save_model(str(folder))
    reads = RobertaTokenizer.from_pretrained(str(folder))
    hears = ClapFeatureExtractor(
        sampling_rate=16000,
        max_length_s=2,
        fft_window_size=512,
        hop_length=256,
        feature_size=32,
        frequency_max=8000,
        truncation="rand_trunc",
    )
    torch.manual_seed(0)
    text = {
        "vocab_size": len(reads),
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
        "projection_dim": 16,
    }
    audio = {
        "window_size": 4,
        "num_mel_bins": 32,
        "spec_size": 64,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "depths": [1],
        "num_attention_heads": [2],
        "patch_embeds_hidden_size": 16,
        "hidden_size": 16,
        "projection_dim": 16,
        "enable_fusion": False,
    }
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=16))
    times = np.arange(32000) / 16000
    tones = [(0.3 * np.sin(2 * np.pi * hz * times)).astype(np.float32) for hz in SOUNDS.values()]
    inputs = {
        **reads(list(SOUNDS), padding=True, return_tensors="pt"),
        **hears(tones, sampling_rate=16000, return_tensors="pt"),
    }
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        loss = model(**inputs, return_loss=True).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for part in (model, hears, reads):
        part.save_pretrained(str(folder))
    return folder
