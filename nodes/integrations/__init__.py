"""Node types that reach other systems: one operation, one file, through the context's guarded client only."""
