"""The doctor's words, in each language: of its rules from their pages, and its own."""
