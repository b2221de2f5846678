"""One loop for every model, and what stands around it: ranks, precisions, validation, checkpoints, figures."""
