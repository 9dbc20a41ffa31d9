"""The commands, one subject a file. Whatever is costly to import is imported by the command that needs it."""
