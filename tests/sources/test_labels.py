"""Label names resolve offline in both tables, with what is known of the public files."""

import json

import pytest
from rebuilding import run

from v2a_data.derive import audio_classes, derived_table, off_prompts, on_prompts
from v2a_data.recipe import build_recipe
from v2a_data.sources.label_tables import (
    aliases,
    ancestors,
    audioset_labels,
    ave_labels,
    descendants,
    find,
    label_ids,
    make_audioset,
    make_ave,
    make_vggsound,
    make_youtube8m,
    search,
    vegas_labels,
    vggsound_labels,
    youtube8m_labels,
)


def test_tables_are_the_public_ones() -> None:
    assert len(youtube8m_labels()) == 3862
    assert len(audioset_labels()) == 632
    assert len(vggsound_labels()) == 309
    assert sum(label.count for label in vggsound_labels()) == 199_176
    assert find(vggsound_labels(), "playing volleyball").count == 991
    assert len(ave_labels()) == 28
    assert sum(label.count for label in ave_labels()) == 4143
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


TABLES = {
    "youtube8m": youtube8m_labels,
    "audioset": audioset_labels,
    "vggsound": vggsound_labels,
    "ave": ave_labels,
}


def test_every_alias_is_a_label_of_its_source() -> None:
    assert len(aliases()) > 20
    for name, by in aliases().items():
        for source, labels in TABLES.items():
            assert set(by[source]) <= {label.id for label in labels()}, (name, source)
        assert len(by["youtube8m"]) <= 1
        found = find(youtube8m_labels(), name)
        assert found is None or by["youtube8m"] == (found.id,), "an alias agrees with the name itself"
    folders = "baby_cry chainsaw dog drum fireworks helicopter printer rail_transport snoring water_flowing"
    assert sorted(label.id for label in vegas_labels()) == folders.split()
    assert all(aliases()[label.name]["audioset"] for label in vegas_labels())


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Printers", {"youtube8m": "/m/01m4t", "audioset": "/m/01m4t", "vggsound": "printer printing"}),
        ("baby_cry", {"audioset": "/t/dd00002", "vggsound": "baby crying", "ave": "Baby cry, infant cry"}),
        (
            "Helicopter",
            {"youtube8m": "/m/09ct_", "audioset": "/m/09ct_", "vggsound": "helicopter", "ave": "Helicopter"},
        ),
        ("airplane flyby", {"vggsound": "airplane flyby"}),
        ("Poster", {"youtube8m": "/m/01n5jq"}),
    ],
)
def test_one_name_has_its_ids_in_every_source(label: str, expected: dict[str, str]) -> None:
    found = {source: label_ids(label, labels()) for source, labels in TABLES.items()}
    assert {source: ids[0] for source, ids in found.items() if ids} == expected


def test_the_command_shows_ids_and_counts_per_source() -> None:
    labels = json.loads(run("labels", "helicopter", "--json"))["labels"]
    shown = {(label["source"], label["id"]): label["count"] for label in labels}
    assert shown[("youtube8m", "/m/09ct_")] == 8820
    assert shown[("audioset", "/m/09ct_")] == 60
    assert shown[("vggsound", "helicopter")] == 1050
    assert shown[("ave", "Helicopter")] == 178
    assert shown[("vegas", "helicopter")] is None
    crying = {(label["source"], label["id"]) for label in json.loads(run("labels", "baby crying", "--json"))["labels"]}
    assert crying == {
        ("vggsound", "baby crying"),
        ("vegas", "baby_cry"),
        ("audioset", "/t/dd00002"),
        ("ave", "Baby cry, infant cry"),
    }


def test_siblings_are_negatives_where_youtube8m_has_no_such_label() -> None:
    off = off_prompts("Baby crying")
    assert not any("cry" in prompt and "infant" in prompt for prompt in off)
    beside = [label.name for label in audioset_labels() if "/m/0463cq4" in label.parents]
    assert beside == ["Baby cry, infant cry", "Whimper"]
    assert "a whimper" in off


def test_tables_are_made_from_the_public_forms(tmp_path) -> None:
    vocabulary = tmp_path / "v.csv"
    vocabulary.write_text(
        "Index,TrainVideoCount,KnowledgeGraphId,Name,WikiUrl,Vertical1,Vertical2,Vertical3,WikiDescription\n"
        '0,12,/m/0a,"Nike, Inc.",u,Shopping,,,"text ""quoted"""\n1,3,/m/0b,,u,Games,Sports,,\n'
    )
    ontology = tmp_path / "o.json"
    ontology.write_text('[{"id":"/m/1","name":"A","child_ids":["/m/2"]},{"id":"/m/2","name":"B, b","child_ids":[]}]')
    balanced = tmp_path / "b.csv"
    balanced.write_text(
        "# Segments csv\n# num_ytids=2\n# YTID, start_seconds, end_seconds, positive_labels\n"
        '--4gqARaEJE, 0.000, 10.000, "/m/2,/m/9"\n-abcdefghij, 0.000, 10.000, "/m/2"\n'
    )
    assert (make_youtube8m(vocabulary, tmp_path), make_audioset(ontology, balanced, tmp_path)) == (2, 2)
    assert (tmp_path / "youtube8m_labels.csv").read_text().splitlines()[1:] == [
        "id,name,count,parents",
        '/m/0a,"Nike, Inc.",12,Shopping',
        "/m/0b,,3,Games|Sports",
    ]
    assert (tmp_path / "audioset_labels.csv").read_text().splitlines()[2:] == ["/m/1,A,,", '/m/2,"B, b",2,/m/1']
    stat = tmp_path / "stat.csv"
    stat.write_text('"bird chirping, tweeting",1050,animals\nairplane,506,vehicle')
    events = tmp_path / "a.txt"
    events.write_text("B&RUhOCu3LNXM&good&0&10\nA, b&RUhOCu3LNXN&good&0&10\nB&RUhOCu3LNXO&good&0&10\n")
    assert (make_vggsound(stat, tmp_path), make_ave(events, tmp_path)) == (2, 2)
    assert (tmp_path / "vggsound_labels.csv").read_text().splitlines()[2:] == [
        '"bird chirping, tweeting","bird chirping, tweeting",1050,animals',
        "airplane,airplane,506,vehicle",
    ]
    assert (tmp_path / "ave_labels.csv").read_text().splitlines()[2:] == ['"A, b","A, b",1,', "B,B,2,"]
