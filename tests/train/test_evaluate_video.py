"""The video encoder's table: PSNR and SSIM against outside references, rows that are worse, codes counted."""

import io
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import correlate1d
from v2a.codes import encode
from v2a.colour import rgb
from v2a.evaluate_video import MEAN_FRAME, UNTRAINED, VideoJudge, rebuilder, spread, untrained_codebook, video_text
from v2a.metrics.intervals import Figure
from v2a.metrics.picture import luma, psnr_db, ssim
from v2a.models.base import Batch
from v2a.models.vqvae3d import Vqvae3d
from v2a.reading.form import Form

FORM = Form(32, 20, Fraction(25, 2), 16000)


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    """Two pictures `(24, 30)` in 0..1 that are alike but not the same."""
    i, j = np.mgrid[0:24, 0:30]
    a = ((i * 7 + j * 13) % 64) / 63.0
    b = np.clip(a * 0.8 + 0.1 * np.sin(i / 3.0) + 0.05, 0, 1)
    return torch.from_numpy(a), torch.from_numpy(b)


def planes(frames: int, seed: int = 0) -> np.ndarray:
    """A clip in which a bright square goes over a still background."""
    rng = np.random.default_rng(seed)
    out = np.empty(FORM.plane_shape(frames), np.uint8)
    out[:] = rng.integers(60, 120, out.shape[1:])
    for i in range(frames):
        x = (2 * i + int(rng.integers(3))) % 24
        out[i, 5:11, x : x + 6] = 220
    return out


def vqvae(**options: object) -> Vqvae3d:
    torch.manual_seed(1)
    return Vqvae3d(Vqvae3d.Config(**{"channels": (8, 12), "codes": 24, **options})).eval()  # type: ignore[arg-type]


# The two measures


def test_ssim_and_psnr_are_scikit_images() -> None:
    """scikit-image 0.26: structural_similarity(a, b, data_range=1, gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False) and peak_signal_noise_ratio(a, b, data_range=1)."""
    a, b = pair()
    assert float(ssim(a[None], b[None])) == pytest.approx(0.9473876925053152, abs=1e-9)
    assert psnr_db(float((a - b).square().mean())) == pytest.approx(20.184320627043405, abs=1e-9)


def test_ssim_is_what_scipy_says() -> None:
    a, b = torch.rand(2, 1, 16, 21, dtype=torch.float64).numpy()
    weights = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()

    def mean(values: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(values, weights, 0), weights, 1)[5:-5, 5:-5]

    x, y = a[0], b[0]
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    expected = (2 * mx * my + 1e-4) * (2 * vxy + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    assert float(ssim(torch.from_numpy(a), torch.from_numpy(b))) == pytest.approx(expected.mean(), abs=1e-12)


def test_ssim_by_hand() -> None:
    a, _ = pair()
    assert float(ssim(a[None], a[None])) == pytest.approx(1.0)
    # Of constants only the means differ.
    light, dark = torch.full((1, 12, 12), 0.8), torch.full((1, 12, 12), 0.2)
    expected = (2 * 0.8 * 0.2 + 1e-4) / (0.8**2 + 0.2**2 + 1e-4)
    assert float(ssim(light, dark)) == pytest.approx(expected, abs=1e-6)
    assert ssim(a[None, :10], a[None, :10]).shape == (0,)


def test_psnr_by_hand() -> None:
    assert [psnr_db(error) for error in (1.0, 0.01, 0.0)] == [0.0, 20.0, 100.0]


def test_luma_is_pillows() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    theirs = np.asarray(Image.fromarray(colours).convert("L"), float)
    ours = luma(torch.from_numpy(colours).permute(2, 0, 1)[:, None] / 255)[0] * 255
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1.0)


def test_perplexity_by_hand() -> None:
    assert spread(np.full(32, 7)) == pytest.approx(32)
    assert spread(np.asarray([0, 9, 0])) == pytest.approx(1)
    assert spread(np.asarray([2, 1, 1])) == pytest.approx(np.exp(0.5 * np.log(2) + 0.5 * np.log(4)))


# Rebuilding


@pytest.mark.parametrize(
    ("strides", "kernel"),
    [
        (((1, 2, 2), (1, 2, 2)), 1),
        (((1, 2, 2), (1, 2, 2)), 3),
        (((1, 2, 2), (1, 2, 2)), 5),
        (((2, 2, 2), (2, 2, 2)), 3),
        (((4, 2, 2), (1, 2, 2)), 3),
        (((3, 2, 2), (2, 1, 1)), 3),
    ],
)
def test_a_clip_comes_back_in_pieces_as_it_does_whole(strides: tuple, kernel: int) -> None:
    encoder = vqvae(strides=strides, time_kernel=kernel)
    clip = planes(53)
    whole = encoder(rgb(torch.from_numpy(clip[None]), FORM.width, FORM.height))
    codes = encode(encoder, clip, FORM)
    assert np.array_equal(codes, whole.quantized.codes[0].numpy())
    rebuild = rebuilder(encoder, codes, FORM)
    edges = [0, 1, 17, 32, 47, 53]
    parts = [rebuild(a, b) for a, b in pairwise(edges)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole.video[0], atol=1e-5, rtol=0)


def test_only_the_codebook_is_untrained() -> None:
    encoder = vqvae()
    before = torch.random.get_rng_state()
    other = untrained_codebook(encoder)
    assert torch.equal(torch.random.get_rng_state(), before)
    same = {name for name, value in other.state_dict().items() if torch.equal(value, encoder.state_dict()[name])}
    assert {name for name in encoder.state_dict() if not name.startswith("quantizer.")} <= same
    assert "quantizer.book" not in same
    again = untrained_codebook(encoder)
    assert torch.equal(again.quantizer.book, other.quantizer.book)


# The table


def judged(encoder: Vqvae3d, folder: Path, clips: list[np.ndarray], shown: tuple[str, ...] = ()) -> VideoJudge:
    judge = VideoJudge(encoder, FORM, folder, shown)
    for i, clip in enumerate(clips):
        judge.add(f"k{i}", f"g{i}", clip)
    return judge


def test_the_mean_frame_is_perfect_where_nothing_moves(tmp_path: Path) -> None:
    still = np.repeat(planes(1), 40, axis=0)
    row = judged(vqvae(), tmp_path, [still]).result().rows[1]
    assert (row.name, row.perplexity, row.codes_used) == (MEAN_FRAME, None, None)
    assert row.psnr_db.mean == pytest.approx(100.0)
    assert row.ssim.mean == pytest.approx(1.0)


def test_the_mean_frame_by_hand(tmp_path: Path) -> None:
    """Grey that changes between two levels is half a step away from its mean."""
    clip = np.full(FORM.plane_shape(70), 128, np.uint8)
    clip[:, : FORM.height] = np.where(np.arange(70) % 2, 100, 150)[:, None, None]
    row = judged(vqvae(), tmp_path, [clip]).result().rows[1]
    assert row.psnr_db.mean == pytest.approx(-20 * np.log10(25 * 1.164383 / 255), abs=1e-3)


def test_training_shows_against_an_untrained_codebook(tmp_path: Path) -> None:
    encoder = vqvae(update="ema", revive_below=0.5, time_kernel=1)
    clips = [planes(40, seed) for seed in range(4)]
    video = torch.cat([rgb(torch.from_numpy(clip[None, ::4]), FORM.width, FORM.height) for clip in clips])
    optimizer = torch.optim.Adam(encoder.parameters(), 3e-3)
    encoder.train()
    for _ in range(150):
        loss = encoder.loss(Batch(video, torch.zeros(4, 1)))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    result = judged(encoder.eval(), tmp_path, clips).result()
    trained, _, untrained = result.rows
    assert [row.name for row in result.rows] == ["vqvae3d", MEAN_FRAME, UNTRAINED]
    assert (result.clips, result.frames, result.codes) == (4, 160, 24)
    assert trained.psnr_db.low > untrained.psnr_db.high  # type: ignore[operator]
    assert trained.ssim.mean > untrained.ssim.mean  # type: ignore[operator]
    uses = np.bincount(np.concatenate([encode(encoder, clip, FORM).ravel() for clip in clips]), minlength=24)
    assert trained.codes_used == np.count_nonzero(uses)
    assert trained.perplexity == pytest.approx(np.exp(-sum(p * np.log(p) for p in uses / uses.sum() if p)))


def test_figures_of_a_clip_are_those_of_its_frames(tmp_path: Path) -> None:
    encoder, clip = vqvae(), planes(37)
    row = judged(encoder, tmp_path, [clip]).result().rows[0]
    with torch.inference_mode():
        clear = rgb(torch.from_numpy(clip[None]), FORM.width, FORM.height)[0]
        made = encoder(clear[None]).video[0]
    assert row.psnr_db.mean == pytest.approx(psnr_db(float((clear - made).square().mean())), abs=1e-4)
    assert row.ssim.mean == pytest.approx(float(ssim(luma(clear), luma(made)).mean()), abs=1e-5)


def test_code_maps_of_the_chosen_clips_are_written(tmp_path: Path) -> None:
    judged(vqvae(), tmp_path / "codes", [planes(9), planes(2), planes(5)], ("k0", "k1"))
    written = {path.name: path.read_bytes() for path in (tmp_path / "codes").iterdir()}
    assert sorted(written) == ["k0.png", "k1.png"]
    four, two = (Image.open(io.BytesIO(written[name])).size for name in ("k0.png", "k1.png"))
    # Three pictures under each other per frame, four frames or as many as there are.
    assert four[0] == pytest.approx(2 * two[0], abs=2)
    assert four[1] == two[1]


def test_small_pictures_have_no_ssim_and_the_text_says_so(tmp_path: Path) -> None:
    form = Form(8, 8, Fraction(25, 2), 16000)
    judge = VideoJudge(vqvae(), form, tmp_path, ())
    judge.add("k", "g", np.full(form.plane_shape(3), 90, np.uint8))
    values = judge.result()
    assert values.rows[0].ssim == Figure(None, None, None)
    lines = video_text(values.to_json()).splitlines()
    assert lines[0].split("  ")[0] == "3 frames of 1 test clips"
    assert lines[2].split() == [*MEAN_FRAME.split(), "100.00", "[100.00,", "100.00]", "-", "-", "-"]
    assert lines[3].startswith(UNTRAINED) and lines[3].endswith("of 24")
