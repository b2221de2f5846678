"""The vector quantizer: nearest codes, gradients, moving averages, revival, resuming."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from v2a.models import nearest as module
from v2a.models.kmeans import kmeans
from v2a.models.nearest import counted, nearest, perplexity
from v2a.models.quantizer import Quantizer

SHAPE = (2, 6, 3, 4, 5)  # batch, dim, frames, rows, columns


def normed(x: torch.Tensor) -> torch.Tensor:
    """What the quantizer compares with its book: `(n, dim)`."""
    return F.layer_norm(x.movedim(1, -1), (x.shape[1],)).reshape(-1, x.shape[1])


def started(codes: int = 7, update: str = "gradient", **options: float) -> Quantizer:
    quantizer = Quantizer(codes, SHAPE[1], update, **options)  # type: ignore[arg-type]
    quantizer.book_started.fill_(True)
    return quantizer


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(2, 24), st.integers(0, 1000))
def test_nearest_is_the_brute_force_nearest(codes: int, vectors: int, dim: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    quantizer = Quantizer(codes, dim, "gradient")
    flat = torch.randn(vectors, dim, generator=generator)
    far = torch.cdist(flat.double(), quantizer.book.detach().double())
    chosen = far.gather(1, nearest(flat, quantizer.book)[:, None])[:, 0]
    # Equal distances may fall either way; nothing nearer may be left.
    torch.testing.assert_close(chosen, far.min(dim=1).values, atol=1e-5, rtol=0)


def test_tiles_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    quantizer = started(codes=33)
    flat = torch.randn(1001, SHAPE[1])
    whole = nearest(flat, quantizer.book)
    monkeypatch.setattr(module, "_CPU_TILE", 64 * 33)
    assert torch.equal(nearest(flat, quantizer.book), whole)
    assert len(whole.unique()) > 10


def test_values_are_the_book_and_look_up_again() -> None:
    quantizer = started().eval()
    out = quantizer(torch.randn(SHAPE))
    assert out.codes.shape == (2, 3, 4, 5)
    assert out.codes.dtype == torch.int64
    torch.testing.assert_close(out.values, quantizer.lookup(out.codes))


def test_the_gradient_goes_straight_through_the_choice() -> None:
    x = torch.randn(SHAPE, requires_grad=True)
    weights = torch.randn(SHAPE)
    (started()(x).values * weights).sum().backward()
    again = x.detach().clone().requires_grad_()
    (F.layer_norm(again.movedim(1, -1), (SHAPE[1],)).movedim(-1, 1) * weights).sum().backward()
    assert x.grad is not None and again.grad is not None
    assert again.grad.abs().max() > 0.1
    torch.testing.assert_close(x.grad, again.grad)


def test_losses_are_those_of_the_paper_and_go_to_one_side_each() -> None:
    quantizer = started()
    x = torch.randn(SHAPE, requires_grad=True)
    out = quantizer(x)
    flat, book = normed(x.detach()), quantizer.book.detach()
    error = (flat - book[torch.cdist(flat, book).argmin(dim=1)]).square().mean()
    torch.testing.assert_close(out.codebook_loss.detach(), error)
    torch.testing.assert_close(out.commitment_loss.detach(), error)
    out.commitment_loss.backward(retain_graph=True)
    assert quantizer.book.grad is None and x.grad is not None and x.grad.abs().max() > 0
    x.grad = None
    out.codebook_loss.backward()
    assert x.grad is None and quantizer.book.grad.abs().max() > 0  # type: ignore[union-attr]


def test_gradient_form_moves_the_book_by_its_loss_only() -> None:
    quantizer = started()
    x, before = torch.randn(SHAPE), quantizer.book.detach().clone()
    out = quantizer(x)
    assert torch.equal(quantizer.book.detach(), before)
    out.codebook_loss.backward()
    torch.optim.SGD(quantizer.parameters(), lr=0.5).step()
    flat = normed(x)
    codes = out.codes.reshape(-1)
    for code in range(len(before)):
        mine = flat[codes == code]
        pull = (mine - before[code]).sum(dim=0) * 2 / flat.numel() * 0.5
        torch.testing.assert_close(quantizer.book.detach()[code], before[code] + pull)


def test_ema_form_has_no_gradient_and_goes_to_the_mean_of_its_vectors() -> None:
    quantizer = started(update="ema", decay=0.5)
    x = torch.randn(SHAPE)
    for _ in range(60):
        out = quantizer(x)
    assert not quantizer.book.requires_grad
    assert not out.codebook_loss.requires_grad
    flat, codes = normed(x), out.codes.reshape(-1)
    used = codes.unique()
    assert len(used) > 2
    for code in used:
        torch.testing.assert_close(quantizer.book[code], flat[codes == code].mean(dim=0), atol=1e-5, rtol=0)


def test_one_ema_step_by_hand() -> None:
    quantizer = started(codes=3, update="ema", decay=0.9)
    x, book = torch.randn(SHAPE), quantizer.book.clone()
    codes = quantizer(x).codes.reshape(-1)
    flat = normed(x)
    for code in range(3):
        mine = flat[codes == code]
        expected = (0.9 * book[code] + 0.1 * mine.sum(dim=0)) / (0.9 + 0.1 * len(mine))
        torch.testing.assert_close(quantizer.book[code], expected)


def test_nothing_is_learned_outside_training() -> None:
    quantizer = started(update="ema", revive_below=1.0).eval()
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer(torch.randn(SHAPE))
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())


@pytest.mark.parametrize("codes", [5, 500])
def test_the_book_starts_from_the_first_batch(codes: int) -> None:
    quantizer = Quantizer(codes, SHAPE[1], "gradient")
    x = torch.randn(SHAPE)
    quantizer(x)
    distance = torch.cdist(quantizer.book.detach(), normed(x)).min(dim=1).values
    assert distance.max() < 0.1
    assert bool(quantizer.book_started)


def test_a_resumed_run_keeps_its_book() -> None:
    first = Quantizer(9, SHAPE[1], "gradient")
    first(torch.randn(SHAPE))
    second = Quantizer(9, SHAPE[1], "gradient")
    second.load_state_dict(first.state_dict())
    second(torch.randn(SHAPE))
    assert torch.equal(second.book, first.book)


def test_a_fresh_state_starts_again_and_a_started_one_never_does() -> None:
    fresh = Quantizer(9, SHAPE[1], "gradient").state_dict()
    quantizer = Quantizer(9, SHAPE[1], "gradient")
    quantizer(torch.randn(SHAPE))
    started_state = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer.load_state_dict(fresh)
    quantizer(torch.randn(SHAPE))
    assert not torch.equal(quantizer.book, started_state["book"])
    quantizer.load_state_dict(started_state)
    quantizer(torch.randn(SHAPE))
    assert torch.equal(quantizer.book, started_state["book"])


def test_kmeans_is_numpys() -> None:
    rng = np.random.default_rng(3)
    places = 4 * rng.standard_normal((5, 3))
    points = (places[rng.integers(0, 5, 400)] + rng.standard_normal((400, 3))).astype(np.float32)
    centres = np.concatenate([points[:6], [[90.0, 90.0, 90.0]]]).astype(np.float32)  # nothing is near the last
    expected = centres.astype(np.float64)
    for _ in range(10):
        owner = ((points[:, None] - expected[None]) ** 2).sum(axis=2).argmin(axis=1)
        expected = np.stack([points[owner == i].mean(axis=0) if (owner == i).any() else expected[i] for i in range(7)])
    found = kmeans(torch.from_numpy(points), torch.from_numpy(centres), 10).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (found[6] == 90).all()


def test_kmeans_start_lies_nearer_to_the_first_batch_than_its_vectors_do() -> None:
    x = torch.randn(4, 6, 4, 8, 8)
    far = []
    for init in ("batch", "kmeans"):
        torch.manual_seed(5)
        quantizer = Quantizer(16, 6, "ema", init=init)  # type: ignore[arg-type]
        far.append(float(quantizer(x).commitment_loss))
        # The moving averages start from the same vectors.
        assert bool(quantizer.book_started)
    assert far[1] < 0.8 * far[0]


def test_distances_are_fp32_under_autocast() -> None:
    torch.manual_seed(0)
    quantizer = started(codes=400)
    flat = torch.randn(4000, SHAPE[1])
    exact = torch.cdist(flat.double(), quantizer.book.detach().double()).argmin(dim=1)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = (quantizer.book.square().sum(dim=1) / 2 - flat @ quantizer.book.T).argmin(dim=1)
        ours = nearest(flat, quantizer.book)
    assert (rounded != exact).float().mean() > 0.003  # what bf16 does
    assert (ours != exact).float().mean() < 0.0005


def test_usage_counts_the_whole_epoch_and_starts_again() -> None:
    quantizer = started(codes=50)
    seen = [quantizer(torch.randn(SHAPE)) for _ in range(3)]
    codes = torch.cat([out.codes.reshape(-1) for out in seen])
    figures = quantizer.usage.take()
    assert figures["codes_used"] == len(codes.unique()) > max(len(out.codes.unique()) for out in seen)
    share = torch.bincount(codes, minlength=50) / len(codes)
    assert figures["epoch_perplexity"] == pytest.approx(
        float(torch.distributions.Categorical(share).entropy().exp()), rel=1e-5
    )
    assert quantizer.usage.take()["codes_used"] == 0
    quantizer.eval()(torch.randn(SHAPE))
    assert quantizer.usage.take()["codes_used"] == 0


def test_checkpoints_from_before_usage_was_counted_are_read() -> None:
    state = {name: value for name, value in started().state_dict().items() if name != "usage.used"}
    started().load_state_dict(state)


def test_revived_codes_do_not_fall_back() -> None:
    quantizer = started(codes=4, update="ema", decay=0.5, revive_below=0.5)
    quantizer.book[0], quantizer.sums[0] = 100.0, 100.0  # far from every vector: never chosen
    x = torch.randn(SHAPE)
    flat = normed(x)
    quantizer(x)
    assert float(quantizer.counts[0]) == 0.5  # halved, not yet below the limit
    quantizer(x)
    revived = quantizer.book[0].clone()
    assert (flat == revived).all(dim=1).any()
    torch.testing.assert_close(quantizer.sums[0], revived * quantizer.counts[0])
    assert float(quantizer.counts[0]) == 1.0
    quantizer(x)
    assert quantizer.book[0].norm() < 10  # its old averages would have thrown it out to 100 again


def test_codes_in_use_are_not_revived() -> None:
    quantizer = started(codes=2, revive_below=0.5)
    before = quantizer.book.detach().clone()
    quantizer(torch.randn(SHAPE))
    assert float(quantizer.counts.min()) > 0.5
    assert torch.equal(quantizer.book.detach(), before)


@pytest.mark.parametrize("size", [1, 2, 16, 300])
def test_perplexity_of_one_code_and_of_all_alike(size: int) -> None:
    assert float(perplexity(counted(torch.zeros(50, dtype=torch.int64), size))) == pytest.approx(1.0)
    assert float(perplexity(counted(torch.arange(size).repeat(3), size))) == pytest.approx(size, rel=1e-5)


def test_perplexity_is_that_of_the_batch() -> None:
    quantizer = started()
    out = quantizer(torch.randn(SHAPE))
    share = torch.bincount(out.codes.reshape(-1), minlength=7) / out.codes.numel()
    entropy = torch.distributions.Categorical(share).entropy()
    torch.testing.assert_close(out.perplexity, entropy.exp())
