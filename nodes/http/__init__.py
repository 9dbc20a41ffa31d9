"""What the node for HTTP consists of besides the exchange itself: pages."""
