"""Allotting steps and power: the environment, the true optimum, the learners and what they are measured against."""

from .ddpg import Policy, Training, train
from .environment import Service, ServiceConfig, ServiceEnv
from .oracle import optimum

__all__ = ["Policy", "Service", "ServiceConfig", "ServiceEnv", "Training", "optimum", "train"]
