"""The hostile suite: kills, damaged files, random configurations, bombs and interrupts.

`python -m tests.hostile --help` explains it. `test_hostile.py` runs a little of each part.
"""
