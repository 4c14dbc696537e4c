"""Takes: what a run left behind (history, evaluation, mistakes, the network's graph, settings).
Gives: report.html, one file that opens anywhere, without a network and without JavaScript.
The one idea: facts are plain data (contents.py); every drawing is a pure function to SVG text.
Next room: explore.
"""

from chainrule.report.contents import Diagram, DiagramNode, Mistake, ReportContents
from chainrule.report.diagram import draw_diagram
from chainrule.report.html import render, write_report

__all__ = [
    "Diagram",
    "DiagramNode",
    "Mistake",
    "ReportContents",
    "draw_diagram",
    "render",
    "write_report",
]
