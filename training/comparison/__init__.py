"""This project beside its peers: `regnet benchmark compare`.

Each measurement is a process of its own, of a script in `workers`, which the peer's environment
runs; none of them imports another's library.
"""
