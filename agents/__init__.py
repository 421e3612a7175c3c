"""Who plays a game, how well a verifier can be trusted, and how players learn."""
