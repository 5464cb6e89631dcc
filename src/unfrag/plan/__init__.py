"""What fits, and which flags. So far: ``advise``, for a server that runs."""
