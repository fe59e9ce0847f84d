"""Accuracies of trained networks."""
