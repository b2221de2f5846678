"""The video encoder: exact shapes, bounds, its losses, its complaint; it learns."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from v2a.models.base import Batch, count_parameters
from v2a.models.vqvae3d import Vqvae3d

from v2a_data.errors import UsageError

STRIDES = [((1, 2, 2), (1, 2, 2)), ((2, 2, 2), (2, 2, 2)), ((2, 4, 4), (1, 1, 2)), ((1, 1, 1), (3, 3, 1))]

PAPERS = STRIDES[1]


def model(**options: object) -> Vqvae3d:
    return Vqvae3d(Vqvae3d.Config(**{"channels": (4, 6), "codes": 16, **options}))  # type: ignore[arg-type]


def batch(video: torch.Tensor) -> Batch:
    return Batch(video, torch.zeros(len(video), 1))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(STRIDES), st.integers(1, 17), st.integers(1, 21), st.integers(1, 21))
def test_any_size_comes_back_exactly(strides: tuple, frames: int, height: int, width: int) -> None:
    vqvae = model(strides=strides)
    video = torch.rand(1, 3, frames, height, width)
    out = vqvae(video)
    first, second = strides
    assert vqvae.stride == tuple(a * b for a, b in zip(first, second, strict=True))
    sizes = zip((frames, height, width), vqvae.stride, strict=True)
    assert out.quantized.codes.shape == (1, *(-(-size // stride) for size, stride in sizes))
    assert out.video.shape == video.shape
    assert 0 <= float(out.video.detach().min()) <= float(out.video.detach().max()) <= 1


@pytest.mark.parametrize("frames", [*range(1, 18), 240, 250, 299, 300])
def test_the_lengths_that_lose_frames_elsewhere(frames: int) -> None:
    video = torch.rand(1, 3, frames, 4, 4)
    assert model(strides=PAPERS)(video).video.shape == video.shape


def test_an_even_time_kernel_is_refused() -> None:
    with pytest.raises(UsageError, match="time_kernel: an odd number of frames, got 2"):
        model(time_kernel=2)


def test_padding_repeats_the_last_frame_and_row() -> None:
    vqvae = model(strides=STRIDES[1]).eval()
    video = torch.rand(1, 3, 5, 6, 9)
    by_hand = F.pad(video, (0, 3, 0, 2, 0, 3), mode="replicate")
    assert torch.equal(vqvae.encode(video).codes, vqvae.encode(by_hand).codes)


def test_one_frame_at_a_time_with_time_kernel_1() -> None:
    vqvae = model(time_kernel=1).eval()
    video = torch.rand(1, 3, 4, 8, 8)
    whole = vqvae.encode(video).codes
    parts = [vqvae.encode(video[:, :, i : i + 1]).codes for i in range(4)]
    assert torch.equal(whole, torch.cat(parts, dim=1))


def test_the_loss_is_the_weighted_sum_of_the_three() -> None:
    torch.manual_seed(1)
    video = torch.rand(2, 3, 2, 8, 8)
    vqvae = model(reconstruction_weight=3.0, codebook_weight=5.0, commitment_weight=7.0)
    vqvae.quantizer.book_started.fill_(True)
    out = vqvae(video)
    loss = vqvae.loss(batch(video))
    error = F.mse_loss(out.video, video)
    total = 3 * error + 5 * out.quantized.codebook_loss + 7 * out.quantized.commitment_loss
    torch.testing.assert_close(loss.total, total)
    assert loss.parts["reconstruction"] == pytest.approx(float(error.detach()))
    assert 10 ** (-loss.parts["psnr_db"] / 10) == pytest.approx(float(error.detach()), rel=1e-4)


def test_ema_form_leaves_the_codebook_loss_out() -> None:
    video = torch.rand(1, 3, 2, 8, 8)
    totals = []
    for weight in (0.0, 100.0):
        torch.manual_seed(2)
        totals.append(model(update="ema", codebook_weight=weight).loss(batch(video)).total)
    assert torch.equal(*totals)


@pytest.mark.parametrize(("perplexity", "complains"), [(1.0, True), (7.9, True), (8.0, False), (200.0, False)])
def test_a_collapsed_codebook_is_said(perplexity: float, complains: bool) -> None:
    found = model().complaint({"perplexity": perplexity})
    assert (found is not None) == complains
    if found:
        assert f"perplexity {perplexity:.1f} of 16 codes" in found
        assert "update = 'ema'" in found


def test_activation_bytes_grow_with_everything_and_cover_the_layers() -> None:
    vqvae = model()
    base = vqvae.activation_bytes(2, 8, 16, 16)
    assert vqvae.activation_bytes(6, 8, 16, 16) == 3 * base
    assert vqvae.activation_bytes(2, 24, 16, 16) == 3 * base
    assert vqvae.activation_bytes(2, 8, 32, 16) == 2 * base
    outputs = 0

    def count(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal outputs
        outputs += output.numel() * 4

    for layer in (*vqvae.encoder, *vqvae.decoder):
        layer.register_forward_hook(count)
    vqvae(torch.rand(2, 3, 8, 16, 16))
    assert outputs <= base <= 10 * outputs


@pytest.mark.parametrize("update", ["gradient", "ema"])
def test_it_learns_a_few_pictures_by_heart(update: str) -> None:
    torch.manual_seed(0)
    colours = torch.rand(4, 3, 1, 2, 2)
    video = F.interpolate(colours, size=(2, 16, 16))
    vqvae = model(channels=(16, 24), codes=32, update=update, reconstruction_weight=20.0, revive_below=1.0)
    optimizer = torch.optim.Adam([p for p in vqvae.parameters() if p.requires_grad], lr=3e-3)
    psnr = []
    for _ in range(200):
        loss = vqvae.loss(batch(video))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        psnr.append(loss.parts["psnr_db"])
    assert psnr[-1] > psnr[0] + 10
    # What is left comes through the codes: other codes give another picture.
    vqvae.eval()
    codes = vqvae.encode(video).codes
    assert torch.equal(vqvae.quantizer.lookup(codes), F.embedding(codes, vqvae.quantizer.book).movedim(-1, 1))
    own = F.mse_loss(vqvae.decode(vqvae.quantizer.lookup(codes), 2, 16, 16), video)
    swapped = F.mse_loss(vqvae.decode(vqvae.quantizer.lookup(codes.roll(1, 0)), 2, 16, 16), video)
    assert swapped > 3 * own
    assert vqvae.complaint(loss.parts) is None


def test_a_book_of_averages_is_no_trained_parameter() -> None:
    assert count_parameters(model()) - count_parameters(model(update="ema")) == 16 * 6


def test_fsq_learns_without_a_codebook_and_k_means_starts_one() -> None:
    torch.manual_seed(0)
    video = F.interpolate(torch.rand(4, 3, 1, 2, 2), size=(2, 16, 16))
    vqvae = model(channels=(16, 24), update="fsq", levels=(5, 4, 3), reconstruction_weight=20.0)
    assert vqvae.codes == 60
    optimizer = torch.optim.Adam(vqvae.parameters(), lr=3e-3)
    psnr = []
    for _ in range(150):
        loss = vqvae.loss(batch(video))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        psnr.append(loss.parts["psnr_db"])
    assert psnr[-1] > psnr[0] + 8
    used = vqvae.epoch_figures()["codes_used"]
    vqvae.eval()
    out = vqvae.encode(video)
    assert used >= len(out.codes.unique()) > 4
    torch.testing.assert_close(vqvae.lookup(out.codes), out.values)
    started = model(init="kmeans")
    started.loss(batch(video))
    assert bool(started.quantizer.book_started)


@pytest.mark.parametrize("options", [{"update": "fsq"}, {"levels": (4, 4)}, {"update": "ema", "levels": (4,)}])
def test_levels_belong_to_fsq(options: dict) -> None:
    with pytest.raises(UsageError, match="levels: update = 'fsq' needs them"):
        model(**options)
