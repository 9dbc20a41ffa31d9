"""Rehearsals: a definition performed by the engine's own parts, with mocks for what would leave the process.

Read it in this order: `trial` is a test as its author wrote it, `mocks` what its nodes do instead; `cast` plays the nodes,
`stage` is the engine on a throw-away database, with a `clock` and a `loop` that jump to the next timer; `verdict` compares,
`coverage` counts, `rehearsal` is all of it for one definition. `recording` makes a test of an execution that has ended, and
`dry` shows what an execution would call.
"""
