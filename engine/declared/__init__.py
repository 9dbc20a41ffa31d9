"""Node types and connection kinds that are declared as JSON: what a service's HTTP API needs, without Python.

`loading` reads a folder, `nodes` and `connections` make types of what is declared, `models` makes a pydantic model of a
JSON Schema, `requests` writes the request. docs/declarations.md is the format as its authors see it.
"""
