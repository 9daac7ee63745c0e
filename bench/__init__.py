"""Measures the house next to its peers: one run, one machine, one table. Started by `make bench`; README.md says how."""
