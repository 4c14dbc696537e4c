"""Cases: workloads that are more than layers in a row, each with the steps of every peer.

Takes: the name of a peer. Gives: a `Runner`.
The one idea: weights and batch are NumPy arrays of a fixed seed, so all peers compute the same.
"""
