"""What became of a version once it answers: is the traffic still like the training sample, are the answers still right?

All of it is numbers in, frozen results out; nothing here reads a log, asks a service or writes but its own cache.
"""
