"""Node types that ask models: for text, for data of a given shape, for a choice, for vectors."""
