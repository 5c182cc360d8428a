from . import environment

environment.prepare()
