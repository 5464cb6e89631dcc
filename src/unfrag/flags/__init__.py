"""A server's command line: read, repaired, checked against what each vLLM knows."""
