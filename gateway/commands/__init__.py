"""Commands in, outcomes out."""
