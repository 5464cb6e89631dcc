"""Every name of vLLM's inside that the plugin relies on, and nothing else: a new vLLM version is this folder.

``features``  what this vLLM has, feature by feature, and what is off and why
``shape``     whether its scheduler and block pool keep their state as they are known to
``core``      in the engine core: scheduler, block pool, executor
``remote``    a call to every worker that cannot put their answers out of step
``tables``    in a worker: copy blocks, replace block tables
``client``    in the API server: the engines behind it
``moe``       expert routers and the hashes of blocks
``serve``     start a server; ``flags``: what flags it takes
"""
