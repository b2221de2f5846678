"""Scorers measure what they say: against outside references, and in the right order."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from makers import noise_track
from safetensors import SafetensorError
from tiny import ARCHITECTURE, make_tagger

from v2a_data.errors import MissingToolError, UsageError
from v2a_data.files import sha256_file
from v2a_data.scorers.audio_tags import AudioTags
from v2a_data.scorers.base import Prompts, VideoTap
from v2a_data.scorers.clip_topic import ClipTopic
from v2a_data.scorers.loudness import Loudness, window_lufs
from v2a_data.scorers.motion import Motion, in_runs
from v2a_data.scorers.speech import Speech
from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas
from v2a_data.synthetic.scene import Scene
from v2a_data.synthetic.subjects.airplane import Airplane
from v2a_data.synthetic.subjects.drum import Drum
from v2a_data.synthetic.tones import voice

STARTS = np.asarray([0.0, 2.0])
MIDS = {
    "Airplane": "/m/0cmf2",
    "Baby cry": "/t/dd00002",
    "Human voice": "/m/09l8g",
    "Speech": "/m/09x0r",
    "Male speech": "/m/05zppz",
}


def heard(sound: np.ndarray, rate_hz: int, label: str = "Airplane") -> VideoTap:
    rows = sound if sound.ndim == 2 else sound[None]
    return VideoTap("sy-0-0", label, STARTS, sound=rows.astype(np.float32), rate_hz=rate_hz)


def seen(luma: np.ndarray) -> VideoTap:
    return VideoTap("sy-0-0", "Airplane", STARTS, luma=luma, luma_s=np.arange(len(luma)) / 12.5)


def drawn(subject, seconds: float = 4.0) -> np.ndarray:
    canvas, rows = Canvas(64, 36), []
    scene = Scene(subject, Draw(np.random.default_rng(99)), seconds)
    for i in range(round(seconds * 12.5)):
        scene.picture(canvas, i / 12.5)
        rows.append(canvas.pixels().mean(axis=2))
    return np.stack(rows).astype(np.uint8)


@pytest.mark.parametrize("rate_hz", [16000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_loudness_agrees_with_pyloudnorm(rate_hz: int, channels: int) -> None:
    import pyloudnorm

    sound = np.stack([noise_track(2.0, rate_hz, seed=s) for s in range(channels)])
    expected = pyloudnorm.Meter(rate_hz).integrated_loudness(sound.T.astype(np.float64))
    assert window_lufs(sound, rate_hz) == pytest.approx(expected, abs=0.15)


def test_loudness_of_a_full_scale_sine_is_the_standards() -> None:
    # BS.1770: a 997 Hz sine at 0 dBFS in one channel reads -3.01 LKFS.
    sine = np.sin(2 * np.pi * 997 * np.arange(96000) / 48000)[None]
    assert window_lufs(sine, 48000) == pytest.approx(-3.01, abs=0.05)


def test_silence_and_clipping() -> None:
    loud = noise_track(4.0, 16000)
    half = loud.copy()
    half[16000:32000] = 0
    found = Loudness(Loudness.Config()).score(
        [heard(half, 16000), heard(np.zeros(64000), 16000), heard(np.clip(loud * 20, -1, 1), 16000)]
    )
    assert found[0].fields["silence"].tolist() == pytest.approx([0.5, 0.0], abs=0.03)
    assert found[1].fields["silence"].tolist() == [1.0, 1.0]
    assert np.isnan(found[1].fields["loudness_lufs"]).all()
    assert found[2].fields["clipping"].min() > 0.2
    assert found[0].fields["clipping"].max() == 0.0


def test_missing_sound_is_silence_and_null_never_zero_loudness() -> None:
    (found,) = Loudness(Loudness.Config()).score([heard(noise_track(2.0, 16000), 16000)])
    assert found.fields["silence"].tolist() == [0.0, 1.0]
    assert np.isnan(found.fields["loudness_lufs"][1])
    assert np.isnan(found.fields["clipping"][1])


def test_motion_orders_moving_over_frozen_pictures() -> None:
    rng = np.random.default_rng(0)
    frozen = np.repeat(drawn(Drum(Draw(rng), 4.0))[:1], 50, axis=0)
    noisy = np.clip(frozen.astype(int) + rng.integers(-1, 2, frozen.shape), 0, 255).astype(np.uint8)
    moving = [drawn(Airplane(Draw(np.random.default_rng(s)), 4.0)) for s in range(3)] + [
        drawn(Drum(Draw(np.random.default_rng(7)), 4.0))
    ]
    still = Motion(Motion.Config()).score([seen(frozen), seen(noisy)])
    live = Motion(Motion.Config()).score([seen(m) for m in moving])
    assert all(s.fields["still"].min() == 1.0 for s in still)
    assert all(m.fields["still"].max() <= 0.5 for m in live)
    assert still[0].fields["motion"].max() == 0.0 < min(m.fields["motion"].min() for m in live)


def test_black_and_half_black() -> None:
    picture = np.full((50, 36, 64), 120, np.uint8)
    picture[25:] = 16
    (found,) = Motion(Motion.Config()).score([seen(picture)])
    assert found.fields["black"].tolist() == pytest.approx([0.0, 1.0], abs=0.05)


def test_a_picture_may_have_a_lit_corner_and_still_be_black() -> None:
    picture = np.full((50, 36, 64), 16, np.uint8)
    picture[:25, 0, :22] = picture[25:, 0, :23] = 200
    (found,) = Motion(Motion.Config()).score([seen(picture)])
    assert found.fields["black"].tolist() == [1.0, 0.0]


def test_runs_shorter_than_asked_do_not_count() -> None:
    marks = np.asarray([1, 1, 0, 1, 1, 1, 0, 1], bool)
    assert in_runs(marks, 3).tolist() == [False, False, False, True, True, True, False, False]


def test_speech_is_silero_vads_own_answer() -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import silero_vad
        from silero_vad.utils_vad import OnnxWrapper
    scorer = Speech(Speech.Config())
    scorer.open("cpu")
    sound = voice(0)
    file = Path(silero_vad.__file__).parent / "data" / "silero_vad.onnx"
    expected = OnnxWrapper(str(file), True).audio_forward(torch.from_numpy(sound[None].copy()), 16000)[0].numpy()
    assert np.abs(scorer.chances(sound) - expected).max() < 1e-5


def test_speech_orders_a_voice_over_engines_and_drums() -> None:
    scorer = Speech(Speech.Config())
    scorer.open("cpu")
    plane, drum = (kind(Draw(np.random.default_rng(1)), 4.0).sound(16000) for kind in (Airplane, Drum))
    talk = np.concatenate([voice(1), voice(2)])[:64000]
    spoken, engine, beats, over = (
        s.fields["voice"]
        for s in scorer.score([heard(x, 16000) for x in (talk, plane, drum, 0.5 * plane + 0.5 * talk)])
    )
    assert spoken.min() > 0.6
    assert max(engine.max(), beats.max()) < 0.2
    assert over.min() > 0.3


def test_speech_without_sound_is_null() -> None:
    scorer = Speech(Speech.Config())
    scorer.open("cpu")
    (found,) = scorer.score([VideoTap("sy-0-0", "x", STARTS)])
    assert np.isnan(found.fields["voice"]).all()


def frames(colour: tuple[int, int, int], count: int = 1) -> VideoTap:
    rng = np.random.default_rng(0)
    picture = np.clip(np.asarray(colour) + rng.normal(0, 20, (2, count, 32, 40, 3)), 0, 255).astype(np.uint8)
    return VideoTap("sy-0-0", "Red", STARTS, frames=picture, frame_s=np.arange(2 * count).reshape(2, count) * 1.0)


def topic(clip: tuple[Path, Path], **more: object) -> ClipTopic:
    config = {
        "model": ARCHITECTURE,
        "weights": str(clip[1]),
        "architecture_file": str(clip[0]),
        "image_px": 32,
        "on": ("a red picture",),
        "off": ("a blue picture",),
    }
    return ClipTopic(ClipTopic.Config(**{**config, **more}))


def test_clip_topic_orders_by_its_prompts(clip: tuple[Path, Path]) -> None:
    scorer = topic(clip)
    scorer.open("cpu")
    red, blue = (s.fields["seen"] for s in scorer.score([frames((200, 30, 30)), frames((40, 60, 200))]))
    assert red.min() > 0.8
    assert blue.max() < 0.2
    half = frames((200, 30, 30))
    half.frame_s[1] = np.nan
    (found,) = scorer.score([half])
    assert np.isnan(found.fields["seen"]).tolist() == np.isnan(found.evidence_s).tolist() == [False, True]
    other = topic(clip, labels={"Red": Prompts(("a blue picture",), ("a red picture",))})
    other.open("cpu")
    assert other.score([frames((200, 30, 30))])[0].fields["seen"].max() < 0.2


def test_what_stands_for_other_labels_is_off_topic(clip: tuple[Path, Path]) -> None:
    labels = {
        "Red": Prompts(("a red picture",)),
        "Blue": Prompts(("a blue picture", "a red picture"), ("a grey picture",)),
    }
    scorer = topic(clip, labels=labels, off=("a green picture",), siblings=True)
    apart = topic(clip, labels=labels, off=("a green picture",))
    assert apart._prompts_of("Red") == Prompts(("a red picture",), ("a green picture",))
    assert scorer._prompts_of("Red") == Prompts(("a red picture",), ("a green picture", "a blue picture"))
    assert scorer._prompts_of("Blue") == Prompts(labels["Blue"].on, ("a grey picture", "a green picture"))
    assert scorer._prompts_of("Other") == Prompts(("a red picture",), ("a green picture",))
    scorer.open("cpu")
    alone = topic(clip, labels={"Red": labels["Red"]}, off=("a blue picture", "a green picture"))
    alone.open("cpu")
    tap = frames((120, 50, 120))
    assert scorer.score([tap])[0].fields["seen"] == pytest.approx(alone.score([tap])[0].fields["seen"], rel=1e-4)


def test_clip_topic_is_the_softmax_over_all_prompts(clip: tuple[Path, Path]) -> None:
    import open_clip
    import torch

    scorer = topic(clip)
    scorer.open("cpu")
    tap = frames((120, 50, 120))
    (found,) = scorer.score([tap])
    model = open_clip.create_model(ARCHITECTURE, pretrained=str(clip[1])).eval()
    tokenizer = open_clip.get_tokenizer(ARCHITECTURE)
    with torch.no_grad():
        texts = []
        for prompt in ("a red picture", "a blue picture"):
            mean = model.encode_text(
                tokenizer([t.format(prompt) for t in ("{}", "a photo of {}", "a video frame of {}")]), normalize=True
            ).mean(0)
            texts.append(mean / mean.norm())
        pixels = torch.from_numpy(tap.frames[:, 0, :, 4:36]).permute(0, 3, 1, 2).float() / 255
        centred = (pixels - torch.tensor(model.visual.image_mean).view(1, 3, 1, 1)) / torch.tensor(
            model.visual.image_std
        ).view(1, 3, 1, 1)
        logits = model.logit_scale.exp() * model.encode_image(centred, normalize=True) @ torch.stack(texts).T
    assert np.allclose(found.fields["seen"], logits.softmax(-1)[:, 0].numpy(), atol=1e-5)


def test_the_best_frame_decides_and_is_named(clip: tuple[Path, Path]) -> None:
    scorer = topic(clip, frames_per_window=2)
    scorer.open("cpu")
    tap = frames((40, 60, 200), count=2)
    tap.frames[1, 1] = frames((200, 30, 30)).frames[0, 0]
    (found,) = scorer.score([tap])
    assert found.fields["seen"][1] > 0.8 > found.fields["seen"][0]
    assert found.evidence_s[1] == 3.0


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"weights": "/nowhere.safetensors"}, MissingToolError, "do not exist"),
        ({"weights": "/nowhere.pt"}, UsageError, "is not a .safetensors file"),
        ({"sha256": "0" * 64}, MissingToolError, "its sha256 differs"),
        ({"image_px": 64}, UsageError, "takes 32, the recipe says 64"),
        ({"model": "no-such-model"}, UsageError, "knows no architecture 'no-such-model'"),
        ({"weights": None}, UsageError, "name a tag"),
        ({"model": f"{ARCHITECTURE}/no_tag", "weights": None}, UsageError, "has no weights 'no_tag'"),
    ],
)
def test_models_that_do_not_fit_are_refused(change: dict, error: type, words: str, clip: tuple[Path, Path]) -> None:
    scorer = topic(clip, **change)
    with pytest.raises(error) as caught:
        scorer.open("cpu")
    assert words in str(caught.value)


def test_a_pickled_checkpoint_is_never_opened(clip: tuple[Path, Path], tmp_path: Path) -> None:
    import pickle

    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> tuple:
            return (canary.touch, ())

    evil = tmp_path / "evil.safetensors"
    evil.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(SafetensorError):
        topic(clip, weights=str(evil)).open("cpu")
    assert not canary.exists()


def test_prompts_are_needed_for_the_label(clip: tuple[Path, Path]) -> None:
    scorer = topic(clip, on=(), off=())
    scorer.open("cpu")
    with pytest.raises(UsageError, match="no prompts for 'Red'"):
        scorer.score([frames((1, 2, 3))])


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tagger(tmp_path_factory.mktemp("tagger"), ("/m/0cmf2", "/m/04rlf"))


def tags(path: Path, **more: object) -> AudioTags:
    scorer = AudioTags(AudioTags.Config(**{"model": str(path), "classes": ("/m/0k5j",), **more}))
    scorer.open("cpu")
    return scorer


def test_audio_tags_hears_descendants_of_the_label(tagger: Path) -> None:
    hum = 0.3 * np.sin(2 * np.pi * 120 * np.arange(64000) / 16000)
    hiss = 0.3 * np.sin(2 * np.pi * 4000 * np.arange(64000) / 16000)
    low, high = (s.fields for s in tags(tagger).score([heard(hum, 16000), heard(hiss, 16000)]))
    # The recipe names Aircraft; the model only knows Airplane, which stands below it.
    assert low["heard"].min() > 0.9 > 0.5 > high["heard"].max()
    assert high["music"].min() > 0.9 > 0.5 > low["music"].max()


def test_the_labels_own_branch_is_never_music(tmp_path: Path) -> None:
    path = make_tagger(tmp_path, ("/m/026t6", "/m/04rlf"))
    hiss = 0.3 * np.sin(2 * np.pi * 4000 * np.arange(64000) / 16000)
    (found,) = tags(path, classes=("/m/026t6",)).score([heard(hiss, 16000, "Drum")])
    assert found.fields["music"].tolist() == [0, 0], "Music stands above Drum, so nothing is left to count against it"
    assert np.isnan(found.fields["talk"]).all(), "the model knows no speech at all"
    (other,) = tags(path, classes=("/m/0cmf2",)).score([heard(hiss, 16000)])
    assert other.fields["music"].min() > 0.9


@pytest.mark.parametrize(
    ("last", "counts"),
    [("/t/dd00002", True), ("/m/026t6", False), ("/m/0k5j", False), ("/m/04rlf", False), ("/m/09x0r", False)],
    ids=["baby cry", "drum, which is music", "aircraft, above the label", "music", "speech"],
)
def test_everything_else_is_no_music_no_speech_and_nothing_above_the_label(
    last: str, counts: bool, tmp_path: Path
) -> None:
    path = make_tagger(tmp_path, ("/m/0cmf2", last))
    hiss = heard(0.3 * np.sin(2 * np.pi * 4000 * np.arange(64000) / 16000), 16000)
    (found,) = tags(path, classes=("/m/0cmf2",)).score([hiss])
    assert (found.fields["other"] > 0.9).tolist() == [counts] * 2
    assert found.fields["other"].max() == (found.fields["other"].min() if counts else 0)


def test_speech_counts_against_every_label_but_its_own_branch(tmp_path: Path) -> None:
    # Any sound is Child speech to this model.
    path = make_tagger(tmp_path, ("/m/0cmf2", "/m/04rlf", "/m/0ytgt"))
    hiss = heard(0.3 * np.sin(2 * np.pi * 4000 * np.arange(64000) / 16000), 16000)
    talk = {mid: tags(path, classes=(mid,)).score([hiss])[0].fields["talk"] for mid in MIDS.values()}
    assert talk[MIDS["Airplane"]].min() > 0.9
    assert talk[MIDS["Baby cry"]].min() > 0.9, "beside Speech, not below or above it"
    assert talk[MIDS["Male speech"]].min() > 0.9
    assert talk[MIDS["Human voice"]].tolist() == talk[MIDS["Speech"]].tolist() == [0, 0]


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_windows_of_many_videos_share_batches(batch: int, tagger: Path) -> None:
    scorer = tags(tagger)
    sounds = [noise_track(seconds, 16000, seed) for seed, seconds in enumerate((4.0, 2.5, 4.0, 4.0))]
    taps = [heard(sound, 16000) for sound in sounds]
    alone = [scorer.score([tap])[0].fields for tap in taps]
    scorer._batch, sizes = batch, []
    run = scorer._run
    scorer._run = lambda sound: sizes.append(len(sound)) or run(sound)
    together = [found.fields for found in scorer.score(taps)]
    assert sizes == {1: [1] * 8, 3: [3, 3, 2], 16: [8]}[batch]
    for one, other in zip(alone, together, strict=True):
        for name in ("heard", "music", "talk"):
            assert other[name] == pytest.approx(one[name], abs=1e-6, nan_ok=True)


def test_a_label_without_a_class_stays_null(tagger: Path) -> None:
    (found,) = tags(tagger, classes=()).score([heard(noise_track(4.0, 16000), 16000)])
    assert np.isnan(found.fields["heard"]).all()
    assert not np.isnan(found.fields["music"]).any()


def test_windows_without_sound_stay_null(tagger: Path) -> None:
    (found,) = tags(tagger).score([heard(noise_track(2.0, 16000), 16000)])
    assert np.isnan(found.fields["heard"]).tolist() == [False, True]


def test_taggers_that_do_not_fit_are_refused(tagger: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingToolError, match="does not exist"):
        tags(tmp_path / "none.onnx")
    with pytest.raises(MissingToolError, match="its sha256 differs"):
        tags(tagger, sha256="0" * 64)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(MissingToolError, match="is not an ONNX model"):
        tags(tmp_path / "bad.onnx")
    lonely = tmp_path / "lonely.onnx"
    lonely.write_bytes(tagger.read_bytes())
    with pytest.raises(MissingToolError, match="0 classes for 2 outputs"):
        tags(lonely)
    assert tags(tagger, sha256=sha256_file(tagger)).model.licence == "Apache-2.0"
