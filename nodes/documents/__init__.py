"""Documents that describe HTTP APIs (OpenAPI 2.0, 3.0, 3.1): read, reviewed, and made into node types.

`reading` turns text into a value, `openapi` the value into operations, `schemas` its schemas into ones that stand alone,
`review` says what is in it, `declarations` makes a node type of each operation.
"""
