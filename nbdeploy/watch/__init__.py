"""What became of a version once it answers: is the traffic still like the training sample, are the answers still right?

Frozen results throughout. What is computed (drift, labels, rows) takes numbers and writes nothing but its own cache; the
log, the labels and the alerts on disk are read by few, and handed on.
"""
