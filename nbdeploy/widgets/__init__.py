"""The panel: a state without widgets (desk, form, fields, asking, plot), and its view in stock ipywidgets.

Every button is a line of the grammar; a click asks nothing of the workspace that the line would not ask.
"""
