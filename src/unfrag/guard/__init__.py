"""Keeps servers healthy: polls every few seconds, decides by a pure function, acts in stages, writes down why."""
