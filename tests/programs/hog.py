"""Wants more memory than it gets: hog.py MEGABYTES."""

import sys

block = bytearray(int(sys.argv[1]) << 20)
print(len(block))
