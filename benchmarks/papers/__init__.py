"""Experiments that hold the games against what papers report, one file each."""
