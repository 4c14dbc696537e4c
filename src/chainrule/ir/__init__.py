"""Takes: shapes and dtypes. Gives: the language that ops lower to: definitions and kernels.
The one idea: an element of a result is an expression of indices; all else is loops around it.
Next room: graph.
"""
