from .agent import PersonaAgent as PersonaAgent
from .fidelity import psnr as psnr
from .fidelity import ssim as ssim
from .judge import Judge as Judge
from .persona import Persona as Persona
from .tables import agent_table as agent_table
from .tables import score_table as score_table
