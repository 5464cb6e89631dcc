"""Keeps servers healthy: looks every few seconds, decides by a pure function, acts in stages, writes down why."""
