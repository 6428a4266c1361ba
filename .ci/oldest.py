"""Print the requirements of a setup.cfg with each ``>=`` made ``==``."""

import configparser
import sys

config = configparser.ConfigParser()
config.read(sys.argv[1])
lines = config["options"]["install_requires"].split("\n")
print(*(line.replace(" ", "").replace(">=", "==") for line in lines if line))
