"""What is shipped in every bundle, there as `nbdeploy_runtime`; it imports nothing of nbdeploy."""
