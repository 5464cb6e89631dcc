"""What several rules share: evidence that still counts, growth, other engines' words."""
