"""The laws of the house as tests. Each guard reads the sources, or a running process, and each is shown to be able to fail."""
