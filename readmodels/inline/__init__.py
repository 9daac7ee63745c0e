"""Views folded inside the append's own transaction."""
