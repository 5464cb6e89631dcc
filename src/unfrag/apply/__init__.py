"""A change of a server's flags as one transaction: made, verified, taken back, remembered."""
