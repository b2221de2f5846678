"""The things of the synthetic world: picture and sound come from one state, and the truth is true."""

import numpy as np
import pytest
from v2a.metrics.features import ENVELOPE_PER_SECOND, envelope, onsets

from v2a_data.synthetic import SUBJECTS
from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.links import FPS, follows, heard, matched, motion, recalled, seen
from v2a_data.synthetic.paint import Canvas
from v2a_data.synthetic.scene import Scene
from v2a_data.synthetic.things import THINGS

LABELS = list(SUBJECTS)
SECONDS = 6.0
RATE_HZ = 16000
# What sets the tempo, and two values of it.
TEMPO = {
    "Airplane": ("round_s", 2.8, 4.1),
    "Baby crying": ("cry_hz", 0.8, 1.15),
    "Human snoring": ("breath_hz", 0.45, 0.65),
    "Dog": ("bark_hz", 1.5, 2.1),
    "Water flowing": ("surge_hz", 0.8, 1.2),
    "Fireworks": ("burst_hz", 1.0, 1.5),
    "Rail transport": ("speed_mps", 9.5, 13.5),
    "Printers": ("stroke_hz", 1.3, 1.9),
    "Drum": ("tempo_hz", 1.6, 2.3),
    "Helicopter": ("chop_hz", 3.8, 5.2),
    "Chainsaw": ("rev_hz", 0.7, 1.05),
}
# Closest passes have no onset; they are checked by loudness.
STRUCK = [label for label in LABELS if label != "Airplane"]


def subject(label: str, seed: int = 0, *, ood: bool = False, seconds: float = SECONDS, **fixed: float):
    return SUBJECTS[label](Draw(np.random.default_rng([seed, 1]), ood=ood, fixed=fixed), seconds)


def scene(label: str, seed: int = 0, *, ood: bool = False) -> Scene:
    return Scene(subject(label, seed, ood=ood), Draw(np.random.default_rng([seed, 2]), ood=ood), SECONDS)


def shot(painted, time_s: float, width: int = 96, height: int = 54) -> np.ndarray:
    canvas = Canvas(width, height)
    canvas.clear((128, 128, 128))
    painted.paint(canvas, time_s)
    return canvas.pixels()


def loudness(sound: np.ndarray) -> np.ndarray:
    return envelope(sound, RATE_HZ)


@pytest.mark.parametrize("label", LABELS)
def test_same_seed_same_picture_and_sound(label: str) -> None:
    one, two, other = subject(label), subject(label), subject(label, 1)
    first = one.sound(RATE_HZ)
    assert np.array_equal(shot(one, 1.3), shot(two, 1.3))
    # Neither the order of calls, nor what was painted before, nor another rate changes the sound.
    two.sound(44100)
    assert np.array_equal(first, two.sound(RATE_HZ))
    assert np.array_equal(first, one.sound(RATE_HZ))
    assert first.dtype == np.float32
    assert first.shape == (round(SECONDS * RATE_HZ),)
    assert 0.3 < np.abs(first).max() <= 1.0
    assert not np.array_equal(first, other.sound(RATE_HZ))
    assert not np.array_equal(shot(one, 1.3), shot(other, 1.3))
    canvas = Canvas(96, 54)
    views = []
    for made in (scene(label), scene(label)):
        made.picture(canvas, 2.1)
        views.append(canvas.pixels())
    assert np.array_equal(*views)
    assert np.array_equal(scene(label).sound(RATE_HZ), scene(label).sound(RATE_HZ))


@pytest.mark.parametrize("label", LABELS)
def test_other_rates_hold_the_same_sound(label: str) -> None:
    made = subject(label, seconds=3.0)
    low, high = made.sound(16000), made.sound(48000)
    assert len(high) == 3 * len(low)
    a, b = envelope(low, 16000), envelope(high, 48000)
    assert np.corrcoef(a, b)[0, 1] > 0.85


@pytest.mark.parametrize("label", LABELS)
def test_things_are_large_and_have_no_backdrop(label: str) -> None:
    tall = []
    for seed in range(4):
        made = subject(label, seed)
        for event_s in made.events_s[:2] + 0.25:
            changed = (shot(made, event_s) != 128).any(axis=2)
            assert changed.mean() < 0.75
            rows = np.nonzero(changed.any(axis=1))[0]
            tall.append((rows[-1] - rows[0] + 1) / 54 if len(rows) else 0.0)
    assert np.mean(np.asarray(tall) >= 0.25) >= 0.75


@pytest.mark.parametrize("label", STRUCK)
def test_an_onset_detector_hears_the_truth(label: str) -> None:
    f1, found = [], []
    for seed in range(3):
        made = scene(label, seed)
        times = onsets(made.sound(RATE_HZ), RATE_HZ)
        f1.append(matched(times, made.subject.events_s, 0.05))
        found.append(recalled(times, made.subject.events_s, 0.05))
    assert np.mean(f1) >= 0.8
    assert np.mean(found) >= 0.9


@pytest.mark.parametrize("label", LABELS)
def test_loudness_and_motion_follow_the_state(label: str) -> None:
    ears, eyes, late = [], [], []
    for seed in range(2):
        made = scene(label, seed)
        ears.append(heard(made.subject, loudness(made.sound(RATE_HZ)), ENVELOPE_PER_SECOND)[0])
        score, lag_s = seen(made.subject, motion(made.subject, SECONDS))
        eyes.append(score)
        late.append(abs(lag_s))
    assert np.mean(ears) >= 0.4
    assert np.mean(eyes) >= 0.5
    assert max(late) <= 0.1


@pytest.mark.parametrize("label", LABELS)
def test_one_parameter_moves_the_events_in_picture_and_sound(label: str) -> None:
    name, low, high = TEMPO[label]
    slow, fast = (subject(label, 2, **{name: value}) for value in (low, high))
    for key, value in slow.draw.values.items():
        assert fast.draw.values[key] == (value if key != name else high)
    times = np.arange(round(SECONDS * FPS)) / FPS
    moves = [np.sqrt(motion(made, SECONDS)) for made in (slow, fast)]
    sounds = [made.sound(RATE_HZ) for made in (slow, fast)]
    lags = []
    for mine, other in ((0, 1), (1, 0)):
        own, wrong = ((slow, fast)[i] for i in (mine, other))
        # Picture: motion follows the own state, not that of the other tempo.
        right, lag_s = seen(own, moves[mine] ** 2)
        assert right > seen(wrong, moves[mine] ** 2)[0] + 0.15
        lags.append(lag_s)
        # Sound: so does loudness, and so do onsets.
        level = np.log(np.repeat(loudness(sounds[mine]), 2)[: len(times)] + 1e-3)
        assert follows(level, own.state(times), FPS)[0] > follows(level, wrong.state(times), FPS)[0] + 0.15
        if label in STRUCK:
            found = onsets(sounds[mine], RATE_HZ)
            assert recalled(found, own.events_s, 0.08) >= 0.9
    # Events of both tempi show with the same delay: what moved is what the truth says.
    assert abs(lags[0] - lags[1]) <= 0.06
    if label in STRUCK:
        count = min(len(slow.events_s), len(fast.events_s))
        shift = fast.events_s[:count] - slow.events_s[:count]
        measured = [nearest(s, made.events_s[:count]) for s, made in zip(sounds, (slow, fast), strict=True)]
        assert np.median(np.abs(measured[1] - measured[0] - shift)) <= 0.03
        assert np.abs(shift).max() > 0.15


@pytest.mark.parametrize("label", LABELS)
def test_what_is_seen_of_an_event_moves_by_the_truths_amount(label: str) -> None:
    """Motion around each event of one tempo, looked for around the same event of the other one."""
    name, low, high = TEMPO[label]
    # A helicopter chops so often that more than one chop fits into a longer piece.
    half_s, reach_s = (0.15, 0.1) if label == "Helicopter" else (0.4, 0.2)
    lags, still = [], []
    for seed in (0, 1):
        slow, fast = (subject(label, seed, **{name: value}) for value in (low, high))
        curves = [np.sqrt(motion(made, SECONDS)) for made in (slow, fast)]
        for there, here in zip(slow.events_s, fast.events_s, strict=False):
            piece = cut(curves[1], here, half_s)
            for at, found in ((there, lags), (here, still)):
                lag_s = best_lag(piece, curves[0], at, half_s, reach_s)
                if lag_s is not None:
                    found.append(abs(lag_s))
    assert len(lags) >= 3
    assert np.median(lags) <= 0.06
    # Had the picture stayed where it was, it would show.
    assert np.median(still) > np.median(lags) + 0.015


def cut(curve: np.ndarray, middle_s: float, half_s: float) -> np.ndarray | None:
    first, count = round((middle_s - half_s) * FPS), round(2 * half_s * FPS)
    piece = curve[first : first + count] if first >= 0 else curve[:0]
    return piece if len(piece) == count and piece.std() > 1e-6 else None


def best_lag(piece: np.ndarray | None, curve: np.ndarray, at_s: float, half_s: float, reach_s: float) -> float | None:
    lags = np.arange(-round(reach_s * FPS), round(reach_s * FPS) + 1) / FPS
    others = [(lag, cut(curve, at_s + lag, half_s)) for lag in lags]
    scores = [
        (np.corrcoef(piece, other)[0, 1], lag) for lag, other in others if piece is not None and other is not None
    ]
    return float(max(scores)[1]) if scores else None


def nearest(sound: np.ndarray, wanted_s: np.ndarray) -> np.ndarray:
    found = onsets(sound, RATE_HZ)
    return np.asarray([found[np.abs(found - w).argmin()] for w in wanted_s])


@pytest.mark.parametrize("label", LABELS)
def test_swapped_sound_fits_worse(label: str) -> None:
    made = [scene(label, seed) for seed in (3, 4, 5)]
    sounds = [loudness(one.sound(RATE_HZ)) for one in made]
    own = [heard(one.subject, sound, ENVELOPE_PER_SECOND)[0] for one, sound in zip(made, sounds, strict=True)]
    other = [heard(one.subject, sounds[(n + 1) % 3], ENVELOPE_PER_SECOND)[0] for n, one in enumerate(made)]
    assert np.mean(own) > np.mean(other) + 0.2


class Watched(Draw):
    """Notes the range that each value was asked from."""

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.ranges: dict[str, tuple[float, float]] = {}

    def uniform(self, name: str, low: float, high: float) -> float:
        self.ranges[name] = (low, high)
        return super().uniform(name, low, high)


@pytest.mark.parametrize("label", LABELS)
def test_ood_values_lie_outside_and_still_work(label: str) -> None:
    for ood in (False, True):
        draws = [Watched(np.random.default_rng([8, n]), ood=ood) for n in range(2)]
        made = Scene(SUBJECTS[label](draws[0], 3.0), draws[1], 3.0)
        made.picture(Canvas(96, 54), 1.0)
        sound = made.sound(RATE_HZ)
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() > 0.05
        for draw in draws:
            assert draw.ranges
            for name, (low, high) in draw.ranges.items():
                assert (low <= draw.values[name] <= high) is not ood, name


def test_fixing_one_value_leaves_the_others() -> None:
    free, fixed = (Draw(np.random.default_rng(1), fixed=f) for f in ({}, {"b": 7.0}))
    names = ("a", "b", "c")
    one = [free.uniform(name, 0, 1) for name in names]
    two = [fixed.uniform(name, 0, 1) for name in reversed(names)][::-1]
    assert two == [one[0], 7.0, one[2]]
    assert free.child("x").random() == fixed.child("x").random() != free.child("y").random()
    assert Draw(np.random.default_rng(1), fixed={"kind": 2}).choice("kind", "abc") == "c"
    assert Draw(np.random.default_rng(2)).uniform("a", 0, 1) != one[0]


def test_ood_bands_are_near_and_above_nought() -> None:
    values = np.asarray([Draw(np.random.default_rng(n), ood=True).uniform("v", 1.0, 2.0) for n in range(300)])
    assert ((values < 1.0) | (values > 2.0)).all()
    assert 0.8 <= values.min() < 1.0
    assert 2.0 < values.max() <= 2.2
    none_below = [Draw(np.random.default_rng(n), ood=True).uniform("v", 0.0, 1.0) for n in range(50)]
    assert min(none_below) > 1.0


def test_surroundings_do_not_know_the_label() -> None:
    scenes = [Scene(subject(label, 6), Draw(np.random.default_rng(9)), SECONDS) for label in ("Dog", "Chainsaw")]
    backs = [one.background_sound(RATE_HZ) for one in scenes]
    # The microphone's level is set for the whole, so only the scale differs.
    assert np.allclose(backs[0] / backs[0].std(), backs[1] / backs[1].std(), atol=1e-3)
    assert scenes[0].draw.values == scenes[1].draw.values

    class Nothing:
        def paint(self, canvas: Canvas, time_s: float) -> None: ...

    canvas, views = Canvas(96, 54), []
    for one in scenes:
        one.picture(canvas, 1.0, Nothing())
        views.append(canvas.pixels())
    assert np.array_equal(*views)


def test_scene_sound_is_its_parts() -> None:
    made = scene("Drum")
    parts = made.subject_sound(RATE_HZ) + made.background_sound(RATE_HZ)
    assert np.allclose(made.sound(RATE_HZ), parts, atol=1e-5)
    assert made.subject_sound(RATE_HZ).std() > 1.5 * made.background_sound(RATE_HZ).std()


@pytest.mark.parametrize("name", list(THINGS))
def test_things_stand_in_for_any_subject(name: str) -> None:
    for label in LABELS:
        made = scene(label)
        thing = THINGS[name](Draw(np.random.default_rng(3)), SECONDS, made.subject)
        assert not np.array_equal(shot(thing, 1.0), shot(made.subject, 1.0))
        assert np.array_equal(
            shot(thing, 1.0), shot(THINGS[name](Draw(np.random.default_rng(3)), SECONDS, made.subject), 1.0)
        )


def test_lookalikes_are_things() -> None:
    for label in LABELS:
        assert set(SUBJECTS[label].lookalikes) <= set(THINGS)
    assert "paper_plane" in SUBJECTS["Airplane"].lookalikes
