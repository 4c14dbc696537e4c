"""Takes: nothing of chainrule; every other room stands on this one.
Gives: errors, configuration, data types, shape rules, devices: words that all rooms share.
Next room: graph.
"""
