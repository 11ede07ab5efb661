"""``python -m jobs.calibrate``"""

from jobs.calibrate.calibrate import calibrate
from jobs.calibrate.config import CalibrateConfig
from jobs.launch import run

if __name__ == "__main__":
    run("calibrate", CalibrateConfig, calibrate)
