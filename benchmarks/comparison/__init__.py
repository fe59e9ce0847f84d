"""Comparison of this project with its peers: `python -m benchmarks.compare`.

Each measurement is a separate process: the peer's environment runs a script in `workers`. No
process imports the library of another peer.
"""
