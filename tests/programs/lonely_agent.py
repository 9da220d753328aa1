"""An agent whose scripted server gives it one job that never ends: lonely_agent.py DATA PROGRAM. To be killed."""

import sys
import threading
from pathlib import Path

from clusterray.common.clock import SystemClock
from clusterray.common.kinds.kind import Recipe
from clusterray.common.model import Role
from clusterray.common.security import JoinCode
from clusterray.common.settings import NodeSettings
from clusterray.common.testing_node import FolderCache, FolderCourier, ScriptedServer, grant
from clusterray.node.agent import Agent

data, program = Path(sys.argv[1]), sys.argv[2]


class Kind:
    name, version, allow, options = "test", 1, "render", ()

    def stages(self, task):
        return (self,)

    def process(self, task, region, place):
        return Recipe(argv=(sys.executable, program), progress=lambda line: print(line, flush=True))


Kind.name = "only"  # the stage's name: kind and stage are one here
server = ScriptedServer(patience=60.0)
agent = Agent(
    NodeSettings(slots=1, sandbox="off", keep_free=0),
    data,
    SystemClock(),
    JoinCode(role=Role.NODE, addresses=("farm:1",), pin="ab" * 32, token="t"),
    dial=server.dial,
    kinds=lambda name: Kind(),
    cache=FolderCache(data),
    couriers=lambda account, stop: FolderCourier(data, account, set()),
)
agent.start()
server.give(grant())
threading.Event().wait(60)
