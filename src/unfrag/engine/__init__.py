"""What runs inside vLLM. The only wing that imports vllm; the rest of unfrag reaches it over HTTP.

A request to ``/health`` or ``/flush_cache`` passes through three processes, one file each:

``endpoints``  in the API server: answers HTTP, keeps the last snapshot, guards what mutates
``core``       in the engine core: reads and flushes the scheduler's block pool
``ranks``      in every worker: reads and releases the memory of its device

``plugin`` names them to vLLM, ``vllm`` holds every name of vLLM's inside that they rely on.
"""
