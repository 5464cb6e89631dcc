"""A running server: asked, waited for, started."""
