"""Takes: words of core. Gives: ops with their registry, tensors, nodes, reverse-mode derivatives.
The one idea: every operation on a tensor becomes a node, and the gradient is more graph.
Next room: ops.
"""
