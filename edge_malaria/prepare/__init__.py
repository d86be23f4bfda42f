"""The way from a cell's crop to the network's input; nothing else masks or scales a cell."""
