"""Removing channels: which may go together, what they are worth, and the network without them."""
