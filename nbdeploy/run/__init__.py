"""Versions as services: started, found, called."""
