"""The invocations API: turns on threads, driven through the graph, told as numbered events that no crash loses."""
