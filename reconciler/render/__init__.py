"""Turns values into text, Markdown, JSON, HTML and metrics. Pure: ``cli`` prints and writes them."""
