"""Benchmarks: each case beside the raw Celery canvas of the same DAG, in the same run. docs/benchmarks.md says how.

`cases` is the table, `shapes` are its DAGs, `figures` what becomes of the samples: pure. `stacks` starts servers, workers
and drivers; a driver is a process of its own that submits work when it is told to: `engine_driver`, `api_driver`, and
`celery_driver` for the canvases of `canvases`. `measure` brings them together.
"""
