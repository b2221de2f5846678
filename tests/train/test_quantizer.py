"""The vector quantizer: nearest codes, gradients, moving averages, revival, resuming."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from v2a.models import quantizer as module
from v2a.models.quantizer import Quantizer, perplexity

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
    chosen = far.gather(1, quantizer.nearest(flat)[:, None])[:, 0]
    # Equal distances may fall either way; nothing nearer may be left.
    torch.testing.assert_close(chosen, far.min(dim=1).values, atol=1e-5, rtol=0)


def test_tiles_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    quantizer = started(codes=33)
    flat = torch.randn(1001, SHAPE[1])
    whole = quantizer.nearest(flat)
    monkeypatch.setattr(module, "_TILE", 64)
    assert torch.equal(quantizer.nearest(flat), whole)
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
    assert float(perplexity(torch.zeros(50, dtype=torch.int64), size)) == pytest.approx(1.0)
    assert float(perplexity(torch.arange(size).repeat(3), size)) == pytest.approx(size, rel=1e-5)


def test_perplexity_is_that_of_the_batch() -> None:
    quantizer = started()
    out = quantizer(torch.randn(SHAPE))
    share = torch.bincount(out.codes.reshape(-1), minlength=7) / out.codes.numel()
    entropy = torch.distributions.Categorical(share).entropy()
    torch.testing.assert_close(out.perplexity, entropy.exp())
