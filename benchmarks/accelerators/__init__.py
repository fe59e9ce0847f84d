"""Comparison on a GPU, without TensorFlow: `python -m benchmarks.accelerator`.

Each contender is a process that builds its network once and then takes its turns.
"""
