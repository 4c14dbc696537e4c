"""Takes: the name of an experiment. Gives: its numbers, figures and a page that explains them.
The one idea: an exploration is one short file: the experiment, its pictures, and what to see.
Next room: cli.
"""

from chainrule.explore.exploration import Exploration, Figure, Table, Words
from chainrule.explore.page import check_page, render_page
from chainrule.explore.run import EXPLORATIONS, Explored, explore, find_exploration

__all__ = [
    "EXPLORATIONS",
    "Exploration",
    "Explored",
    "Figure",
    "Table",
    "Words",
    "check_page",
    "explore",
    "find_exploration",
    "render_page",
]
