"""Takes its time and says how far it is: slow.py SECONDS."""

import sys
import time

seconds = float(sys.argv[1])
for step in range(10):
    print(f"done {step} of 10", flush=True)
    time.sleep(seconds / 10)
print("done 10 of 10")
