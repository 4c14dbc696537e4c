"""Takes: tensors of graph. Gives: every function of tensors, with its gradient.
The one idea: about a hundred primitives, each declared in one place; all else is written with them.
Next room: testing, then nn.
"""
