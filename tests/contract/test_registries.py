"""Every row of every registry: it imports, says what it is, whose it is, and does something."""

import dataclasses
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from makers import noise_track
from tiny import ARCHITECTURE, make_clap, make_clip, make_embed, make_sync, make_tagger
from v2a.metrics import METRICS
from v2a.metrics.base import Clip, Sound
from v2a.models import MODELS

from v2a_data import resources
from v2a_data.errors import UsageError
from v2a_data.models.registry import MODELS as PULLED
from v2a_data.models.registry import SUFFIXES, TINY, ModelRow
from v2a_data.registry import Registry
from v2a_data.scorers import SCORERS
from v2a_data.scorers.base import Field, Needs, VideoTap
from v2a_data.sources import SOURCES
from v2a_data.synthetic import SUBJECTS

REGISTRIES = {"source": SOURCES, "scorer": SCORERS, "model": MODELS, "metric": METRICS, "synthetic label": SUBJECTS}
ROWS = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry]


def complaints(kind: str, name: str, thing: type) -> list[str]:
    """What a registry row lacks."""
    wanted = {
        "source": ("licence", "citation", "note"),
        "scorer": ("licence", "version", "writes"),
        "model": ("licence", "source"),
        "metric": ("licence", "source"),
        "synthetic label": (),
    }[kind]
    found = [f"no {attribute}" for attribute in wanted if not getattr(thing, attribute, None)]
    if len((inspect.getdoc(thing) or "").split()) < 4:
        found.append("no docstring")
    if len((inspect.getdoc(inspect.getmodule(thing)) or "").split()) < 5:
        found.append("no module docstring")
    if kind not in ("synthetic label",) and getattr(thing, "name", None) != name:
        found.append("its name is not the row's")
    if kind == "scorer" and not all(isinstance(f, Field) and f.unit and len(f.meaning) > 5 for f in thing.writes):
        found.append("a field without unit or meaning")
    return found


@pytest.mark.parametrize(("kind", "name"), ROWS)
def test_every_row_says_what_and_whose_it_is(kind: str, name: str) -> None:
    assert complaints(kind, name, REGISTRIES[kind][name]) == []


@pytest.mark.parametrize(("kind", "name"), [row for row in ROWS if row[0] in ("source", "scorer", "model", "metric")])
def test_every_row_is_one_file_named_in_the_docs(kind: str, name: str) -> None:
    module = REGISTRIES[kind].rows[name].partition(":")[0]
    rows = [row.partition(":")[0] for row in REGISTRIES[kind].rows.values()]
    # The headline is the same measure among fewer clips.
    assert rows.count(module) == (2 if name.startswith("swap_auc") else 1)
    readme = (Path(resources.__file__).parents[1] / "README.md").read_text()
    assert f"`{name}`" in readme


def test_the_contract_notices_what_is_missing() -> None:
    class Bare:
        name, writes = "x", ()

    class Vague:
        """A scorer with everything but."""

        name, licence, version, writes = "x", "", 0, (Field("score", "", "x"),)

    assert complaints("scorer", "x", Bare) == ["no licence", "no version", "no writes", "no docstring"]
    assert complaints("scorer", "x", Vague) == ["no licence", "no version", "a field without unit or meaning"]
    assert complaints("source", "y", Bare) == [
        "no licence",
        "no citation",
        "no note",
        "no docstring",
        "its name is not the row's",
    ]


def row_complaints(row: ModelRow) -> list[str]:
    """What a row of the table of models lacks."""
    from v2a_data.scorers.taggers import family

    found = [f"no {name}" for name in ("licence", "source", "note") if len(getattr(row, name)) < 3]
    found += [f"{file.name} is no safe format" for file in row.files if Path(file.name).suffix not in SUFFIXES]
    found += [
        f"{file.name}: no sha256" for file in row.files if file.sha256 and not re.fullmatch("[0-9a-f]{64}", file.sha256)
    ]
    if row.packaged == bool(row.repo):
        found.append("neither packaged nor pulled, or both")
    if row.revision and not re.fullmatch("[0-9a-f]{40}", row.revision):
        found.append("its revision is no full commit")
    if row.scorer is None and "use" not in row.note and row.kind != "clap":
        found.append("the note does not say that nothing uses it")
    if row.scorer is not None:
        if row.weights is None:
            found.append("no weights")
        if not SCORERS[row.scorer].uses_model:
            found.append("its scorer uses no model")
        if row.kind == "tagger":
            family(str(row.family))
    return found


@pytest.mark.parametrize("name", PULLED)
def test_every_model_says_what_and_whose_it_is(name: str) -> None:
    assert PULLED[name].name == name
    assert row_complaints(PULLED[name]) == []


def test_clip_rows_are_where_open_clip_looks_for_them() -> None:
    import open_clip

    for row in PULLED.values():
        if row.kind == "clip" and not row.packaged:
            assert open_clip.get_pretrained_cfg(*row.name.split("/"))["hf_hub"] == f"{row.repo}/"


def test_recipes_name_models_of_the_table_and_no_tiny_ones() -> None:
    from v2a_data.derive import derived_table
    from v2a_data.models.choice import model_names
    from v2a_data.recipe import build_recipe, load_recipe

    shipped = [load_recipe(path.stem) for path in resources.pipelines().glob("*.toml")]
    for recipe in (*shipped, build_recipe(derived_table(["Helicopter"], "youtube8m", None), "derived")):
        named = {config.model for config in recipe.scorers.values() if hasattr(config, "model")}
        assert named == set(model_names(recipe))
        assert recipe.name == "demo" or not named & set(TINY)


def test_the_contract_of_models_notices_what_is_missing() -> None:
    from v2a_data.models.registry import ModelFile

    bare = ModelRow(
        name="x", kind="clip", files=(ModelFile("x.bin", "12"),), licence="", source="", note="", revision="main"
    )
    assert row_complaints(bare) == [
        "no licence", "no source", "no note", "x.bin is no safe format", "x.bin: no sha256",
        "neither packaged nor pulled, or both", "its revision is no full commit",
        "the note does not say that nothing uses it",
    ]  # fmt: skip


def test_unknown_names_show_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown scorer 'moton'; did you mean 'motion'"):
        SCORERS["moton"]
    with pytest.raises(UsageError, match="known: a, b"):
        Registry("thing", {"a": "x:A", "b": "x:B"})["zzzzzz"]


def test_no_two_scorers_write_the_same_field() -> None:
    names = [field.name for name in SCORERS for field in SCORERS[name].writes]
    assert len(names) == len(set(names))


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("models")
    architecture, weights = make_clip(folder, steps=40)
    tagger = make_tagger(folder, ("/m/0cmf2", "/m/04rlf", "/m/09x0r", "/t/dd00002"))
    more = {
        "clip_topic": {
            "model": ARCHITECTURE,
            "weights": str(weights),
            "architecture_file": str(architecture),
            "image_px": 32,
            "on": ("a red picture",),
            "off": ("a blue picture",),
        },
        "audio_tags": {"model": str(tagger), "classes": ("/m/0cmf2",)},
        "audio_text": {
            "weights": str(make_clap(folder / "clap", steps=0)),
            "on": ("a low sound",),
            "off": ("a high sound",),
        },
        "av_embed": {"path": str(make_embed(folder / "embed"))},
        "av_sync": {"path": str(make_sync(folder / "sync"))},
        "listed_heard": {"list": str(strong_list(folder)), "labels": {"x": ("/m/0bt9lr",)}},
    }
    return {name: SCORERS[name](SCORERS[name].Config(**more.get(name, {}))) for name in SCORERS}


def strong_list(folder: Path) -> Path:
    """People heard a dog for a second of the second video below."""
    path = folder / "strong.tsv"
    path.write_text("video000001_0\t1.0\t2.0\t/m/0bt9lr\n")
    return path


WINDOWS = 5


def varied_taps(needs: Needs) -> list[VideoTap]:
    """Videos of 10 s that differ in everything a scorer can look at."""
    from v2a_data.synthetic.tones import voice

    rng, starts, size = np.random.default_rng(0), np.arange(WINDOWS) * 2.0, 2 * WINDOWS * 16000
    quiet, loud = np.zeros(size, np.float32), noise_track(2.0 * WINDOWS, 16000)
    talk = np.resize(np.concatenate([voice(0), voice(1)]), size)
    hum, hiss = ((0.3 * np.sin(2 * np.pi * hz * np.arange(size) / 16000)).astype(np.float32) for hz in (120, 4000))
    taps = []
    for i, sound in enumerate((quiet, loud, np.clip(loud * 30, -1, 1), talk, hum, hiss)):
        colour, shape = ((200, 30, 30), (40, 60, 200))[i % 2], (WINDOWS, needs.frames_per_window, 32, 40, 3)
        frames = np.full(shape, colour, np.uint8) if needs.frames_per_window else None
        if frames is not None and i > 2:
            frames[:, ::3] = 255
        luma = np.full((25 * WINDOWS, 36, 64), 16 if i == 0 else 120, np.uint8)
        if i == 2:  # slides
            luma = np.repeat(rng.integers(0, 255, (WINDOWS, 36, 64), dtype=np.uint8), 25, axis=0)
        if i not in (0, 2):
            luma = rng.integers(0, 255, luma.shape, dtype=np.uint8)
        sides = [sound, -sound] if i == 1 and needs.sound == "source" else [sound]
        taps.append(
            VideoTap(
                f"yt-video{i:06d}", "x", starts, frames, None if frames is None else np.zeros(frames.shape[:2]),
                luma, np.arange(len(luma)) / 12.5, np.stack(sides).astype(np.float32), 16000, 0.0,
                title=("how to", "a title", None)[i % 3],
            )
        )  # fmt: skip
    return taps


@pytest.mark.parametrize("name", list(SCORERS))
def test_every_scorer_writes_what_it_declares_and_varies(name: str, configured: dict[str, object]) -> None:
    scorer = configured[name]
    scorer.open("cpu")
    taps = varied_taps(scorer.needs)
    found = scorer.score(taps)
    assert len(found) == len(taps)
    for field in scorer.writes:
        columns = [np.asarray(scores.fields[field.name]) for scores in found]
        assert all(column.shape == (WINDOWS,) for column in columns)
        values = np.concatenate(columns)
        values = values[~np.isnan(values)]
        assert len(values), f"{field.name} was measured nowhere"
        assert values.var() > 0, f"{field.name} says the same of everything"
        if field.unit == "0..1":
            assert values.min() >= 0
            assert values.max() <= 1
    assert all(scores.fields.keys() == {field.name for field in scorer.writes} for scores in found)
    assert all(scores.evidence_s.shape == (WINDOWS,) for scores in found)


@pytest.mark.parametrize("name", list(SCORERS))
def test_scores_do_not_depend_on_the_company(name: str, configured: dict[str, object]) -> None:
    scorer = configured[name]
    scorer.open("cpu")
    taps = varied_taps(scorer.needs)
    together = scorer.score(taps)
    for tap, expected in zip(taps, together, strict=True):
        (alone,) = scorer.score([tap])
        for field, values in alone.fields.items():
            assert np.allclose(values, expected.fields[field], atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("name", list(SCORERS))
def test_models_are_named_with_hash_and_licence(name: str, configured: dict[str, object]) -> None:
    scorer = configured[name]
    # The list decides the scores as a model would, and needs no worker of its own.
    if scorer.uses_model or name == "listed_heard":
        assert scorer.model.name
        assert scorer.model.licence
        assert len(scorer.model.sha256) == 64
    else:
        assert scorer.model is None


@pytest.mark.parametrize("name", list(METRICS))
def test_every_metric_tells_the_real_sound_from_silence(name: str) -> None:
    metric = METRICS[name]()
    clips = [Clip(f"k{i}", "AB"[i % 2], f"g{i}", Sound(pulses(i), 16000)) for i in range(8)]
    real, none = ([Sound(c.real.samples * scale, 16000) for c in clips] for scale in (1.0, 0.0))
    best, worst = (np.mean([v for v in metric(made, clips) if v is not None]) for made in (real, none))
    assert best != worst
    if metric.higher_is_better is not None:
        assert bool(best > worst) is metric.higher_is_better
    assert isinstance(metric.headline, bool)


def pulses(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    sound = np.zeros(32000, np.float32)
    for start in rng.integers(0, 30000, 5):
        length = min(1600, len(sound) - start)
        sound[start : start + length] += (rng.normal(0, 0.2, length) * np.exp(-np.arange(length) / 300)).astype(
            np.float32
        )
    return sound


def test_configurations_are_frozen_dataclasses() -> None:
    for registry in (SCORERS, MODELS):
        for name in registry:
            config = registry[name].Config
            assert dataclasses.is_dataclass(config)
            assert config.__dataclass_params__.frozen
