"""Pictures of many videos go through CLIP together, whole or in squares, and no score depends on it."""

from pathlib import Path

import numpy as np
import pytest
from tiny import ARCHITECTURE

from v2a_data.errors import UsageError
from v2a_data.scorers import clip_topic
from v2a_data.scorers.base import Prompts, VideoTap, batches
from v2a_data.scorers.clip_topic import ClipTopic, squares

RED, BLUE = (200, 30, 30), (40, 60, 200)


def topic(clip: tuple[Path, Path], **more: object) -> ClipTopic:
    config = {
        "model": ARCHITECTURE,
        "weights": str(clip[1]),
        "architecture_file": str(clip[0]),
        "image_px": 32,
        "on": ("a red picture",),
        "off": ("a blue picture",),
    }
    scorer = ClipTopic(ClipTopic.Config(**{**config, **more}))  # type: ignore[arg-type]
    scorer.open("cpu")
    return scorer


def video(number: int, windows: int, shape: tuple[int, int] = (32, 40), label: str = "Red") -> VideoTap:
    """Frames between red and blue, each with noise of its own."""
    rng = np.random.default_rng(number)
    share = rng.random((windows, 2, 1, 1, 1))
    colour = share * np.asarray(RED) + (1 - share) * np.asarray(BLUE)
    frames = np.clip(colour + rng.normal(0, 20, (windows, 2, *shape, 3)), 0, 255).astype(np.uint8)
    starts = np.arange(windows) * 2.0
    return VideoTap(f"sy-0-{number}", label, starts, frames, starts[:, None] + np.asarray([0.5, 1.5]))


def test_no_score_depends_on_the_batch(clip: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = topic(clip, frames_per_window=2, labels={"Blue": Prompts(("a blue picture",), ("a red picture",))})
    taps = [video(0, 3), video(1, 1, (32, 56)), video(2, 7, (57, 32), "Blue"), video(3, 0), video(4, 5)]
    alone = [scorer.score([tap])[0] for tap in taps]
    assert [len(found.evidence_s) for found in alone] == [3, 1, 7, 0, 5]
    for size in (1, 5, 32):
        monkeypatch.setattr(clip_topic, "_BATCH", size)
        for order in (taps, taps[::-1]):
            found = scorer.score(order)[:: 1 if order is taps else -1]
            for one, other in zip(alone, found, strict=True):
                assert other.fields["seen"] == pytest.approx(one.fields["seen"], abs=1e-6)
                assert np.array_equal(other.evidence_s, one.evidence_s)


def test_batches_are_full_across_videos(clip: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, sizes = topic(clip, frames_per_window=2), []
    embed = scorer._embed_pictures
    monkeypatch.setattr(scorer, "_embed_pictures", lambda batch: sizes.append(len(batch)) or embed(batch))
    scorer.score([video(n, 5) for n in range(7)])
    assert sizes == [32, 32, 6]
    assert list(batches("abcde", 2)) == [["a", "b"], ["c", "d"], ["e"]]


def test_a_small_thing_in_a_corner_is_found_in_its_tile(clip: tuple[Path, Path]) -> None:
    frames = np.full((1, 1, 64, 114, 3), BLUE, np.uint8)
    frames[:, :, :32, 82:] = RED
    tap = VideoTap("sy-0-0", "Red", np.zeros(1), frames, np.ones((1, 1)))
    whole = VideoTap("sy-0-0", "Red", np.zeros(1), frames[:, :, ::2, ::2], np.ones((1, 1)))
    assert topic(clip).score([whole])[0].fields["seen"][0] < 0.2
    tiled = topic(clip, tiles=8)
    assert (tiled.needs.frames_per_window, tiled.needs.frame_px) == (1, 64)
    assert tiled.score([tap])[0].fields["seen"][0] > 0.8
    # What is nowhere in the picture stays unseen.
    frames[:] = BLUE
    assert tiled.score([tap])[0].fields["seen"][0] < 0.2


@pytest.mark.parametrize("upright", [False, True])
def test_tiles_lie_in_two_rows_over_the_whole_picture(upright: bool) -> None:
    picture = np.zeros((8, 20, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.arange(8)[:, None], np.arange(20)
    found = list(squares(picture.transpose(1, 0, 2) if upright else picture, 4, 5))
    assert [square.shape for square in found] == [(4, 4, 3)] * 6
    corners = [tuple(square[0, 0, :2].tolist()) for square in found[1:]]
    assert corners == [(0, 0), (0, 8), (0, 16), (4, 0), (4, 16)]
    # The middle square, halved: means of 2 x 2 pixels.
    middle = found[0].transpose(1, 0, 2) if upright else found[0]
    assert middle[:, 0, 0].tolist() == [0, 2, 4, 6]
    assert middle[0, :, 1].tolist() == [6, 8, 10, 12]


def test_one_tile_is_the_middle_of_its_row() -> None:
    picture = np.arange(20, dtype=np.uint8)[None, :, None].repeat(8, axis=0).repeat(3, axis=2)
    assert next(iter(list(squares(picture, 4, 1))[1:]))[0, 0, 0] == 8
    (alone,) = squares(picture, 8, 0)
    assert alone[0, :, 0].tolist() == list(range(6, 14))


def test_templates_are_the_recipes(clip: tuple[Path, Path]) -> None:
    import torch

    scorer = topic(clip, templates=("{} indeed", "{} {}"))
    with torch.inference_mode():
        (found,) = scorer._embed(["a red picture"])
        tokens = scorer._tokenizer(["a red picture indeed", "a red picture a red picture"])
        mean = scorer._model.encode_text(tokens, normalize=True).mean(dim=0)
    assert torch.allclose(found, mean / mean.norm(), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tiles": -1}, "tiles: 0 or more, got -1"),
        ({"templates": ()}, 'each one holds "{}"'),
        ({"templates": ("{}", "a photo")}, 'each one holds "{}"'),
        ({"templates": ("{0.__class__}",)}, 'each one holds "{}"'),
    ],
)
def test_squares_and_templates_are_checked(change: dict[str, object], words: str, clip: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match=words):
        topic(clip, **change)
