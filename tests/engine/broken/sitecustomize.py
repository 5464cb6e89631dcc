"""A worker whose memory cannot be read: as ``cudaMallocAsync`` does on a GPU, the reading raises. For tests alone."""

import sys

import psutil

if any("spawn" in word or "multiprocessing" in word for word in sys.argv + sys.orig_argv):

    def memory_info(self):
        raise RuntimeError("this allocator has no snapshot")

    psutil.Process.memory_info = memory_info
