"""What the nodes for object stores share: signed requests, and what is answered."""
