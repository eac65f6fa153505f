"""The wireless link: fading, modulation, codec, and the link that joins them."""

from .codec import BITS, NUMBER_FORMATS, UNIFORM_FORMATS, Header, Packet, decode, encode, flip_bits, read_header
from .damage import Moments, code_moments, moments
from .estimate import Estimate
from .fading import FisherSnedecorF
from .ldpc_code import Ldpc
from .link import PAPER_LINKS, Link, dbw_to_w, w_to_dbw
from .modulation import MODULATIONS, average_bep, conditional_bep
from .packed import PackedCode, best_packed_code
from .protection import Delivery, Protection, Repetition, Retransmission

__all__ = [
    "BITS",
    "MODULATIONS",
    "NUMBER_FORMATS",
    "PAPER_LINKS",
    "UNIFORM_FORMATS",
    "Delivery",
    "Estimate",
    "FisherSnedecorF",
    "Header",
    "Ldpc",
    "Link",
    "Moments",
    "PackedCode",
    "Packet",
    "Protection",
    "Repetition",
    "Retransmission",
    "average_bep",
    "best_packed_code",
    "code_moments",
    "conditional_bep",
    "dbw_to_w",
    "decode",
    "encode",
    "flip_bits",
    "moments",
    "read_header",
    "w_to_dbw",
]
