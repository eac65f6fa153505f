# First call: the generator, its prompts, and what it is worth on few pictures.
set -u
date +%T; . build/dev/env.sh; date +%T
WITHIN=${WITHIN:-3.6} BATCH=${BATCH:-1024} IMAGES=${IMAGES:-24000}
rm -rf build/new; mkdir -p build/new; cp -r data/models build/new/; mkdir -p build/new/results
OMP_NUM_THREADS=16 python3 -m rlli_core.embedded generator --world cells --within $WITHIN --batch $BATCH --rate 1.5e-3 --go-on --images $IMAGES --steps 100000 --output build/new 2>&1 | tr '\r' '\n' | tail -n 40
date +%T
tar cf - -C build/new/models embedded-sd | split -b 15000000 - $OUT/model.tar.
python3 - <<'P' > build/check.log 2>&1 &
from diffusers import StableDiffusionPipeline
import torch
from rlli_core.embedded import evaluate, judge, generator
p = StableDiffusionPipeline.from_pretrained("build/new/models/embedded-sd", torch_dtype=torch.float32).to("cuda")
j = judge.Judge.from_pretrained("build/new/models/judge")
for held in (False, True):
    print("held", held, evaluate.generated_accuracy(p, j, steps=10, count=100, held_out=held, guidance=1.25))
P
python3 -m rlli_core.embedded prompts --output build/new > build/prompts.log 2>&1; tail -2 build/prompts.log
cp build/new/prompts.yaml $OUT/; date +%T
wait; grep held build/check.log; date +%T
