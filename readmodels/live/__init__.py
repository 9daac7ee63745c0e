"""Views folded when they are asked for: nothing of them is stored."""
