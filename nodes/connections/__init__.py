"""Connection types: how nodes reach other systems, and how a stored connection is tested."""
