"""The story that a whole installation has to tell, over HTTP only: `python3 dev.py story [--stack sqlite|postgresql|all]`."""
