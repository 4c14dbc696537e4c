"""Takes: plans and machine code. Gives: compiled functions that users call.
The one idea: everything that can be decided before the step is decided before the step.
Next room: testing.
"""
