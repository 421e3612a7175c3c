"""Other people's learners on these games, and ours: one short script each, run with `python -m`."""
