"""Which part of a cell a decision rests on."""
