"""For those who run it: health, parked things, the console."""
