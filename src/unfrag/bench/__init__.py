"""Load plus probes: what a server does for its users, and what its memory does meanwhile.

``workload``  what is asked: documents and questions, or a user's JSONL
``load``      GuideLLM in a process of its own (``guidellm_child``)
``sampler``   /health and /metrics while the load runs
``run``       one or more repeats, and the search for the maximum concurrency
``result``    what is written to disk, and its numbers
``compare``   results side by side
"""
