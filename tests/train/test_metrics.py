"""Metrics against outside references and by hand; what cannot be won by ignoring the picture."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import noise_track
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from v2a.metrics import METRICS
from v2a.metrics.bank import Setting
from v2a.metrics.base import Clip, Sound, pearson
from v2a.metrics.features import (
    MELS,
    WINDOW,
    envelope,
    log_mel,
    mel_filters,
    onset_strength,
    onsets,
    spectrogram,
)
from v2a.metrics.in_sync import lag
from v2a.metrics.onset_f1 import f1
from v2a.metrics.rows import BASELINES

RATE = 16000


def hits(times: list[float], seconds: float, hz: float = 500.0, decay: float = 25.0) -> np.ndarray:
    """Decaying tones at these times over faint noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    out = 1e-4 * np.random.default_rng(0).standard_normal(len(time))
    for start in times:
        later = np.maximum(time - start, 0)
        out += (time >= start) * 0.4 * np.exp(-decay * later) * np.sin(2 * np.pi * hz * later)
    return out.astype(np.float32)


def synthetic(per_class: int = 10, seconds: float = 2.0, seed: int = 0) -> list[Clip]:
    """Two classes that differ in pitch; within a class the clips differ in time."""
    rng = np.random.default_rng(seed)
    clips = []
    for label, hz in (("low", 400.0), ("high", 3000.0)):
        for i in range(per_class):
            times = np.sort(rng.uniform(0.1, seconds - 0.2, 4)).tolist()
            key = f"{label}-{i}"
            clips.append(Clip(key, label, key, Sound(hits(times, seconds, hz, decay=12.0), RATE, key)))
    return clips


def values(metric: str, generated: list[Sound], clips: list[Clip]) -> list[float | None]:
    return METRICS[metric]()(generated, clips)


def row(name: str, clips: list[Clip]) -> list[Sound]:
    """A baseline that needs no training clips."""
    made = BASELINES[name](Setting(clips))
    assert made is not None
    return made


# Features


@pytest.mark.parametrize("rate", [16000, 22050, 44100])
def test_mel_filters_are_librosas(rate: int) -> None:
    theirs = librosa.filters.mel(sr=rate, n_fft=WINDOW, n_mels=MELS, fmin=0.0, fmax=8000.0, htk=False, norm="slaney")
    np.testing.assert_allclose(mel_filters(rate), theirs, atol=1e-7)


@pytest.mark.parametrize("seconds", [0.1, 1.0, 1.013])
def test_the_spectrogram_is_librosas(seconds: float) -> None:
    sound = noise_track(seconds, RATE)
    theirs = np.abs(librosa.stft(sound, n_fft=WINDOW, hop_length=320, pad_mode="reflect"))
    ours = spectrogram(sound, RATE)
    assert ours.shape == (WINDOW // 2 + 1, len(sound) // 320)
    np.testing.assert_allclose(ours, theirs[:, : ours.shape[1]], atol=1e-3)


def test_log_mel_has_its_floor() -> None:
    assert float(np.unique(log_mel(np.zeros(RATE, np.float32), RATE))[0]) == pytest.approx(np.log(1e-5))
    assert log_mel(np.zeros(RATE, np.float32), RATE).shape == (MELS, 50)


def test_the_envelope_is_the_rms_of_40_ms() -> None:
    sound = np.concatenate([np.full(640, 0.5), np.zeros(640), np.tile([0.3, -0.3], 320), np.ones(100)])
    np.testing.assert_allclose(envelope(sound, RATE), [0.5, 0, 0.3])


def test_onset_strength_is_librosas() -> None:
    sound = hits([0.3, 0.62, 1.4], 2.0)
    mel = mel_filters(RATE) @ spectrogram(sound, RATE)
    decibels = librosa.amplitude_to_db(mel, ref=1.0, amin=1e-5, top_db=80.0)
    theirs = librosa.onset.onset_strength(S=decibels, sr=RATE, hop_length=320, n_fft=WINDOW, center=False)
    np.testing.assert_allclose(onset_strength(sound, RATE), theirs, atol=1e-3)


@pytest.mark.parametrize("times", [[0.5], [0.3, 0.62, 1.4], [0.2, 0.4, 0.6, 0.8, 1.0]])
def test_onsets_are_found_where_they_are(times: list[float]) -> None:
    found = onsets(hits(times, 2.0), RATE)
    assert len(found) == len(times)
    np.testing.assert_allclose(found, times, atol=0.05)


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(RATE, np.float32),
        np.zeros(0, np.float32),
        0.1 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32),
        np.full(RATE, 1e-6, np.float32),
    ],
    ids=["silence", "nothing", "steady noise", "next to nothing"],
)
def test_where_nothing_begins_there_are_none(sound: np.ndarray) -> None:
    assert len(onsets(sound, RATE)) == 0


# Onset F1


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        ([], [], 1.0),
        ([1.0], [], 0.0),
        ([], [1.0], 0.0),
        ([1.0, 2.0], [1.04, 2.06], 0.5),  # 50 ms
        ([1.0, 1.01, 1.02], [1.0], 0.5),  # one to one: extra hits count against it
        ([1.0], [0.99, 1.0, 1.01], 0.5),
        ([1.0, 1.04], [0.96, 1.0], 1.0),  # each has one, though both would take 1.0
        ([2.0, 1.0], [1.0, 2.0], 1.0),
    ],
)
def test_f1_by_hand(found: list[float], wanted: list[float], expected: float) -> None:
    assert f1(np.asarray(found), np.asarray(wanted)) == pytest.approx(expected)


times_ms = st.lists(st.integers(0, 600), max_size=9, unique=True)


@settings(max_examples=200)
@given(times_ms, times_ms)
def test_f1_matches_as_many_as_can_be_matched(found: list[int], wanted: list[int]) -> None:
    a, b = np.sort(np.asarray(found, float)), np.sort(np.asarray(wanted, float))
    ours = f1(a, b, tolerance_s=50.0)
    if not len(a) or not len(b):
        assert ours == float(len(a) == len(b))
        return
    pairs = csr_matrix(np.abs(a[:, None] - b[None]) <= 50.0)
    hits_possible = int((maximum_bipartite_matching(pairs, perm_type="column") >= 0).sum())
    assert ours == pytest.approx(2 * hits_possible / (len(a) + len(b)))


# The rest


def one(sound: np.ndarray) -> list[Clip]:
    return [Clip("k", "x", "g", Sound(sound, RATE))]


def test_pearson_is_numpys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 50))
    assert pearson(a, b + a) == pytest.approx(np.corrcoef(a, b + a)[0, 1])
    assert pearson(a, -3 * a + 1) == pytest.approx(-1)
    assert pearson(a, np.full(50, 0.1)) is None


def test_envelope_correlation() -> None:
    sound = hits([0.3, 0.9, 1.4], 2.0)
    rms = [np.log(np.sqrt((s.astype(float).reshape(-1, 640) ** 2).mean(axis=1)) + 1e-3) for s in (sound, sound[::-1])]
    reference = np.corrcoef(*rms)[0, 1]
    reversed_, louder, silence = (Sound(s, RATE) for s in (sound[::-1], sound, 0 * sound))
    assert values("envelope_corr", [reversed_], one(sound)) == [pytest.approx(reference)]
    assert values("envelope_corr", [louder], one(sound)) == [pytest.approx(1)]
    assert values("envelope_corr", [silence], one(sound)) == [0.0]


def test_log_spectral_distance() -> None:
    sound = noise_track(1.0, RATE)
    assert values("lsd", [Sound(sound, RATE)], one(sound)) == [0.0]
    # Twice as loud is ln 2 in every bin, where nothing lies at the floor.
    loud = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert values("lsd", [Sound(2 * loud, RATE)], one(loud)) == [pytest.approx(np.log(2), rel=1e-3)]


def torchs_mr_stft(generated: np.ndarray, real: np.ndarray) -> float:
    """The definition of Parallel WaveGAN in torch's words."""
    parts = []
    for size, hop, window in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        x, y = (
            torch.stft(torch.from_numpy(s), size, hop, window, torch.hann_window(window), return_complex=True)
            .abs()
            .square()
            .clamp_min(1e-7)
            .sqrt()
            for s in (generated, real)
        )
        parts.append(float(torch.norm(y - x, p="fro") / torch.norm(y, p="fro") + (y.log() - x.log()).abs().mean()))
    return sum(parts) / 3


@pytest.mark.parametrize("seconds", [0.2, 1.0, 1.013])
def test_mr_stft_is_torchs(seconds: float) -> None:
    real = noise_track(seconds, RATE)
    for generated in (hits([0.05, 0.1], seconds), 0 * real, 0.3 * real):
        found = values("mr_stft", [Sound(generated, RATE)], one(real))
        assert found == [pytest.approx(torchs_mr_stft(generated, real), rel=1e-4)]


def test_mr_stft_by_hand() -> None:
    real = 0.1 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert values("mr_stft", [Sound(real, RATE)], one(real)) == [0.0]
    # Twice as loud: ‖2Y − Y‖ / ‖Y‖ = 1, and ln 2 in every bin that is not at the floor.
    assert values("mr_stft", [Sound(2 * real, RATE)], one(real)) == [pytest.approx(1 + np.log(2), rel=1e-3)]
    assert values("mr_stft", [Sound(real, RATE)], one(0 * real)) == [None]
    longer = np.concatenate([real, real])
    assert values("mr_stft", [Sound(longer, RATE)], one(real)) == [0.0]


@pytest.mark.parametrize(("moved_s", "expected"), [(0.0, 1.0), (0.04, 1.0), (-0.04, 1.0), (0.1, 0.0), (-0.3, 0.0)])
def test_in_sync_is_within_a_frame_of_video(moved_s: float, expected: float) -> None:
    times = np.asarray([0.5, 0.83, 1.4])
    real, moved = hits(times.tolist(), 2.0), hits((times + moved_s).tolist(), 2.0, hz=700.0)
    assert values("in_sync", [Sound(moved, RATE)], one(real)) == [expected]


@pytest.mark.parametrize("shift", [-25, -3, 0, 7, 25])
def test_the_lag_is_the_shift(shift: int) -> None:
    real = np.zeros(100)
    real[[40, 47, 61]] = (3.0, 1.0, 2.0)
    assert lag(np.roll(real, shift), real) == shift
    # numpy's own correlation, whose middle is lag 0
    noise = np.random.default_rng(0).random((2, 100))
    a, b = noise - noise.mean(axis=1, keepdims=True)
    whole = np.correlate(a, b, "full")[99 - 25 : 99 + 26]
    assert lag(noise[0], noise[1]) == int(np.argmax(whole)) - 25


def test_what_does_not_change_is_not_in_sync() -> None:
    real = hits([0.5], 1.0)
    assert values("in_sync", [Sound(0 * real, RATE)], one(real)) == [0.0]
    assert values("in_sync", [Sound(real, RATE)], one(0 * real)) == [None]


def test_noise_is_in_sync_by_chance() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 100, 4 * RATE)).astype(np.float32)
    made = [Sound(0.1 * sound, RATE) for sound in noise[0]]
    clips = [one(0.1 * sound)[0] for sound in noise[1]]
    assert np.mean(values("in_sync", made, clips)) == pytest.approx(0.1, abs=0.07)  # type: ignore[arg-type]


def test_energy_ratio() -> None:
    sound = noise_track(1.0, RATE)
    assert values("energy_ratio", [Sound(0.5 * sound, RATE)], one(sound)) == [pytest.approx(0.25)]
    assert values("energy_ratio", [Sound(0 * sound, RATE)], one(sound)) == [0.0]
    assert values("energy_ratio", [Sound(sound, RATE)], one(0 * sound)) == [None]


@pytest.mark.parametrize("metric", ["swap_auc", "swap_auc_in_class"])
@pytest.mark.parametrize("seconds", [2.0, 3.0, 2.32])
def test_silence_is_exactly_chance_and_the_real_sound_wins(metric: str, seconds: float) -> None:
    clips = synthetic(4, seconds)
    assert values(metric, row("silence", clips), clips) == [0.5] * 8
    assert values(metric, row("real", clips), clips) == [1.0] * 8


@pytest.mark.parametrize("metric", ["swap_auc", "swap_auc_in_class"])
def test_one_sound_for_all_videos_is_chance_on_average(metric: str) -> None:
    clips = synthetic(6)
    same = Sound(hits([0.5, 1.1], 2.0, 900.0), RATE)
    found = np.asarray(values(metric, [same] * 12, clips))
    assert found.mean() == pytest.approx(0.5)
    assert found.std() > 0.1  # it is not a tie


def test_the_right_class_alone_wins_only_outside_the_class() -> None:
    clips = synthetic()
    shuffled = row("class-matched shuffle", clips)
    overall, in_class = (np.mean(values(m, shuffled, clips)) for m in ("swap_auc", "swap_auc_in_class"))
    assert overall > 0.65
    assert 0.4 < in_class < 0.6


def test_swap_auc_by_hand() -> None:
    clips = synthetic(3)
    made = [Sound(clip.real.samples + 0.05 * clips[i - 1].real.samples, RATE) for i, clip in enumerate(clips)]

    def similar(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.corrcoef(log_mel(a, RATE).ravel(), log_mel(b, RATE).ravel())[0, 1])

    for i, found in enumerate(values("swap_auc", made, clips)):
        own = similar(made[i].samples, clips[i].real.samples)
        others = [similar(made[i].samples, clip.real.samples) for j, clip in enumerate(clips) if j != i]
        assert found == pytest.approx(np.mean([own > other for other in others]))


def test_copies_of_a_video_are_no_rivals() -> None:
    clips = synthetic(2)
    copies = [Clip(f"{c.key}-copy", c.label, c.group, c.real) for c in clips]
    both = clips + copies
    assert values("swap_auc_in_class", row("real", both), both) == [1.0] * 8
    alone = [Clip(c.key, c.label, "same", c.real) for c in clips]
    assert values("swap_auc", row("real", alone), alone) == [None] * 4


# Counterfactual


@pytest.mark.parametrize("made_of", ["silence", "the same noise", "the same hits", "one of the real sounds"])
def test_a_sound_that_ignores_the_picture_is_exactly_chance_with_every_clip(made_of: str) -> None:
    clips = synthetic(7)
    sound = {
        "silence": np.zeros(2 * RATE, np.float32),
        "the same noise": noise_track(2.0, RATE),
        "the same hits": hits([0.4, 1.3], 2.0, 900.0),
        "one of the real sounds": clips[3].real.samples,
    }[made_of]
    made = [Sound(sound.copy(), RATE) for _ in clips]
    assert values("counterfactual", made, clips) == [0.5] * 14


def test_sounds_go_with_their_videos() -> None:
    clips = synthetic(5)
    assert values("counterfactual", row("real", clips), clips) == [1.0] * 10
    # Every clip has the sound of its neighbour's video in the class: two that have each other's lose.
    swapped = [clips[i ^ 1].real.samples for i in range(4)]
    four = [Clip(c.key, "one", c.group, c.real) for c in clips[:4]]
    found = values("counterfactual", [Sound(s, RATE) for s in swapped], four)
    assert all(value is not None and value <= 2 / 3 for value in found)
    pair = values("counterfactual", [Sound(s, RATE) for s in swapped[:2]], four[:2])
    assert pair == [0.0, 0.0]


def test_counterfactual_by_hand() -> None:
    clips = synthetic(3)
    rng = np.random.default_rng(1)
    made = [Sound(c.real.samples + 0.1 * rng.standard_normal(2 * RATE).astype(np.float32), RATE) for c in clips]

    def similar(i: int, j: int) -> float:
        a, b = (log_mel(s.samples, RATE).ravel() for s in (made[i], clips[j].real))
        return float(np.corrcoef(a, b)[0, 1])

    for i, found in enumerate(values("counterfactual", made, clips)):
        others = [j for j in range(6) if j != i and clips[j].label == clips[i].label]
        wins = [similar(i, i) + similar(j, j) > similar(i, j) + similar(j, i) for j in others]
        assert found == pytest.approx(np.mean(wins))


def test_only_other_videos_of_the_label_change_places() -> None:
    clips = synthetic(2)
    alone = [Clip(c.key, c.key, c.group, c.real) for c in clips]
    assert values("counterfactual", row("real", alone), alone) == [None] * 4
    one_video = [Clip(c.key, c.label, "same", c.real) for c in clips]
    assert values("counterfactual", row("real", one_video), one_video) == [None] * 4
    # A sound taken from a clip does not change places with that clip.
    taken = [Sound(clips[i ^ 1].real.samples, RATE, clips[i ^ 1].key) for i in range(4)]
    assert values("counterfactual", taken, clips) == [None] * 4


def test_shuffled_sounds_are_chance_on_average() -> None:
    clips = synthetic(20)
    found = values("counterfactual", row("class-matched shuffle", clips), clips)
    assert np.mean(found) == pytest.approx(0.5, abs=0.12)  # type: ignore[arg-type]


# Baseline rows


def test_baselines_are_what_they_say() -> None:
    clips = synthetic(5)
    by_sound = {clip.real.samples.tobytes(): clip for clip in clips}
    for name, same_label in (("shuffled", False), ("class-matched shuffle", True)):
        taken = [by_sound[sound.samples.tobytes()] for sound in row(name, clips)]
        assert all(a.group != b.group for a, b in zip(taken, clips, strict=True))
        assert all(a.label == b.label for a, b in zip(taken, clips, strict=True)) == same_label
    for clip, noise, silence in zip(clips, row("white noise", clips), row("silence", clips), strict=True):
        assert noise.samples.shape == silence.samples.shape == clip.real.samples.shape
        assert np.mean(noise.samples**2) == pytest.approx(np.mean(clip.real.samples**2), rel=0.1)
        assert not silence.samples.any()


def test_every_metric_says_what_it_is() -> None:
    assert [name for name in METRICS if METRICS[name].headline] == ["swap_auc_in_class"]
    for name in METRICS:
        metric = METRICS[name]
        assert metric.name == name
        assert metric.source and metric.licence
