"""Processes: folds that react. To come; the floor is kept for them."""
