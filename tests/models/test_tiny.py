"""Tiny models: never a fallback, only when asked for, and stamped on everything made with them."""

from pathlib import Path

import pytest

from v2a_data.errors import MissingToolError, UsageError
from v2a_data.models import store
from v2a_data.models.choice import is_rendered, model_names, names_tiny, not_for_use, require, with_models
from v2a_data.models.registry import TINY
from v2a_data.recipe import Recipe, load_recipe


def recipe(**source: object) -> Recipe:
    return load_recipe("airplane", {"source": source})


def test_real_recipes_name_real_models() -> None:
    assert model_names(recipe()) == ["ced-tiny", "ViT-B-32-256/datacomp_s34b_b86k"]
    assert model_names(load_recipe("airplane_quality"))[1] == "PE-Core-B-16/meta"
    assert model_names(load_recipe("demo")) == list(reversed(TINY))
    assert not not_for_use(recipe())


def test_tiny_replaces_both_models_and_the_hash_shows_it(tiny: Path) -> None:
    changed = with_models(recipe(), "tiny")
    assert changed.scorers["clip_topic"].model == "v2a-tiny-clip"
    assert changed.scorers["clip_topic"].image_px == 32
    assert changed.scorers["clip_topic"].on == recipe().scorers["clip_topic"].on
    assert changed.scorers["audio_tags"].model == "v2a-tiny-tagger"
    assert changed.hash != recipe().hash
    assert not_for_use(changed)
    require(changed)
    for name in ("clip_topic", "audio_tags"):
        from v2a_data.scorers import SCORERS

        scorer = SCORERS[name](changed.scorers[name])
        scorer.open("cpu")
        assert scorer.model.name in names_tiny(changed)
        assert len(scorer.model.sha256) == 64


def test_a_build_without_them_says_so(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PACKAGED", tmp_path / "none")
    with pytest.raises(MissingToolError, match="not in this build"):
        with_models(recipe(), "tiny")


@pytest.mark.parametrize(
    ("source", "rendered"),
    [
        ({"name": "synthetic", "input": "w"}, True),
        ({"name": "youtube8m"}, False),
        ({"name": "local", "input": "w"}, False),
        ({"name": "ids"}, False),
        ({"label_url": "http://127.0.0.1:1/{mid}", "lookup_url": "http://127.0.0.1:1/{id}", "watch_url": "http://localhost:1/{id}"}, True),
        ({"label_url": "http://127.0.0.1:1/{mid}", "lookup_url": "http://127.0.0.1:1/{id}"}, False),
        ({"label_url": "http://127.0.0.1.example.org/{mid}", "lookup_url": "http://127.0.0.1:1/{id}", "watch_url": "http://[::1]:1/{id}"}, False),
    ],
)  # fmt: skip
def test_only_rendered_worlds_may_name_tiny_models_without_a_word(
    source: dict[str, str], rendered: bool, tiny: Path
) -> None:
    named = with_models(recipe(**source), "tiny")
    assert is_rendered(named) is rendered
    if rendered:
        assert with_models(named, None) == named
    else:
        with pytest.raises(UsageError, match="is real") as caught:
            with_models(named, None)
        assert "--models tiny" in (caught.value.hint or "")


def test_other_words_are_refused() -> None:
    with pytest.raises(UsageError, match="expected 'tiny'"):
        with_models(recipe(), "small")


def test_local_files_are_no_business_of_the_store(made: dict[str, Path]) -> None:
    over = {"scorers": {"clip_topic": {"weights": "x.safetensors"}, "audio_tags": {"model": "/x/y.onnx"}}}
    assert model_names(load_recipe("airplane", over)) == []


def test_an_evaluation_on_stamped_clips_says_so() -> None:
    from v2a.evaluate import Evaluation, evaluation_text

    assert "NOT FOR USE" in evaluation_text(Evaluation(1, 1, [], not_for_use=True).to_json())
    assert "NOT FOR USE" not in evaluation_text(Evaluation(1, 1, []).to_json())
