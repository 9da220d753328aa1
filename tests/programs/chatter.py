"""Talks without end, in one endless line or in short ones: chatter.py [line|lines] MEGABYTES."""

import sys

how, megabytes = sys.argv[1], int(sys.argv[2])
block = b"x" * 65536 if how == "line" else b"chatter chatter\r" * 4096
for _ in range(megabytes * 16):
    sys.stdout.buffer.write(block)
sys.stdout.buffer.write(b"\nthe end")
