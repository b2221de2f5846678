"""Sources: lists that ids come from. One file and one row each."""

from v2a_data.registry import Registry

SOURCES = Registry(
    "source",
    {
        "audioset": "v2a_data.sources.audioset:AudioSet",
        "ave": "v2a_data.sources.ave:Ave",
        "ids": "v2a_data.sources.ids:Ids",
        "local": "v2a_data.sources.local:Local",
        "manifest": "v2a_data.sources.manifest:FromManifest",
        "synthetic": "v2a_data.sources.synthetic:Synthetic",
        "vegas": "v2a_data.sources.vegas:Vegas",
        "vggsound": "v2a_data.sources.vggsound:VGGSound",
        "youtube8m": "v2a_data.sources.youtube8m:YouTube8M",
    },
)
# Whose videos may be files: those of `local` always, those of the others with `--input`.
OF_FILES = ("local", "audioset", "ave", "vegas", "vggsound")
