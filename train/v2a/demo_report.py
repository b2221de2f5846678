"""The demo's report page: funnel, kept and dropped clips, training, generated sound beside its baselines."""

import json
import wave
from pathlib import Path

import numpy as np
import torch

from v2a import pictures
from v2a.built import form_of, load_vqvae
from v2a.colour import video
from v2a.config import load_train_config
from v2a.demo import TRAINED, DemoRun, funnel_rows
from v2a.evaluate import decoded, header_cells, row_cells
from v2a.reading.decode import Decoder
from v2a_data.report import page
from v2a_data.shards.format import STAMP
from v2a_data.shards.read import Entry, ShardSet, open_shards
from v2a_data.tables import load_table
from v2a_data.workspace import Workspace

_SHOWN = 6


def write_report(run: DemoRun, path: Path) -> Path:
    """Write the page and return where it is."""
    shards = open_shards(run.workspace / "shards")
    judged = shards.only(TRAINED)
    world = run.answers["render"]
    lead = (
        f"A synthetic world (version {world['version']}, hash {world['hash']}, seed {world['seed']}) was rendered, "
        "served on loopback as a small YouTube-8M, fetched, curated, sharded, trained on and judged. Nothing here was "
        "filmed: the figures show that the parts work together, not how any of them does on real video."
    )
    if run.answers["status"].get("not_for_use"):
        lead = f"{STAMP}. {lead}"
    sections = [
        page.Section(
            "From videos to samples", (page.TableBlock(("step", "result", "speed"), tuple(funnel_rows(run))),)
        ),
        page.Section(
            "Kept", (page.TextBlock("Samples as they stand in the shards: 10 s, 256x144, with sound."), _kept(shards))
        ),
        page.Section(
            "Dropped", (page.TextBlock("Source videos, with the reason for the part that was dropped."), _dropped(run))
        ),
        page.Section("Video encoder", (page.TextBlock(_codes_text(run)), _codes(run, judged), _curves(run))),
        page.Section("Generated sound", _generated(run, judged)),
        page.Section("The same by hand", (page.TextBlock("\n".join(run.commands), code=True),)),
    ]
    page.write_page(path, "v2a demo", lead, sections)
    return path


def _kept(shards: ShardSet) -> page.GalleryBlock:
    entries = _some(shards.split("train"), _SHOWN)
    items = [page.video_bytes(shards.read(entry).mp4, f"{entry.label} · {entry.key}") for entry in entries]
    return page.GalleryBlock(tuple(items))


def _some(entries: list[Entry], count: int) -> list[Entry]:
    """A few entries, the labels in turn."""
    labels = sorted({entry.label for entry in entries})
    per_label = [[entry for entry in entries if entry.label == label] for label in labels]
    return [entry for row in zip(*per_label, strict=False) for entry in row][:count]


def _dropped(run: DemoRun) -> page.GalleryBlock:
    clips = load_table(run.workspace, "clips")
    media = load_table(run.workspace, "media").set_index("video_id")["path"]
    items, seen = [], set()
    for row in clips[clips.verdict == "drop"].itertuples():
        reasons = [reason for reason in row.reasons if "windows" in reason]
        kind = reasons[0]["condition"] if reasons else None
        if kind is None or (kind, row.label) in seen:
            continue
        seen.add((kind, row.label))
        why = "; ".join(f"not {reason['condition']} ({_numbers(reason['mean'])})" for reason in reasons)
        caption = f"{row.label} · {row.start_s:g}-{row.stop_s:g} s of {row.video_id}: {why}"
        items.append(page.video(run.workspace / media[row.video_id], caption))
    return page.GalleryBlock(tuple(items[:_SHOWN]))


def _numbers(means: dict[str, float | None]) -> str:
    return ", ".join(f"mean {name} {'null' if value is None else f'{value:.2f}'}" for name, value in means.items())


def _codes_text(run: DemoRun) -> str:
    trained = run.answers["train vqvae"]["trained"][0]
    return (
        f"3D VQ-VAE of seed paper 000 after {trained['steps']} steps: {trained['psnr_db']:.1f} dB, perplexity "
        f"{trained['perplexity']:.0f} (training batches). Below, test frames, their reconstructions and the discrete "
        "codes, as in the paper's figures 4 to 7."
    )


def _codes(run: DemoRun, shards: ShardSet) -> page.GalleryBlock:
    recipe = Workspace.read(run.workspace).recipe()
    config = load_train_config(recipe.train if recipe else {})
    encoder, _ = load_vqvae(config, run.workspace / "checkpoints", torch.device("cpu"))
    form = form_of(config.view)
    decoder = Decoder(form)
    columns = []
    for entry in _some(shards.split("test"), _SHOWN):
        planes, _ = decoded(decoder, shards.read(entry))
        middle = planes[None, len(planes) // 2 : len(planes) // 2 + 1]
        with torch.inference_mode():
            clear = video(torch.from_numpy(middle), form)
            out = encoder(clear)
        columns.append((clear[0, :, 0], out.video[0, :, 0], out.quantized.codes[0, 0]))
    frames, rebuilt = (np.stack([c[i].permute(1, 2, 0).numpy() for c in columns]) for i in (0, 1))
    picture = pictures.code_maps(frames, rebuilt, np.stack([c[2].numpy() for c in columns]))
    return page.GalleryBlock((page.picture(picture, "test frames, reconstructions, codes (one colour per code)"),))


def _curves(run: DemoRun) -> page.GalleryBlock:
    rows = []
    wanted = (
        ("vqvae3d", "psnr_db"),
        ("vqvae3d", "perplexity"),
        ("audio_fc-tied", "loss"),
        ("audio_fc-literal", "loss"),
    )
    for name, key in wanted:
        log = run.workspace / "checkpoints" / name / "metrics.jsonl"
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        points = [line for line in lines if key in line]  # validations and epochs have rows of their own
        rows.append((f"{name}: {key}", [p["step"] for p in points], [p[key] for p in points]))
    return page.GalleryBlock((page.picture(pictures.curves(rows), "training"),))


def _generated(run: DemoRun, shards: ShardSet) -> tuple[page.TextBlock | page.TableBlock | page.GalleryBlock, ...]:
    answer = run.answers["evaluate"]
    rows = tuple(row_cells(row) for row in answer["rows"])
    text = (
        "swap_auc asks whether a sound fits its own video better than another's; in class, among videos of the same "
        "label. In class, sounds that ignore the picture score 0.5 on average, silence exactly. In brackets, the 95 % "
        "bootstrap interval over videos. The paper's own (literal) decoder is shown beside the time-local (tied) one."
    )
    silent = [
        page.video(path, f"silent video, generated sound · {path.stem}") for path in sorted(run.sounded.glob("*.mp4"))
    ]
    spectra = [_spectra(run, shards, entry) for entry in _some(shards.split("test"), 4)]
    return (
        page.TextBlock(text),
        page.TableBlock(header_cells(answer), rows),
        page.TextBlock("Silent videos that are in no split, with the sound generated for them:"),
        page.GalleryBlock(tuple(silent)),
        page.TextBlock("Test clips: the real sound above, the generated ones below."),
        page.GalleryBlock(tuple(spectra)),
    )


def _spectra(run: DemoRun, shards: ShardSet, entry: Entry) -> page.MediaItem:
    made = run.workspace / "reports" / "evaluate" / "generated"
    form = form_of(load_train_config({"config": "demo"}).view)
    _, real = decoded(Decoder(form), shards.read(entry))
    rows = [(f"{entry.label} · {entry.key} · real", real)]
    rows += [
        (f"generated, {folder.name}", _read_wav(folder / f"{entry.key}.wav"))
        for folder in sorted(made.iterdir(), reverse=True)
    ]
    return page.picture(pictures.spectrograms(rows, form.rate_hz), f"{entry.label} · {entry.key}")


def _read_wav(path: Path) -> np.ndarray:
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768.0
