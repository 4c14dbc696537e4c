"""Takes: a function of tensors. Gives: a program of ops, and from it the plan of kernels.
The one idea: a fixed list of passes, each a file, each checked, each with a printable result.
Next room: codegen.
"""
