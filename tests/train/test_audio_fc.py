"""The sound decoder in both forms: counts, bounds, locality, Griffin-Lim, and that it learns."""

import librosa
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import noise_track
from v2a.metrics.features import FLOOR, WINDOW, spectrogram
from v2a.models.audio_fc import AudioFc, CodeShape, griffin_lim, moved
from v2a.models.base import count_parameters

from v2a_data.errors import UsageError

SHAPE = CodeShape(frames=8, height=2, width=3, dim=4, samples_per_frame=1280, rate_hz=16000)

FORMS, TARGETS = ["tied", "literal"], ["waveform", "mr_stft", "log_magnitude"]


def decoder(form: str, shape: CodeShape = SHAPE, **options: object) -> AudioFc:
    return AudioFc(AudioFc.Config(form=form, **{"hidden": 16, "iterations": 2, **options}), shape)  # type: ignore[arg-type]


def values(frames: int = SHAPE.frames, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, SHAPE.dim, frames, SHAPE.height, SHAPE.width)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(FORMS),
    st.sampled_from(TARGETS),
    st.integers(1, 9),
    st.integers(1, 40),
    st.integers(1, 5),
    st.integers(0, 2),
)
def test_parameters_are_counted_without_building(
    form: str, target: str, frames: int, hidden: int, context: int, narrow: int
) -> None:
    shape = CodeShape(frames, 2, 2, 3, 640, 16000)
    config = AudioFc.Config(form=form, target=target, hidden=hidden, context=context, narrow=narrow)  # type: ignore[arg-type]
    with torch.device("meta"):
        real = count_parameters(AudioFc(config, shape))
    assert AudioFc.parameters_of(config, shape) == real


def test_the_literal_form_at_the_papers_size_is_what_the_paper_could_not_hold() -> None:
    shape = CodeShape(63, 36, 64, 64, 2560, 16000)  # strides 4, 4, 4 of 10 s at 256x144, 25 fps
    config = AudioFc.Config(form="literal", hidden=512)
    with torch.device("meta"):
        real = count_parameters(AudioFc(config, shape))
    assert AudioFc.parameters_of(config, shape) == real > 4.5e9


def test_each_form_has_its_own_target() -> None:
    assert (AudioFc.Config(form="literal").learns, AudioFc.Config(form="tied").learns) == ("waveform", "log_magnitude")
    assert AudioFc.Config(form="tied", target="mr_stft").learns == "mr_stft"


@pytest.mark.parametrize(("name", "value"), [("hidden", 0), ("context", 0), ("narrow", -1), ("moved", -1)])
def test_sizes_that_cannot_be_are_named(name: str, value: int) -> None:
    with pytest.raises(UsageError, match=rf"audio_fc: {name}: at least \d, got {value}"):
        AudioFc.Config(**{name: value})  # type: ignore[arg-type]


def test_maps_are_not_moved_away() -> None:
    with pytest.raises(UsageError, match="moved: 2 would leave nothing of code maps of 2x3"):
        decoder("tied", moved=2)


def test_maps_move_whole_with_their_edges_repeated_and_every_step_is_drawn() -> None:
    torch.manual_seed(0)
    one = torch.arange(2 * 3 * 4 * 5.0).reshape(1, 2, 3, 4, 5)
    found = moved(one.repeat(400, 1, 1, 1, 1), 1)
    edged = F.pad(one[0], (1, 1, 1, 1), mode="replicate")
    possible = [edged[:, :, y : y + 4, x : x + 5] for y in range(3) for x in range(3)]
    counts = [int((found == map_).all(dim=(1, 2, 3, 4)).sum()) for map_ in possible]
    assert sum(counts) == 400
    assert min(counts) > 20


def test_maps_move_in_training_only() -> None:
    model, read = decoder("tied", moved=1), values(batch=8)
    model.eval()
    assert torch.equal(model.log_magnitudes(read), model.log_magnitudes(read))
    model.train()
    assert not torch.equal(model.log_magnitudes(read), model.log_magnitudes(read))


def test_a_narrow_decoder_reads_each_code_by_the_same_layer() -> None:
    model, read = decoder("tied", narrow=1, context=1).eval(), values()
    other = read + torch.linalg.svd(model.narrow.weight)[2][-1][:, None, None, None]  # what the layer does not see
    torch.testing.assert_close(model.log_magnitudes(other), model.log_magnitudes(read))
    assert model.layers[0].in_features == SHAPE.height * SHAPE.width


@pytest.mark.parametrize("frames", [1, 2, 7, 8])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("form", FORMS)
def test_every_frame_has_its_samples(form: str, target: str, frames: int) -> None:
    sound = decoder(form, target=target).eval().generate(values(frames))
    assert sound.shape == (2, frames * SHAPE.samples_per_frame)
    assert bool(torch.isfinite(sound).all())


def test_changes_alone_are_read_where_asked_for() -> None:
    torch.manual_seed(0)
    changing, whole = decoder("tied", changes=True).eval(), decoder("tied").eval()
    whole.load_state_dict(changing.state_dict())
    moving, backdrop = values(), torch.randn(2, SHAPE.dim, 1, SHAPE.height, SHAPE.width)
    with torch.no_grad():
        same = changing.log_magnitudes(moving), changing.log_magnitudes(moving + backdrop)
        other = whole.log_magnitudes(moving), whole.log_magnitudes(moving + backdrop)
    assert torch.allclose(*same, atol=1e-5)
    assert not torch.allclose(*other, atol=1e-2)
    assert not torch.allclose(same[0][:, :4], same[0][:, 4:8], atol=1e-3)


@pytest.mark.parametrize("frames", [9, 50])
def test_the_tied_form_takes_any_length(frames: int) -> None:
    assert decoder("tied").generate(values(frames)).shape == (2, frames * SHAPE.samples_per_frame)


def test_frames_shorter_than_the_window_have_sound_too() -> None:
    shape = CodeShape(8, 2, 3, 4, 320, 16000)  # 50 frames per second: one frame is less than half a window
    assert decoder("tied", shape).generate(values(1)).shape == (2, 320)


def test_frames_that_are_not_whole_hops_are_refused() -> None:
    with pytest.raises(ValueError, match="1000 audio samples per latent frame are not whole hops of 320"):
        decoder("tied", CodeShape(8, 2, 3, 4, 1000, 16000))


def test_the_waveform_is_a_tanh() -> None:
    literal = decoder("literal")
    with torch.no_grad():
        literal.layers[-1].weight.mul_(1e4)
    wave = literal.waveform(values()).detach()
    assert wave.shape == (2, SHAPE.samples)
    assert float(wave.abs().max()) == 1.0
    assert bool(torch.isfinite(literal.generate(values())).all())


def test_the_tanh_of_the_target_is_undone_at_generation() -> None:
    literal = decoder("literal")
    sound = 2 * torch.rand(1, SHAPE.samples) - 1
    with torch.no_grad():
        literal.layers[-1].weight.zero_()
        literal.layers[-1].bias.copy_(sound[0])
    loss = literal.loss(values(batch=1), sound)
    assert float(loss.total.detach()) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(literal.generate(values(batch=1)), sound, atol=1e-5, rtol=0)
    wrong = literal.loss(values(batch=1), -sound)
    assert wrong.parts["waveform_mse"] == pytest.approx(float((2 * torch.tanh(sound)).square().mean()), rel=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("target", ["waveform", "mr_stft"])
def test_without_squash_the_sound_itself_is_the_target(form: str, target: str) -> None:
    frames = 1 if form == "tied" else SHAPE.frames  # the tied form's bias is one frame
    samples = frames * SHAPE.samples_per_frame
    model = decoder(form, target=target, squash="none")
    sound = 1.8 * torch.rand(1, samples) - 0.9
    with torch.no_grad():
        model.layers[-1].weight.zero_()
        model.layers[-1].bias.copy_(torch.atanh(sound[0]))
    assert float(model.loss(values(frames, batch=1), sound).total.detach()) == pytest.approx(0, abs=1e-3)
    torch.testing.assert_close(model.generate(values(frames, batch=1)), sound, atol=1e-5, rtol=0)


def test_samples_of_the_tied_form_stand_where_their_frame_does() -> None:
    tied = decoder("tied", target="waveform", context=1)
    here = values(20, batch=1)
    changed = here.clone()
    changed[:, :, 10] += 1.0
    moved = (tied.generate(here) != tied.generate(changed))[0].nonzero()[:, 0]
    assert (int(moved.min()) // 1280, int(moved.max()) // 1280) == (10, 10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_learned(form: str, target: str) -> None:
    time = torch.arange(SHAPE.samples) / 16000
    sound = torch.stack([0.5 * torch.sin(2 * torch.pi * hz * time) for hz in (500, 2000)])  # 40 and 160 turns a frame
    torch.manual_seed(0)
    model, seen = decoder(form, target=target, hidden=32), values()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    curve = []
    for _ in range(40):
        loss = model.loss(seen, sound)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        curve.append(next(iter(loss.parts.values())))
    assert curve[-1] < 0.7 * curve[0], curve


@pytest.mark.parametrize("context", [1, 3, 4])
def test_the_tied_form_looks_at_its_neighbours_only(context: int) -> None:
    tied = decoder("tied", context=context)
    here = values(20, batch=1)
    changed = here.clone()
    changed[:, :, 10] += 1.0
    moved = (tied.log_magnitudes(here) != tied.log_magnitudes(changed)).any(dim=2)[0]
    per_frame = moved.reshape(20, tied.hops).any(dim=1)
    side = context // 2
    reach = range(10 - (context - 1 - side), 10 + side + 1)
    assert per_frame.nonzero()[:, 0].tolist() == list(reach)


def test_the_tied_form_at_one_place_is_the_same_everywhere() -> None:
    tied = decoder("tied")
    long = values(30, batch=1)
    torch.testing.assert_close(
        tied.log_magnitudes(long)[:, 10 * tied.hops : 20 * tied.hops],
        tied.log_magnitudes(long[:, :, 9:21])[:, tied.hops : -tied.hops],
    )


def test_the_target_is_the_metrics_spectrogram() -> None:
    sound = torch.from_numpy(noise_track(SHAPE.samples / 16000, 16000))
    target = decoder("tied")._log_magnitudes(sound[None])[0]
    expected = np.log(np.maximum(spectrogram(sound.numpy(), 16000), FLOOR)).T
    assert target.shape == expected.shape == (SHAPE.samples // 320, WINDOW // 2 + 1)
    # Near the floor rounding decides; it is compared as a magnitude.
    np.testing.assert_allclose(np.exp(target.numpy()), np.exp(expected), atol=1e-4)


def test_levels_come_from_the_first_batch_and_stay() -> None:
    tied = decoder("tied")
    sound = 0.1 * torch.randn(2, SHAPE.samples)
    tied.eval()
    tied.loss(values(), sound)
    assert not bool(tied.level_started)
    tied.train()
    tied.loss(values(), sound)
    target = tied._log_magnitudes(sound)
    torch.testing.assert_close(tied.level, target.mean(dim=(0, 1)))
    standard = (target - tied.level) / tied.spread
    assert float(standard.std()) == pytest.approx(1, abs=1e-3)
    level = tied.level.clone()
    resumed = decoder("tied")
    resumed.load_state_dict(tied.state_dict())
    resumed.loss(values(), 0.001 * sound)
    assert torch.equal(resumed.level, level)


def test_silence_gives_a_finite_loss() -> None:
    loss = decoder("tied").loss(values(), torch.zeros(2, SHAPE.samples))
    assert bool(torch.isfinite(loss.total))


def pings(seconds: float) -> np.ndarray:
    """Decaying tones: sound with onsets and clear partials."""
    time = np.arange(round(16000 * seconds)) / 16000
    out = np.zeros_like(time)
    for i, start in enumerate(np.arange(0.1, seconds, 0.35)):
        later = np.maximum(time - start, 0)
        out += (time >= start) * np.exp(-6 * later) * np.sin(2 * np.pi * (300 + 170 * i) * later)
    return (0.4 * out).astype(np.float32)


def test_griffin_lim_gives_the_spectrum_back() -> None:
    sound = pings(2.0)
    magnitudes = spectrogram(sound, 16000)
    made = griffin_lim(torch.from_numpy(magnitudes)[None], 320, len(sound), 32)[0].numpy()
    assert made.shape == sound.shape
    again = spectrogram(made, 16000)
    error = np.linalg.norm(again - magnitudes) / np.linalg.norm(magnitudes)
    assert error < 0.15
    assert np.sum(made**2) == pytest.approx(np.sum(sound**2), rel=0.1)


def test_griffin_lim_is_librosas() -> None:
    sound = noise_track(1.0, 16000)
    magnitudes = np.abs(librosa.stft(sound, n_fft=WINDOW, hop_length=320, pad_mode="reflect")).astype(np.float32)
    ours = griffin_lim(torch.from_numpy(magnitudes)[None], 320, len(sound), 4)[0].numpy()
    theirs = librosa.griffinlim(
        magnitudes, n_iter=4, hop_length=320, n_fft=WINDOW, length=len(sound), init=None, pad_mode="reflect"
    )
    np.testing.assert_allclose(ours, theirs, atol=2e-3 * np.abs(theirs).max())


def test_the_tied_form_learns_which_code_sounds_how() -> None:
    torch.manual_seed(0)
    tied = decoder("tied", context=1, hidden=32, iterations=16)
    one, other = values(batch=2).chunk(2)
    low, high = (torch.sin(2 * torch.pi * hz * torch.arange(SHAPE.samples) / 16000)[None] * 0.3 for hz in (400, 3000))
    pairs = torch.cat([one, other]), torch.cat([low, high])
    optimizer = torch.optim.Adam(tied.parameters(), lr=3e-3)
    first = None
    for _ in range(120):
        loss = tied.loss(*pairs).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first = first or float(loss.detach())
    assert first is not None and float(loss.detach()) < 0.2 * first
    for given_values, hz in ((one, 400), (other, 3000)):
        spectrum = np.abs(np.fft.rfft(tied.eval().generate(given_values)[0].numpy()))
        assert np.fft.rfftfreq(SHAPE.samples, 1 / 16000)[spectrum.argmax()] == pytest.approx(hz, abs=40)


@pytest.mark.parametrize("form", ["tied", "literal"])
def test_activation_bytes_grow_with_the_batch(form: str) -> None:
    config = AudioFc.Config(form=form)  # type: ignore[arg-type]
    one = AudioFc.activation_bytes(config, SHAPE, 1)
    assert AudioFc.activation_bytes(config, SHAPE, 5) == 5 * one > 0
