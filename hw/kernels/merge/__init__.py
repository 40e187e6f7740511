"""Merge: the results of frames that left and of those that went on, in order."""
