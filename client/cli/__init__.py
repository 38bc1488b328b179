"""The command `research`."""
