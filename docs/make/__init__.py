"""The reference pages: built from docstrings and formulas by ``python -m docs.make``."""
