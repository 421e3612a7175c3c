"""Questions with a yardstick."""
