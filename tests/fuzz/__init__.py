"""Random requests to the server, and random bytes to the client's reader of streams."""
