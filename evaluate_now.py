"""Look at a training in progress: `python evaluate_now.py OUT.png`, with RLLI_WORK set as for the training.

Draws the 50 objects in 10 steps from the averaged weights of the last checkpoint, and prints the judge's accuracy over 200 images.
"""

import os
import sys

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open

from rlli_core.embedded import evaluate, generator, scenes
from rlli_core.files import WORK, model_folder
from rlli_core.qoe.judge import Judge

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
model = generator.TextToLatent(len(generator.tokenizer()), 8)
with safe_open(WORK / "generator.safetensors", "pt") as saved:
    print("step", saved.metadata()["step"])
    for i, parameter in enumerate(model.parameters()):
        parameter.data.copy_(saved.get_tensor(f"average.{i}"))
pipeline = StableDiffusionPipeline.from_pretrained(model_folder("embedded-sd"), torch_dtype=torch.float32)
pipeline.unet.load_state_dict(model.unet.state_dict())
pipeline.text_encoder.load_state_dict(model.text_encoder.state_dict())
judge, seen, asked = Judge.from_pretrained(), evaluate.pairs(held_out=False), []
for i, name in enumerate(scenes.NAMES):
    places = [place for other, place in seen if other == name]
    asked.append((name, places[i % len(places)]))
images = []
for i in range(0, 50, 10):
    images += evaluate.generate(
        pipeline, [evaluate.prompt(*pair) for pair in asked[i : i + 10]], range(i, i + 10), 10, generator.GUIDANCE
    )
sheet = Image.new("RGB", (10 * 130, 5 * 130), "white")
for i, image in enumerate(images):
    sheet.paste(image, (i % 10 * 130, i // 10 * 130))
sheet.save(sys.argv[1])
wrong = [(pair[0], verdict.object) for pair, verdict in zip(asked, judge.verdicts(images)) if verdict.object != pair[0]]
print("on the sheet, asked for and seen:", wrong or "all right")
print(evaluate.generated_accuracy(pipeline, judge, steps=10, count=200, held_out=False, guidance=generator.GUIDANCE))
