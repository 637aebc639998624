"""From live objects to a staged bundle."""
