"""Reports for people who read a terminal."""
