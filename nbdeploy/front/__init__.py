"""What command and magic share: one grammar, one parser, one table of verbs."""
