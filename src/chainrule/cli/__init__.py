"""Takes: a command line. Gives: trainings, evaluations, predictions and reports, shown and kept.
The one idea: one command does the whole job, says what it chose, and leaves all in one folder.
Next room: none; this is the front door.
"""
