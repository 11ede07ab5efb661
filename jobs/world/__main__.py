"""``python -m jobs.world``"""

from jobs.launch import run
from jobs.world.config import WorldConfig
from jobs.world.write import write_world

if __name__ == "__main__":
    run("world", WorldConfig, write_world)
