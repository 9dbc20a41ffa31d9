"""The only way out of the engine: a guarded HTTP client, and sealed connections that are opened for one call.

`surroundings` is what a node's context gets. `addresses` decides where a call may go, `egress` sees to it, `bodies`
bounds what comes back, `scrub` takes secrets out of what is kept. `connections` opens what `sealing` has closed.
"""
