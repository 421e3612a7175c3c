"""Faces of a game for other people's code: one seat of it as a Gymnasium environment, single or batched."""
