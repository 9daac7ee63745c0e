"""What a row is made of, and what may be asked of it, in the same words for every store."""
