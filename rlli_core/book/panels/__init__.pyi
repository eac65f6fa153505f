from .explorer import Explorer as Explorer
from .pages import airtime_panel as airtime_panel
from .pages import allocation_panel as allocation_panel
from .pages import deployment_panel as deployment_panel
from .pages import link_panel as link_panel
from .pages import persona_panel as persona_panel
from .pages import receiver_panel as receiver_panel
from .pages import sharing_panel as sharing_panel
