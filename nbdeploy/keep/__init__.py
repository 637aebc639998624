"""Versions: numbered, stored, remembered."""
