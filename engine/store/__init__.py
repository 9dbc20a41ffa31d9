"""Where rows live: tables and their migrations, one way to speak SQL to two databases, and the reading queries."""
