"""`[train]` of a recipe: strict, over a shipped fragment."""

from fractions import Fraction

import pytest
from v2a.built import decoder_config, decoder_name, form_of, new_vqvae
from v2a.config import Optimisation, Stage, TrainConfig, View, load_train_config
from v2a.models import MODELS

from v2a_data import resources
from v2a_data.errors import UsageError
from v2a_data.recipe import load_recipe, to_table

FRAGMENTS = sorted(path.stem for path in resources.train_configs().glob("*.toml"))


def test_nothing_said_is_the_defaults() -> None:
    config = load_train_config({})
    assert config == TrainConfig()
    assert (config.view, config.vqvae.optimisation) == (View(), Optimisation())
    assert (config.vqvae.model, config.decoder.model) == ("vqvae3d", "audio_fc")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"sede": 1}, "train: unknown key 'sede'; did you mean 'seed' or 'sets'?"),
        ({"view": {"witdh": 4}}, "train.view: unknown key 'witdh'; did you mean 'width'"),
        (
            {"vqvae": {"model": "vqvae3d", "optimisation": {"step": 4}}},
            "optimisation: unknown key 'step'; did you mean",
        ),
        ({"vqvae": {"optimisation": {}}}, "train.vqvae: missing model"),
        ({"form": "tide"}, "'tide' is none of 'tied', 'literal'"),
        ({"view": {"fps": "0"}}, "train.view.fps: must be above 0"),
        ({"view": {"fps": "x"}}, "train.view.fps: expected a fraction"),
        ({"view": {"width": 1.5}}, "train.view.width: expected int, got 1.5"),
        ({"seed": True}, "train.seed: expected int, got True"),
        ({"config": "demmo"}, "train.config: no fragment named 'demmo'; did you mean 'demo'?"),
        ({"config": "zzz"}, "known: demo, literal, small, vqvae_airplane"),
        ({"config": ""}, "no fragment named ''"),
    ],
)
def test_mistakes_name_the_place_and_the_nearest(table: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_train_config(table)
    assert message in caught.value.message


def test_options_of_models_are_as_strict() -> None:
    with pytest.raises(UsageError, match=r"train\.vqvae\.options: unknown key 'chanels'; did you mean 'channels'"):
        new_vqvae(Stage(model="vqvae3d", options={"chanels": [1, 2]}))
    config = load_train_config({"decoder": {"model": "audio_fc", "options": {"hiden": 2}}})
    with pytest.raises(UsageError, match=r"train\.decoder\.options: unknown key 'hiden'; did you mean 'hidden'"):
        decoder_config(config)
    with pytest.raises(UsageError, match="did you mean 'vqvae3d'"):
        new_vqvae(Stage(model="vqvae3"))


def test_the_recipe_lies_over_the_fragment_value_by_value() -> None:
    plain = load_train_config({"config": "demo"})
    over = {
        "config": "demo",
        "seed": 7,
        "view": {"width": 32},
        "vqvae": {"options": {"codes": 5}, "optimisation": {"lr": 0.5}},
    }
    config = load_train_config(over)
    assert (config.seed, config.view.width) == (7, 32)
    assert (config.view.height, config.view.fps) == (plain.view.height, Fraction(25, 2))
    assert config.vqvae.options == {**plain.vqvae.options, "codes": 5}
    assert config.vqvae.optimisation.lr == 0.5
    assert config.vqvae.optimisation.steps == plain.vqvae.optimisation.steps
    assert config.decoder == plain.decoder
    assert load_train_config({"config": "demo"}) == plain  # the fragment itself did not change


@pytest.mark.parametrize("name", FRAGMENTS)
def test_every_fragment_builds_its_models(name: str) -> None:
    config = load_train_config({"config": name})
    assert new_vqvae(config.vqvae).name == "vqvae3d"
    assert decoder_config(config).form == config.form == ("literal" if name == "literal" else "tied")
    form = form_of(config.view)
    assert form.rate_hz / form.fps == form.samples_per_frame
    assert form.width % 2 == form.height % 2 == 0
    assert load_train_config(to_table(config)) == config


def test_shipped_recipes_name_fragments_that_exist() -> None:
    named = set()
    for path in resources.pipelines().glob("*.toml"):
        table = load_recipe(path.stem).train
        named.add(table.get("config"))
        load_train_config(table)
    assert "demo" in named


def test_the_forms_of_the_decoder_have_their_own_folders() -> None:
    assert {decoder_name(load_train_config({"form": form})) for form in ("tied", "literal")} == {
        "audio_fc-tied",
        "audio_fc-literal",
    }


def test_models_say_where_they_come_from() -> None:
    for name in MODELS:
        assert MODELS[name].name == name
        assert "2404.17608" in MODELS[name].source
        assert MODELS[name].licence
