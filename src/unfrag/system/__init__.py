"""This machine: files, folders, child processes, and what is read from them."""
