"""Kill, stall, flush and repeat under load, and let a judge that knows nothing of the engine look at what is left."""
