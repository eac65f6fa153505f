from .channel.fading import FisherSnedecorF as FisherSnedecorF
from .channel.link import Link as Link
from .diffusion.split import SplitDiffusion as SplitDiffusion
from .qoe.agent import PersonaAgent as PersonaAgent
from .qoe.persona import Persona as Persona
from .records import SplitPlan as SplitPlan
