"""Tagger families: the CED front end against librosa, its class list, and models that do not fit."""

from pathlib import Path

import numpy as np
import pytest
from tiny import make_ced, make_tagger

from v2a_data.errors import FatalError, MissingToolError, UsageError
from v2a_data.scorers.audio_tags import AudioTags
from v2a_data.scorers.base import VideoTap
from v2a_data.scorers.taggers import ced, family

CLASSES = ("/m/0cmf2", "/m/04rlf", "/m/026t6")
STARTS = np.asarray([0.0, 2.0])


def sounds() -> np.ndarray:
    rng = np.random.default_rng(0)
    t = np.arange(32000) / 16000
    rows = [rng.normal(0, 0.1, t.size), 0.5 * np.sin(2 * np.pi * 440 * t), np.zeros(t.size), 0.9 * np.sin(900 * t**2)]
    return np.stack(rows).astype(np.float32)


def test_the_front_end_of_ced_is_librosas() -> None:
    import librosa

    found = ced.features(sounds())
    assert (found.shape, found.dtype) == ((4, 64, 201), np.float32)
    for sound, row in zip(sounds(), found, strict=True):
        mel = librosa.feature.melspectrogram(
            y=sound, sr=16000, n_fft=512, hop_length=160, n_mels=64, fmin=0, fmax=8000, htk=True, norm=None,
            pad_mode="reflect", center=True, power=2.0,
        )  # fmt: skip
        expected = librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=120.0)
        assert np.abs(row - expected).max() < 0.02


def test_quiet_windows_do_not_depend_on_loud_neighbours() -> None:
    assert np.array_equal(ced.features(sounds())[2:3], ced.features(sounds()[2:3]))


def test_classes_stand_in_the_order_of_their_index(tmp_path: Path) -> None:
    path = tmp_path / "class_labels_indices.csv"
    path.write_text('index,mid,display_name\n1,/m/b,"B, b"\n0,/m/a,A\n')
    assert ced.classes(path) == ["/m/a", "/m/b"]
    path.write_text("index,mid,display_name\n0,/m/a,A\n2,/m/b,B\n")
    with pytest.raises(ValueError, match="not 0 to 1"):
        ced.classes(path)


@pytest.mark.parametrize("batch", ["batch", 1])
def test_a_ced_model_is_heard_window_by_window(batch: int | str, tmp_path: Path) -> None:
    scorer = AudioTags(
        AudioTags.Config(model=str(make_ced(tmp_path, CLASSES, batch=batch)), family="ced", classes=("/m/0k5j",))
    )
    scorer.open("cpu")
    both = np.concatenate([sounds()[0], sounds()[1]])[None]
    (found,) = scorer.score([VideoTap("sy-0-0", "x", STARTS, sound=both, rate_hz=16000)])
    assert found.fields["heard"].shape == (2,)
    (alone,) = scorer.score([VideoTap("sy-0-0", "x", STARTS[:1], sound=both[:, :32000], rate_hz=16000)])
    assert alone.fields["heard"][0] == pytest.approx(found.fields["heard"][0], abs=1e-6)


def test_a_model_that_gives_no_probabilities_is_said(tmp_path: Path) -> None:
    import onnx

    path = make_ced(tmp_path, CLASSES)
    model = onnx.load(path)
    model.graph.node[-1].op_type = "Identity"  # logits instead
    onnx.save(model, path)
    scorer = AudioTags(AudioTags.Config(model=str(path), family="ced", classes=CLASSES[:1]))
    scorer.open("cpu")
    with pytest.raises(FatalError, match="no probabilities"):
        scorer.score([VideoTap("sy-0-0", "x", STARTS, sound=sounds()[:1], rate_hz=16000)])


def test_a_list_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = make_ced(tmp_path, CLASSES)
    (tmp_path / "class_labels_indices.csv").write_text("index,mid,display_name\n0,/m/a,A\n")
    with pytest.raises(MissingToolError, match="1 classes for 3 outputs"):
        AudioTags(AudioTags.Config(model=str(path), family="ced")).open("cpu")


def test_unknown_families_show_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'ced'"):
        family("cedd")
    path = make_tagger(tmp_path, ("/m/0cmf2", "/m/04rlf"))
    with pytest.raises(UsageError, match="no tagger family 'yamnet'"):
        AudioTags(AudioTags.Config(model=str(path), family="yamnet")).open("cpu")
