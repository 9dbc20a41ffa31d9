"""Requests that nobody meant, made from the API's own description: `python3 dev.py fuzz [--seed N] [--examples N]`."""
