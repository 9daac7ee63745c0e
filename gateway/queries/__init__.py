"""Rows out, fresh enough for whoever asks."""
