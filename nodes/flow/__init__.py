"""Node types that steer and shape: they compute, decide and wait, and touch nothing outside."""
