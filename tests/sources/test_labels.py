"""Label names resolve offline in both tables, with what is known of the public files."""

import pytest

from v2a_data.derive import audio_classes, derived_table, off_prompts, on_prompts
from v2a_data.recipe import build_recipe
from v2a_data.sources.label_tables import (
    ancestors,
    audioset_labels,
    descendants,
    find,
    make_audioset,
    make_youtube8m,
    search,
    youtube8m_labels,
)


def test_tables_are_the_public_ones() -> None:
    assert len(youtube8m_labels()) == 3862
    assert len(audioset_labels()) == 632
    assert sum(not label.name for label in youtube8m_labels()) == 56
    airplane = find(youtube8m_labels(), "Airplane")
    assert (airplane.id, airplane.count, airplane.parents) == (
        "/m/05czz6l",
        35170,
        ("Autos & Vehicles", "Law & Government"),
    )
    assert find(audioset_labels(), "airplane").id == "/m/0cmf2"


def test_ontology_is_a_graph_with_several_parents() -> None:
    assert len([label for label in audioset_labels() if len(label.parents) > 1]) > 10
    assert "/m/0bt9lr" in ancestors("/m/05tny_")
    assert "/m/05tny_" in descendants("/m/0bt9lr")
    assert set(descendants("/m/0cmf2")) <= set(descendants("/m/0k5j"))


def test_search_gives_exact_names_first() -> None:
    found = list(search(youtube8m_labels(), "drum"))
    assert found[0].name == "Drum"
    assert "Drum kit" in [label.name for label in found]
    assert list(search(youtube8m_labels(), "no such thing at all")) == []


@pytest.mark.parametrize(
    ("label", "expected"),
    [("Helicopter", ["/m/09ct_"]), ("Fireworks", ["/m/0g6b5"]), ("Chainsaw", ["/m/01j4z9"]), ("Poster", [])],
)
def test_audio_classes_of_a_label(label: str, expected: list[str]) -> None:
    assert audio_classes(label) == expected


def test_negatives_hold_toys_siblings_and_generic_kinds() -> None:
    off = off_prompts("Helicopter")
    assert "a radio-controlled helicopter" in off
    assert "a person talking to the camera" in off
    assert not any(prompt in off for prompt in on_prompts("Helicopter"))
    assert on_prompts("Airplane")[0] == "an airplane"
    assert on_prompts("Fireworks")[0] == "fireworks"


@pytest.mark.parametrize("label", ["Helicopter", "Drum", "no such label", "Nike, Inc.", "=cmd|x", "日本"])
def test_any_label_gets_a_recipe_that_loads(label: str) -> None:
    recipe = build_recipe(derived_table([label], "youtube8m", None), "derived")
    assert recipe.labels == (label,)
    assert recipe.scorers["clip_topic"].labels[label].on


def test_tables_are_made_from_the_public_forms(tmp_path) -> None:
    vocabulary = tmp_path / "v.csv"
    vocabulary.write_text(
        "Index,TrainVideoCount,KnowledgeGraphId,Name,WikiUrl,Vertical1,Vertical2,Vertical3,WikiDescription\n"
        '0,12,/m/0a,"Nike, Inc.",u,Shopping,,,"text ""quoted"""\n1,3,/m/0b,,u,Games,Sports,,\n'
    )
    ontology = tmp_path / "o.json"
    ontology.write_text('[{"id":"/m/1","name":"A","child_ids":["/m/2"]},{"id":"/m/2","name":"B, b","child_ids":[]}]')
    assert (make_youtube8m(vocabulary, tmp_path), make_audioset(ontology, tmp_path)) == (2, 2)
    assert (tmp_path / "youtube8m_labels.csv").read_text().splitlines()[1:] == [
        "id,name,count,parents",
        '/m/0a,"Nike, Inc.",12,Shopping',
        "/m/0b,,3,Games|Sports",
    ]
    assert (tmp_path / "audioset_labels.csv").read_text().splitlines()[2:] == ["/m/1,A,,", '/m/2,"B, b",,/m/1']
