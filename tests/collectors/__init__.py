"""What stands for the services that traces are sent to."""
