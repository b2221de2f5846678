"""Samples in other forms: sizes, rates, channels, and pictures of another shape padded or cropped."""

import io
import json
import tarfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from makers import decode_all, noise_track, read_code
from rebuilding import at, run

from v2a_data.media.cut import cut
from v2a_data.media.spec import CutSpec

FORMS = {
    "VEGAS": (CutSpec(256, 256, Fraction(125, 8), 16000, 1, 18), 156, 159_744),
    "CD stereo": (CutSpec(256, 144, Fraction(25), 44100, 2, 18), 250, 441_000),
    "48 kHz stereo at 30 fps": (CutSpec(480, 270, Fraction(30), 48000, 2, 18), 300, 480_000),
    "NTSC": (CutSpec(320, 180, Fraction(30000, 1001), 48000, 1, 18), 300, 480_480),
}


@pytest.mark.parametrize("form", FORMS)
def test_counts_and_codes_are_exact_in_every_form(form: str, media, tmp_path: Path) -> None:
    spec, frames, samples = FORMS[form]
    left, right = noise_track(11.0, 48000, 1), noise_track(11.0, 48000, 2)
    path = media("pair.mkv", fps=Fraction(30), rate_hz=48000, audio_codec="pcm_s16le", sound=np.stack([left, right]))
    start_s, stop_s = 0.5, 0.5 + (10.01 if form == "NTSC" else 10.0)
    (result,) = cut(str(path), [(start_s, stop_s)], spec, str(tmp_path))
    assert (result.reason, result.frames, result.audio_samples) == (None, frames, samples)
    assert result.sound_error_samples == 0
    shown, sound, _ = decode_all(result.path)
    assert (len(shown), sound.shape) == (frames, (spec.channels, samples))
    top = (spec.height - spec.width * 9 // 16) // 2
    for i in range(0, frames, 11):
        code = read_code(shown[i][top:], spec.width / 256)
        assert abs(code / 30 - start_s - i / float(spec.fps)) <= 0.5 / 30 + 1e-3
    for row, truth in zip(sound, (left, right) if spec.channels == 2 else ((left + right) / 2,), strict=True):
        exact = np.interp(np.arange(samples) / spec.rate_hz + start_s, np.arange(len(truth)) / 48000, truth)
        assert np.corrcoef(row, exact)[0, 1] > 0.99


@pytest.mark.parametrize(("width", "height"), [(144, 256), (427, 241), (400, 100)])
def test_a_cropped_picture_is_the_middle_of_the_source(width: int, height: int, media, tmp_path: Path) -> None:
    path = media(f"shape-{width}.mkv", width=width // 2 * 2, height=height // 2 * 2, seconds=3.0)
    width, height = width // 2 * 2, height // 2 * 2
    spec = CutSpec(128, 72, Fraction(25), 16000, 1, 10, "crop")
    (result,) = cut(str(path), [(0.0, 2.0)], spec, str(tmp_path))
    shown, _, _ = decode_all(result.path)
    source, _, _ = decode_all(str(path))
    scale = max(128 / width, 72 / height)
    for i in (0, 20, 49):
        # An outside reference: block means of the source around the place that each pixel of the crop stands for.
        rows = (np.arange(72) + 0.5 - 36) / scale + height / 2
        columns = (np.arange(128) + 0.5 - 64) / scale + width / 2
        expected = source[i][np.clip(rows, 0, height - 1).astype(int)][:, np.clip(columns, 0, width - 1).astype(int)]
        assert shown[i].shape == (72, 128)
        assert np.corrcoef(shown[i].ravel(), expected.ravel())[0, 1] > 0.9
        assert shown[i][:, 0].mean() > 30, "no black border"


def test_crop_and_pad_are_the_same_for_a_picture_of_the_right_shape(media, tmp_path: Path) -> None:
    path = str(media("a.mp4"))
    bodies = []
    for fit in ("pad", "crop"):
        folder = tmp_path / fit
        folder.mkdir()
        (result,) = cut(path, [(1.0, 3.0)], CutSpec(128, 72, Fraction(25), 16000, 1, 23, fit), str(folder))
        bodies.append(Path(result.path).read_bytes())
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize(
    ("recipe", "frames", "samples", "size"),
    [("keep_all_vegas", 156, 159_744, (256, 256)), ("keep_all_48k", 300, 480_000, (480, 270))],
)
def test_shipped_recipes_make_shards_in_their_form(
    recipe: str, frames: int, samples: int, size: tuple[int, int], media, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "one.mp4").symlink_to(media("b.mp4", fps=Fraction(30), gop=150))
    run("fetch", "--source", "local", "--input", folder, "--label", "Drum", "--recipe", recipe, *at(tmp_path / "w"))
    run("curate", *at(tmp_path / "w"))
    run("shard", *at(tmp_path / "w"))
    run("verify", tmp_path / "w" / "shards", "--deep")
    (shard,) = (tmp_path / "w" / "shards").rglob("*.tar")
    with tarfile.open(shard) as tar:
        about = {member.name.rpartition(".")[2]: tar.extractfile(member).read() for member in tar}
    values = json.loads(about["json"])
    assert (values["frames"], values["audio_samples"]) == (frames, samples)
    shown, sound, _ = decode_all(io.BytesIO(about["mp4"]))
    assert (len(shown), sound.shape[1], shown[0].shape) == (frames, samples, size[::-1])
