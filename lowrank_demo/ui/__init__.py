"""The page: one file for each tab, each built from callables; ``app.py`` composes them."""
