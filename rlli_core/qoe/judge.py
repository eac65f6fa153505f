"""The judge: a small classifier of object and scene. `rlli_core.embedded.judge` trains it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import ResNetForImageClassification

from ..compute import first_variant, quiet
from ..errors import InvalidArgument, ModelNotFound, first_line
from ..files import check_model_folder, model_folder, whole, write_json
from .pictures import as_seen


@dataclass(frozen=True)
class Verdict:
    """What the judge sees in one image.

    Attributes:
        objects: probability of each object name, summing to 1.
        places: probability of each scene name, summing to 1.
    """

    objects: dict[str, float]
    places: dict[str, float]

    @property
    def object(self) -> str:
        """The most probable object."""
        return max(self.objects, key=self.objects.__getitem__)

    @property
    def place(self) -> str:
        """The most probable scene."""
        return max(self.places, key=self.places.__getitem__)


class Judge:
    """Object and scene probabilities of images.

    Args:
        model: its configuration names the labels, objects first, and has their number as `objects` and the side of an image
            in pixels as `image_size`.

    Attributes:
        objects, places: what it can name.
    """

    def __init__(self, model: ResNetForImageClassification):
        self.model, config = model.eval(), model.config
        names = [config.id2label[i] for i in range(config.num_labels)]
        self.objects, self.places = tuple(names[: config.objects]), tuple(names[config.objects :])

    @classmethod
    def from_pretrained(cls, name: str = "embedded") -> Judge:
        """Load from a folder; "embedded" is the judge shipped in `data/models/judge`."""
        folder = model_folder("judge") if name == "embedded" else Path(name)
        if not (folder / "config.json").exists():
            raise ModelNotFound(f"no judge in {folder}: give 'embedded' or a folder written by `Judge.save`")
        check_model_folder(folder)
        try:
            with quiet():
                return cls(first_variant(partial(ResNetForImageClassification.from_pretrained, folder, dtype=torch.float32)))
        except Exception as error:  # damaged files make the library raise whatever comes first
            raise ModelNotFound(f"the judge in {folder} does not load, get it again: {first_line(error)}") from error

    def save(self, folder: Path, training: dict | None = None) -> None:
        """Write the weights as float16 safetensors, and the record of their training beside them where there is one."""
        with whole(folder) as place:
            self.model.half().save_pretrained(place)
            if training is not None:
                write_json(place / "training.json", training)
        self.model.float()

    @torch.no_grad()
    def logits(self, images: Sequence[Image.Image]) -> tuple[torch.Tensor, torch.Tensor]:
        """Object logits (B, objects) and scene logits (B, places); images of another size are resized."""
        out = torch.cat([self.model(part).logits for part in self._pixels(images).split(64)])
        return out[:, : len(self.objects)], out[:, len(self.objects) :]

    @torch.no_grad()
    def features(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """What the judge makes its mind up from, (B, features), none below 0; images of another size are resized."""
        return torch.cat([self.model.resnet(part).pooler_output.flatten(1) for part in self._pixels(images).split(64)])

    def distances(self, images: Sequence[Image.Image], references: Sequence[Image.Image]) -> list[float]:
        """How far images are from references in the judge's eyes: 1 less the cosine of their features, in [0, 1]."""
        if len(images) != len(references):
            raise InvalidArgument("references", len(references), f"as many as the images, {len(images)}")
        alike = torch.cosine_similarity(self.features(images), self.features(references))
        return (1 - alike.clamp(0, 1)).tolist()

    def _pixels(self, images: Sequence[Image.Image]) -> torch.Tensor:
        size = (self.model.config.image_size,) * 2
        array = np.stack([np.asarray(as_seen(image).resize(size)) for image in images])
        return torch.from_numpy(array).permute(0, 3, 1, 2).float() / 127.5 - 1

    def verdicts(self, images: Sequence[Image.Image]) -> list[Verdict]:
        """One `Verdict` an image."""
        objects, places = (logits.softmax(1).tolist() for logits in self.logits(images))
        return [Verdict(dict(zip(self.objects, o)), dict(zip(self.places, p))) for o, p in zip(objects, places)]

    def verdict(self, image: Image.Image) -> Verdict:
        """What is on one image."""
        return self.verdicts([image])[0]
