"""What every endpoint shares: bodies, headers, parameters, problems, event streams, threads, the server."""
