"""The table of models, one row each: repository, commit, files, licence, what it is for.

A file whose `sha256` is null was not looked up from a trusted place when this table was written. It is
trusted at its first pull, recorded in `models.lock.json`, and enforced from then on (see `lock`). Where
`revision` is a full commit, the hub cannot serve another tree under it.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

Kind = Literal["clip", "tagger", "clap"]

# Formats that hold numbers and text. A pickle can run code when it is opened, so none is ever fetched.
SUFFIXES = (".safetensors", ".onnx", ".json", ".txt", ".csv")
WEIGHTS = (".safetensors", ".onnx")


@dataclass(frozen=True)
class ModelFile:
    """A file of a repository; `sha256` (hex) and `bytes` are null where they are not known."""

    name: str
    sha256: str | None = None
    bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One model. `scorer` is what can use it, null where nothing does yet; `family` says which adapter a
    tagger needs; `packaged` models ship with this package and are never pulled."""

    name: str
    kind: Kind
    files: tuple[ModelFile, ...]
    licence: str
    source: str
    note: str
    scorer: str | None = None
    family: str | None = None
    repo: str | None = None
    revision: str | None = None
    packaged: bool = False

    @property
    def weights(self) -> ModelFile | None:
        """The file with the numbers; null for a row that holds no such file."""
        return next((file for file in self.files if PurePosixPath(file.name).suffix in WEIGHTS), None)

    @property
    def folder(self) -> str:
        """Name of its folder in the models folder."""
        return self.name.replace("/", "--")

    @property
    def pin(self) -> str:
        """In words, what a pull is held to."""
        if self.packaged:
            return "with the package"
        if not self.files:
            return "cannot be pulled"
        if all(file.sha256 for file in self.files):
            return "sha256"
        return "commit; sha256 at first pull" if self.revision else "commit and sha256 at first pull"


_ROWS = (
    ModelRow(
        name="ViT-B-32-256/datacomp_s34b_b86k",
        kind="clip",
        scorer="clip_topic",
        repo="laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K",
        revision="ba78df284b4e6ddd1a53107796b2ed7b59c45ced",
        files=(ModelFile("open_clip_model.safetensors"),),
        licence="MIT",
        source="Gadre et al. 2023, DataComp, arXiv:2304.14108; trained by LAION with OpenCLIP",
        note="CLIP of the recipe airplane and of derived recipes; 605 MB, pictures of 256 px.",
    ),
    ModelRow(
        name="PE-Core-B-16/meta",
        kind="clip",
        scorer="clip_topic",
        repo="timm/PE-Core-B-16",
        files=(ModelFile("open_clip_model.safetensors"),),
        licence="Apache-2.0",
        source="Bolya et al. 2025, Perception Encoder, arXiv:2504.13181; converted by timm",
        note="CLIP of the recipe airplane_quality; pictures of 224 px, about 3 times the work. It was trained on "
        "squashed pictures; here it sees their middle square.",
    ),
    ModelRow(
        name="ced-tiny",
        kind="tagger",
        scorer="audio_tags",
        family="ced",
        repo="k2-fsa/sherpa-onnx-ced-tiny-audio-tagging-2024-04-19",
        revision="efe3a5cfad74e56598d855d055006903adc00e38",
        files=(ModelFile("model.onnx"), ModelFile("class_labels_indices.csv")),
        licence="Apache-2.0 (mispeech/ced-tiny, the weights; the page of the ONNX export names no licence)",
        source="Dinkel et al. 2024, CED: Consistent Ensemble Distillation for Audio Tagging, arXiv:2308.11957",
        note="AudioSet tagger of the shipped recipes, 527 classes, 22 MB. Its adapter is written from the published "
        "configuration and was not run against the real weights here.",
    ),
    ModelRow(
        name="efficientat-mn10",
        kind="tagger",
        family="mn10",
        repo="Chris-Kode/efficientat-mn10-as-onnx",
        files=(
            ModelFile(
                "efficientat-mn10-as.onnx",
                "bec20620ab8be5e41297b45845f6fb116fbe42cd4da339ad7d44f27630b7a504",
                20_200_590,
            ),
        ),
        licence="MIT",
        source="Schmid et al. 2023, Efficient Large-Scale Audio Tagging, arXiv:2211.04772; a third party's ONNX export",
        note="Nothing uses it yet: it takes 32 kHz sound, the decode gives 16 kHz. The sha256 is the one on its card.",
    ),
    ModelRow(
        name="ast-0.4593",
        kind="tagger",
        family="ast",
        repo="MIT/ast-finetuned-audioset-10-10-0.4593",
        files=(ModelFile("model.safetensors"), ModelFile("config.json"), ModelFile("preprocessor_config.json")),
        licence="BSD-3-Clause",
        source="Gong et al. 2021, AST: Audio Spectrogram Transformer, arXiv:2104.01778",
        note="Nothing uses it yet: it needs transformers, and 5 times the patches of CED for 10 s of sound; 346 MB.",
    ),
    ModelRow(
        name="clap-htsat-unfused",
        kind="clap",
        repo="laion/clap-htsat-unfused",
        revision="8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a",
        files=(),
        licence="Apache-2.0",
        source="Wu et al. 2023, Large-Scale Contrastive Language-Audio Pretraining, arXiv:2211.06687",
        note="Sound judged by text, for labels without an AudioSet class. Its weights are published as a pickle only, "
        "which is never fetched; the scorer audio_text takes a folder of your own in safetensors.",
    ),
    ModelRow(
        name="v2a-tiny-clip",
        kind="clip",
        scorer="clip_topic",
        packaged=True,
        files=(
            ModelFile(
                "v2a-tiny-clip.safetensors",
                "5affbb60210f1481247042fa37c3875867fe6c4d6d1a4d6424e617c6c5ddfb53",
                5_901_986,
            ),
            ModelFile("v2a-tiny-clip.json", "06370bee1b923f790b4ea62c66695c78e90972c6cbbccaef60695bf503f2e3e8", 247),
        ),
        licence="Apache-2.0",
        source="this project, trained on the synthetic world",
        note="Knows the rendered labels only. For demos and tests; what it judges is stamped not for use.",
    ),
    ModelRow(
        name="v2a-tiny-tagger",
        kind="tagger",
        scorer="audio_tags",
        family="waveform",
        packaged=True,
        files=(
            ModelFile(
                "v2a-tiny-tagger.onnx", "38c1dd88898e5c11c3c6cbbfda05460cff8911266af3855089d90b521a93b295", 866_724
            ),
            ModelFile("v2a-tiny-tagger.json", "1ec4036f35a329ccc38646a543464fb62ce85733c985ea4bcb37315c26141ee8", 451),
        ),
        licence="Apache-2.0",
        source="this project, trained on the synthetic world",
        note="Knows the rendered sounds only. For demos and tests; what it judges is stamped not for use.",
    ),
)
MODELS: dict[str, ModelRow] = {row.name: row for row in _ROWS}
TINY = tuple(row.name for row in _ROWS if row.packaged)


def find_row(name: str) -> ModelRow | None:
    """The row of a name; for "ARCHITECTURE/TAG" that the table lacks, what open_clip knows about it."""
    if name in MODELS:
        return MODELS[name]
    architecture, separator, tag = name.partition("/")
    return _open_clip_row(name, architecture, tag) if separator and architecture and tag else None


def _open_clip_row(name: str, architecture: str, tag: str) -> ModelRow | None:
    import open_clip

    known = open_clip.get_pretrained_cfg(architecture, tag)
    repo, _, file = str(known.get("hf_hub", "")).rpartition("/") if known else ("", "", "")
    if not repo:
        return None
    weights = f"{PurePosixPath(file).stem}.safetensors" if file else "open_clip_model.safetensors"
    return ModelRow(
        name=name,
        kind="clip",
        scorer="clip_topic",
        repo=repo,
        files=(ModelFile(weights),),
        licence=f"see https://huggingface.co/{repo}",
        source=f"open_clip, {repo}",
        note="Not in the table; open_clip names its repository.",
    )
