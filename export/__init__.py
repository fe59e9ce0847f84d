"""Programs that turn a trained RegNet into what servers and phones run; from a checkout."""
