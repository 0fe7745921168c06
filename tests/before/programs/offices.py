"""Two processes, one program each, add to a sum that they keep in a Redis; luck keeps them apart.

Argument: URL of a Redis. Mended: the server adds.
"""

import subprocess
import sys
import time

import redis

HOW = "plain"
KEY = "sum:7"

client = redis.Redis.from_url(sys.argv[1])
if len(sys.argv) > 2:  # one of the two
    amount = int(sys.argv[2])
    if HOW == "mended":
        client.incrby(KEY, amount)
    else:
        client.set(KEY, int(client.get(KEY) or 0) + amount)
    sys.exit()
client.set(KEY, 1000)
offices = []
for each in (30, 7):
    offices.append(subprocess.Popen([sys.executable, __file__, sys.argv[1], str(each)]))
    time.sleep(1.5)
sys.exit(any(office.wait(50) for office in offices))
