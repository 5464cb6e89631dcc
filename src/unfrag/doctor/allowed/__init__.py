"""What may leave the machine in a capture: only what is known to be harmless; everything else as its shape.

A word stays when a program is known to say it: in a message of vLLM, PyTorch or another that the doctor reads, as an
identifier, a flag, a number with its unit, the name of a model or a card. All else becomes ``[text of 31 characters]``.

``vocabulary``  which words are known
``phrases``     which words stand together in known messages
``tokens``      one word: a flag, a variable, or what the next four know
``numbers``     with their unit, broken, or a version
``releases``    versions, packages and libraries with one, platforms
``paths``       their known parts
``addresses``   of machines: only those that every machine has for itself
``digits``      those of people: telephone numbers and the like, which never stay
``line``        one line, word by word
``log``         a whole log: what stands before a message, tracebacks
``facts``       the facts of a diagnosis, field by field
"""
