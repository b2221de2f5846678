"""Models: one file and one row each."""

from v2a_data.registry import Registry

MODELS = Registry(
    "model",
    {
        "audio_fc": "v2a.models.audio_fc:AudioFc",
        "vqvae3d": "v2a.models.vqvae3d:Vqvae3d",
    },
)
