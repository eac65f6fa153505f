"""Latent <-> bits: packed uniform quantisation behind a small protected header, and the bit flips in between.

A uniformly quantised value cannot leave its tensor's range, whatever bits flip, so the link can never make a NaN.
Float formats are here to show what happens otherwise: one flipped exponent bit scales a value by up to 2^128.
"""

from __future__ import annotations

import math
import numbers
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import CorruptPacket, InvalidArgument, check_choice, check_integer, check_number, check_type
from ..records import SplitPlan

BITS = (1, 2, 3, 4, 5, 6, 7, 8, 16)
_FLOAT_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
NUMBER_FORMATS = ("uniform", *_FLOAT_TYPES, "gray")  # a header says which by its place here
UNIFORM_FORMATS = ("uniform", "gray")

_MAGIC = b"RLLI"
_FIXED = struct.Struct("<4sBBBffhI")  # magic, format, bits, dimensions, low, high, plan's devices, plan's shared steps
_NO_PLAN, _PLAIN_PLAN = -1, 0  # device counts that mean: no plan; device_steps given as one int, not as a sequence
_BLOCK = 1 << 16  # values or bytes worked on at a time: temporaries stay in the processor's cache
FLIP_STREAM = zlib.crc32(b"channel.flips")  # keeps these draws apart from other stages given the same seed
_PILOT_STREAM = zlib.crc32(b"channel.pilots")  # and from the payload's flips, which pilots must not change


@dataclass(frozen=True)
class Packet:
    """A latent ready for the air: `header` bytes, taken to arrive intact, and `payload` bytes, exposed to flips."""

    header: bytes
    payload: bytes

    @property
    def payload_bits(self) -> int:
        """Bits exposed to the channel, the padding of the last byte included."""
        return 8 * len(self.payload)


@dataclass(frozen=True)
class Header:
    """What a receiver must know to read a payload.

    Attributes:
        shape: shape of the latent.
        low, high: smallest and largest value of the latent (float32).
        number_format: one of `NUMBER_FORMATS`.
        bits: payload bits a value.
        plan: plan under which the latent was made, or None.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    number_format: str
    bits: int
    plan: SplitPlan | None

    @property
    def payload_bytes(self) -> int:
        """Length of the payload that belongs to this header."""
        return math.ceil(math.prod(self.shape) * self.bits / 8)


def encode(latent: torch.Tensor, plan: SplitPlan | None = None, *, bits: int = 8, number_format: str = "uniform") -> Packet:
    """Turn a latent into bits.

    The "uniform" format rounds every value to the nearest of 2^bits levels spread evenly from the tensor's minimum to
    its maximum, so an error-free round trip is within half a level, (high - low) / (2^bits - 1) / 2. It numbers the levels in
    natural binary; "gray" has the same levels with Gray labels, of which neighbours differ in one bit.

    Args:
        latent: floating-point tensor of any shape, at least one value, all finite; sent as float32.
        plan: carried in the header for the device.
        bits: bits a value in the formats "uniform" and "gray", 1 to 8 or 16; a float format has its own width.
        number_format: "uniform", "gray", "float32", "float16" or "bfloat16".

    Raises:
        InvalidArgument: an argument outside these.

    >>> encode(torch.tensor([0.0, 0.5, 1.0, 0.25]), bits=6).payload_bits
    24
    """
    check_format(bits, number_format)
    if plan is not None:
        check_type("plan", plan, SplitPlan, "a SplitPlan or None")
    values, low, high = _check_latent(latent)
    if number_format in UNIFORM_FORMATS:
        codes = _quantise(values.numpy(), low, high, bits)
        payload = _pack(codes if number_format == "uniform" else codes ^ codes >> 1, bits)
    else:
        floats = values.to(_FLOAT_TYPES[number_format])
        bits, payload = 8 * floats.element_size(), floats.view(torch.uint8).numpy().tobytes()
    return Packet(_write_header(Header(tuple(latent.shape), low, high, number_format, bits, plan)), payload)


def decode(packet: Packet) -> torch.Tensor:
    """Turn received bits back into a latent: float32, on the CPU, in the shape that was encoded.

    Raises:
        CorruptPacket: the header fails its checksum, or the payload's length does not fit it.
    """
    check_type("packet", packet, Packet, "a Packet, as `encode` makes it")
    return decode_payload(packet.payload, read_header(packet.header))


def decode_payload(payload: bytes, header: Header, unsent: tuple[int, ...] = ()) -> torch.Tensor:
    """`decode`, of a payload whose header has been read; bits at the places `unsent`, 0 the top one, are read as halfway."""
    if len(payload) != header.payload_bytes:
        raise CorruptPacket(f"payload has {len(payload)} bytes, its header says {header.payload_bytes}")
    raw = np.frombuffer(payload, np.uint8)
    if header.number_format in UNIFORM_FORMATS:
        values = torch.from_numpy(_dequantise(_unpack(raw, header), header, unsent))
    else:
        values = torch.from_numpy(raw.copy()).view(_FLOAT_TYPES[header.number_format]).float()
    return values.reshape(header.shape)


def flip_bits(payload: bytes, bep: float, seed: int) -> bytes:
    """Flip each bit independently with probability `bep`: the memoryless binary symmetric channel.

    Args:
        payload: bytes sent.
        bep: bit error probability in [0, 0.5].
        seed: the same payload, BEP and seed give the same bytes.

    Returns:
        Bytes received, as many as were sent.
    """
    check_type("payload", payload, (bytes, bytearray), "bytes")
    bep = check_number("bep", bep, 0.0, 0.5)
    rng = np.random.default_rng((check_integer("seed", seed, 0), FLIP_STREAM))
    received = np.frombuffer(payload, np.uint8).copy()
    if bep == 0:
        return received.tobytes()
    for start in range(0, received.size, _BLOCK):
        block = received[start : start + _BLOCK]
        flips = np.zeros(8 * block.size, np.uint8)
        flips[_flip_positions(flips.size, bep, rng)] = 1
        block ^= np.packbits(flips)
    return received.tobytes()


def count_flips(bits: int, bep: float, seed: int) -> int:
    """Flips among `bits` known ones, 1 or more, sent beside a payload: a symmetric channel does not care what they say."""
    rng = np.random.default_rng((seed, _PILOT_STREAM))
    return int(rng.binomial(bits, bep))


def read_header(header: bytes) -> Header:
    """Parse a packet's header.

    Raises:
        CorruptPacket: the checksum does not match, or the bytes are no header of this codec.
    """
    check_type("header", header, (bytes, bytearray), "bytes")
    body, checksum = header[:-4], header[-4:]
    if zlib.crc32(body) != int.from_bytes(checksum, "little"):
        raise CorruptPacket("header fails its checksum")
    if len(body) < _FIXED.size or not body.startswith(_MAGIC):
        raise CorruptPacket("header is not one of this codec")
    _, number_format, bits, dimensions, low, high, devices, shared_steps = _FIXED.unpack_from(body)
    counts = struct.unpack(f"<{(len(body) - _FIXED.size) // 4}I", body[_FIXED.size :])
    shape, steps = counts[:dimensions], counts[dimensions:]
    plan = None
    if devices != _NO_PLAN:
        plan = SplitPlan(shared_steps, steps[0] if devices == _PLAIN_PLAN else steps)
    return Header(shape, low, high, NUMBER_FORMATS[number_format], bits, plan)


def check_format(bits: int, number_format: str) -> None:
    """Raise `InvalidArgument` unless the codec has this width and number format."""
    if isinstance(bits, bool) or not isinstance(bits, numbers.Integral) or bits not in BITS:
        raise InvalidArgument("bits", bits, f"one of {', '.join(map(str, BITS))}")
    check_choice("number_format", number_format, NUMBER_FORMATS)


def _check_latent(latent: torch.Tensor) -> tuple[torch.Tensor, float, float]:
    """Return the values as float32 on the CPU, shape (n,), and the ends of their range, or raise `InvalidArgument`."""
    if not isinstance(latent, torch.Tensor) or not latent.is_floating_point():
        raise InvalidArgument("latent", getattr(latent, "dtype", type(latent)), "a floating-point torch.Tensor")
    values = latent.detach().to("cpu", torch.float32).reshape(-1)
    if not values.numel():
        raise InvalidArgument("latent", tuple(latent.shape), "a tensor with at least one value")
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InvalidArgument("latent", values[~torch.isfinite(values)][0].item(), "finite in float32 everywhere")
    return values, low, high


def _write_header(header: Header) -> bytes:
    plan, counts = header.plan, list(header.shape)
    devices, shared_steps = _NO_PLAN, 0
    if plan is not None:
        devices = len(plan.device_steps) if isinstance(plan.device_steps, tuple) else _PLAIN_PLAN
        shared_steps = plan.shared_steps
        counts += plan.steps_per_device
    number_format = NUMBER_FORMATS.index(header.number_format)
    fixed = (_MAGIC, number_format, header.bits, len(header.shape), header.low, header.high, devices, shared_steps)
    body = _FIXED.pack(*fixed) + struct.pack(f"<{len(counts)}I", *counts)
    return body + zlib.crc32(body).to_bytes(4, "little")


def _quantise(values: np.ndarray, low: float, high: float, bits: int) -> np.ndarray:
    """Index of the nearest level: unsigned integers of shape (n,). In float64, so that no finite range overflows."""
    codes = np.empty(values.size, np.uint8 if bits <= 8 else np.uint16)
    levels_per_unit = (2**bits - 1) / (high - low) if high > low else 0.0
    for start in range(0, values.size, _BLOCK):
        block = values[start : start + _BLOCK].astype(np.float64)
        block -= low
        block *= levels_per_unit
        block += 0.5  # the assignment below truncates
        codes[start : start + _BLOCK] = block
    return codes


def _dequantise(codes: np.ndarray, header: Header, unsent: tuple[int, ...]) -> np.ndarray:
    """Levels of the codes, float32 of shape (n,), by table: every entry lies in [low, high]."""
    table = np.linspace(header.low, header.high, 2**header.bits).astype(np.float32)
    if header.number_format == "gray":
        levels = np.arange(table.size)
        table[levels ^ levels >> 1] = table.copy()
    if unsent:
        halfway = table.reshape((2,) * header.bits).mean(axis=unsent, dtype=np.float64, keepdims=True)
        table = np.broadcast_to(halfway, (2,) * header.bits).reshape(-1).astype(np.float32)
    values = np.empty(codes.size, np.float32)
    for start in range(0, codes.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        np.take(table, codes[block], out=values[block], mode="clip")  # unlike "raise", "clip" needs no buffer
    return values


def _pack(codes: np.ndarray, bits: int) -> bytes:
    """Join codes into bytes, most significant bit first; of an even number of bits, four go to a word of 1 to 3 bytes."""
    if bits % 8 == 0:
        return codes.astype(f">u{bits // 8}").tobytes()
    if bits % 2:
        return np.packbits(np.unpackbits(codes[:, None], axis=1)[:, -bits:]).tobytes()
    quads = np.pad(codes, (0, -codes.size % 4)).reshape(-1, 4).astype(np.uint32)
    words = quads[:, 0] << 3 * bits | quads[:, 1] << 2 * bits | quads[:, 2] << bits | quads[:, 3]
    octets = words.astype(">u4").view(np.uint8).reshape(-1, 4)[:, 4 - bits // 2 :]
    return octets.tobytes()[: math.ceil(codes.size * bits / 8)]


def _unpack(raw: np.ndarray, header: Header) -> np.ndarray:
    """Inverse of `_pack`: the codes, shape (n,)."""
    bits, size = header.bits, math.prod(header.shape)
    if bits % 8 == 0:
        return raw.view(f">u{bits // 8}")
    if bits % 2:
        return np.packbits(unpack_values(raw, header), axis=1)[:, 0] >> 8 - bits
    octets = np.zeros((math.ceil(size / 4), 4), np.uint8)
    octets[:, 4 - bits // 2 :] = np.pad(raw, (0, octets.shape[0] * bits // 2 - raw.size)).reshape(-1, bits // 2)
    words = octets.view(">u4").astype(np.uint32)  # shape (words, 1)
    shifts = np.arange(3, -1, -1, dtype=np.uint32) * bits
    return (words >> shifts & (2**bits - 1)).astype(np.uint8).reshape(-1)[:size]


def unpack_values(payload: bytes | np.ndarray, header: Header) -> np.ndarray:
    """Bits of the values, uint8 of shape (values, bits), most significant first."""
    size = math.prod(header.shape) * header.bits
    return np.unpackbits(np.frombuffer(payload, np.uint8), count=size).reshape(-1, header.bits)


def _flip_positions(size: int, bep: float, rng: np.random.Generator) -> np.ndarray:
    """Sorted positions of the flipped bits among `size`: the gaps between independent flips are geometric."""
    rate = -math.log1p(-bep)  # floor(Exp(1) / rate) is exactly the geometric count of bits left alone
    draws = int(size * bep + 6 * math.sqrt(size * bep)) + 8  # more than enough, nearly always
    positions = np.array([-1])
    while positions[-1] < size:
        gaps = np.minimum(rng.standard_exponential(draws), size * rate) / rate
        positions = np.append(positions, positions[-1] + np.cumsum(gaps.astype(np.int64) + 1))
    return positions[1 : np.searchsorted(positions, size)]
