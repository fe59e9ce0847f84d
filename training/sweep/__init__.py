"""Populations: many networks of a design space, each trained a little, and what they show.

`python -m training.sweep run` trains them, `python -m training.sweep analyze` compares them.
"""
