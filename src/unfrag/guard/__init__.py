"""Keeps servers healthy: looks every 30 s, decides by a pure function, acts in stages, writes down why."""
