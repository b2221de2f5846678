"""Two ranks with their own data learn the codebook of one rank on all of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ranks
import torch
from v2a.models.audio_fc import moved

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, State]]:
    """What the two ranks have at the end, by kind."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    words = [[sys.executable, ranks.__file__, str(rank), str(folder)] for rank in range(2)]
    running = [subprocess.Popen(each, env=environment, stderr=subprocess.PIPE, text=True) for each in words]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(2)]


def alone(kind: str) -> State:
    """One rank on the joined batches."""
    batches = [torch.cat([ranks.batch(kind, step, rank) for rank in range(2)]) for step in range(ranks.STEPS)]
    return ranks.train(kind, ranks.new(kind), batches)


@pytest.mark.parametrize("kind", ranks.KINDS)
def test_two_ranks_have_the_codebook_of_one(learned: list[dict[str, State]], kind: str) -> None:
    expected = alone(kind)
    for state in learned:
        for name, value in expected.items():
            torch.testing.assert_close(
                state[kind][name], value, atol=1e-6, rtol=1e-6, msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.parametrize("kind", ranks.KINDS)
def test_both_ranks_have_exactly_the_same_and_use_other_codes(learned: list[dict[str, State]], kind: str) -> None:
    first, second = (state[kind] for state in learned)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    book = first["book"]
    own = [set(torch.cdist(book, _vectors(kind, rank)).argmin(dim=0).tolist()) for rank in range(2)]
    assert own[0] and own[1] and not own[0] & own[1]


def test_compiled_two_ranks_have_the_codebook_of_one_too(learned: list[dict[str, State]]) -> None:
    for state in learned:
        torch.testing.assert_close(state["compiled"], state["ema"], atol=1e-6, rtol=1e-6)


def test_two_ranks_move_clips_as_one_does(learned: list[dict[str, State]]) -> None:
    torch.manual_seed(7)
    expected = moved(ranks.maps(), 3)
    assert torch.equal(torch.cat([state["moved"]["maps"] for state in learned]), expected)
    assert not torch.equal(expected, ranks.maps())


def _vectors(kind: str, rank: int) -> torch.Tensor:
    x = ranks.batch(kind, 0, rank).movedim(1, -1)
    return torch.nn.functional.layer_norm(x, (ranks.DIM,)).reshape(-1, ranks.DIM)


def test_broadcasting_the_first_ranks_statistics_gives_another_codebook(learned: list[dict[str, State]]) -> None:
    expected = alone("ema")
    wrong = learned[0]["broadcast"]
    assert float((wrong["book"] - expected["book"]).abs().max()) > 0.1
    # What only the second rank saw has no codes: the first rank's own are nearest to none of it.
    far = torch.cdist(_vectors("ema", 1), wrong["book"]).min(dim=1).values.mean()
    assert far > 2 * torch.cdist(_vectors("ema", 1), expected["book"]).min(dim=1).values.mean()
