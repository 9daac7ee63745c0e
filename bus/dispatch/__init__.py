"""From lanes to Dramatiq's threads, whatever the technology behind the lanes."""
