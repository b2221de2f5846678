"""Sources: lists that ids come from. One file and one row each."""

from v2a_data.registry import Registry

SOURCES = Registry(
    "source",
    {
        "ids": "v2a_data.sources.ids:Ids",
        "local": "v2a_data.sources.local:Local",
        "manifest": "v2a_data.sources.manifest:FromManifest",
        "synthetic": "v2a_data.sources.synthetic:Synthetic",
        "youtube8m": "v2a_data.sources.youtube8m:YouTube8M",
    },
)
