"""Metrics: one file and one row each. Headline metrics cannot be won by ignoring the picture."""

from v2a_data.registry import Registry

METRICS = Registry(
    "metric",
    {
        "swap_auc_in_class": "v2a.metrics.swap_auc:SwapAucInClass",
        "swap_auc": "v2a.metrics.swap_auc:SwapAuc",
        "counterfactual": "v2a.metrics.counterfactual:Counterfactual",
        "onset_f1": "v2a.metrics.onset_f1:OnsetF1",
        "envelope_corr": "v2a.metrics.envelope:EnvelopeCorrelation",
        "in_sync": "v2a.metrics.in_sync:InSync",
        "lsd": "v2a.metrics.lsd:LogSpectralDistance",
        "mr_stft": "v2a.metrics.mr_stft:MultiResolutionStft",
        "energy_ratio": "v2a.metrics.energy:EnergyRatio",
    },
)
