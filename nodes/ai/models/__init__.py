"""Models and their providers, as the node types of this folder see them: one protocol, and nothing of any vendor."""
