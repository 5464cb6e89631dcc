"""A block pool that stays whole: contiguous allocation, and compaction of what churn has scattered."""
