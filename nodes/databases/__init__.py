"""What the nodes for SQL share: sessions with databases, parameters, values."""
