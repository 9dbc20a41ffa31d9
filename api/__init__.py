"""The API: it knows HTTP, and leaves everything else to the engine.

`main` puts the application together, `guard` decides who gets in, `problems` is the one form of every refusal, and each
file of `routes` is one resource.
"""
