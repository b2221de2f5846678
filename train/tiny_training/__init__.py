"""How the packaged models `v2a-tiny-clip` and `v2a-tiny-tagger` are trained, on the synthetic world alone."""
