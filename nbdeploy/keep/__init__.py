"""What was published, what is live, and how it came to be: the registry and the BentoML store."""
