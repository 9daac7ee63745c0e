"""The facts themselves, and the fold of one stream."""
