"""Nodes that turn one form into another, and compute. Nothing leaves them."""
