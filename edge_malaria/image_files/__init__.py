"""Image files as bytes: their kind, whether they are whole, how many pictures they hold."""
