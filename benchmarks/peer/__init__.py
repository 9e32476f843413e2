"""The relay measured beside ours, in an environment of its own."""
