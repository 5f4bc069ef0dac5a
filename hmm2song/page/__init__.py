"""Everything the web page shows that is not Gradio wiring: words, cards, plot, sound, scripts.

Nothing here imports gradio, and only :mod:`hmm2song.page.plot` imports plotly.
"""
