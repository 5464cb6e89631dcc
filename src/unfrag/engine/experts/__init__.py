"""The expert-route cache: routes of a prefix outlive its KV, so a prefix computed again keeps its experts."""
