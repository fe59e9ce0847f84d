"""A training run: network, optimizer, `fit`, callbacks, checkpoints and results."""
