"""Ask the world. Each probe has a time limit and returns facts, or Unknown with the reason; none raises.

``nvidia_smi``  pasted or live nvidia-smi text
``nvml``        the cards of this machine
``log``         a server's log
``launch``      the command line of a running or configured server
"""
