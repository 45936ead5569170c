"""Mistakes that users make with flowkit's own plugins and with YAML: what is said tells what to write instead."""

from __future__ import annotations

import pytest
from mistakes import check

from flowkit.plugin import Registry

MISTAKES = r"""
flow: [{use: ¦flow/actnorm}]
=> flow[0].use: no plugin namespace 'flow' is installed
=> did you mean glow/actnorm?

flow: [{use: glow/actnorm, ¦invers: true}]
=> flow[0].invers: unknown field 'invers'
=> did you mean inverse?

flow: [{use: ¦actnorm}]
=> flow[0].use: 'actnorm' is not a plugin name
=> did you mean glow/actnorm?

flow: [{use: ¦flowkit_glow.actnorm.ActNorm}]
=> flow[0].use: is not a plugin name: write namespace/name
=> did you mean glow/actnorm?

flow: [{use: ¦glow/affine, conditioner: {use: glow/mlp}}]
=> flow[0].use: glow/affine is a transformer, not a bijector
=> write coupling: {use: glow/affine}, and beside it conditioner: {use: …}; or elementwise: {use: glow/affine}, or

flow: [{coupling: {use: ¦glow/convnet}, conditioner: {use: glow/mlp}}]
=> flow[0].coupling.use: glow/convnet is a conditioner, not a transformer
=> write coupling: {use: glow/affine}, for example, and beside it conditioner: {use: glow/convnet}

event: {shape: [4]}
flow: [¦{coupling: {use: glow/affine}, conditioner: {use: glow/convnet}}]
=> flow[0]: use glow/mlp for vectors ([4] reaches it)
=> [4] is the shape of the event

event: {shape: [1]}
flow: [¦{coupling: {use: glow/affine}, conditioner: {use: glow/mlp}}]
=> flow[0]: a coupling needs 2 values: for events of one, write elementwise: instead of coupling: ([1] reaches it)

context: {shape: [3, 4, 4]}
event: {shape: [3, 8, 8]}
flow: [¦{elementwise: {use: glow/affine}, conditioner: {use: glow/convnet}}]
=> flow[0]: glow/convnet reads [3, 4, 4], and can't write parameters for [3, 8, 8]
=> [3, 8, 8] is the shape of the event

context: {shape: [3]}
event: {shape: [3, 8, 8]}
flow: [¦{elementwise: {use: glow/affine}, conditioner: {use: glow/convnet}}]
=> flow[0]: use glow/mlp for vectors; here it reads the context, [3] ([3, 8, 8] reaches it)

flow: [{autoregressive: {use: glow/affine}, conditioner: {use: ¦glow/mlp}}]
=> flow[0].conditioner.use: glow/mlp is a conditioner, not a masked-conditioner
=> masked-conditioners installed: autoregressive/made

flow: [{coupling: {use: glow/affine}, conditioner: {use: ¦autoregressive/made}}]
=> flow[0].conditioner.use: autoregressive/made is a masked-conditioner, not a conditioner

flow: [{autoregressive: {use: glow/affine}, order: ¦reversed}]
=> flow[0].order: must name an order
=> did you mean autoregressive/reversed?

flow: [{autoregressive: {use: glow/affine}, ¦split: {use: glow/channels}}]
=> flow[0].split: unknown field 'split'
=> fields here: autoregressive, conditioner, order, inverse

event: {shape: [3]}
flow: [¦{autoregressive: {use: glow/affine}, order: {use: autoregressive/listed, indices: [1, 2, 3]}}]
=> flow[0]: indices must list each of 0 … 2 once, for the 3 values of an event ([3] reaches it)

event: {shape: [1, 300, 300]}
flow: [¦{autoregressive: {use: glow/affine}}]
=> flow[0]: an autoregressive layer takes events of at most 65,536 values

flow: [{coupling: ¦glow/affine, conditioner: {use: glow/mlp}}]
=> flow[0].coupling: must name a transformer: {use: namespace/name}
=> write {use: glow/affine}

flow: [{coupling: {use: glow/affine}, conditioner: {use: glow/mlp}, split: ¦channels}]
=> flow[0].split: must name a split
=> did you mean glow/channels?

flow: [{coupling: {use: glow/affine}, conditioner: {use: glow/mlp}, ¦hidden: 64}]
=> flow[0].hidden: unknown field 'hidden'
=> hidden belongs in flow[0].conditioner

flow: [{coupling: {use: glow/affine, ¦split: {use: glow/channels}}, conditioner: {use: glow/mlp}}]
=> flow[0].coupling.split: unknown field 'split'
=> split belongs in flow[0]

train: {¦lr: 0.1}
=> train.lr: unknown field 'lr'
=> lr belongs in train.optimizer

train: {optimizer: {¦ema: 0.9}}
=> train.optimizer.ema: unknown field 'ema'
=> ema belongs in train

¦epochs: 3
=> epochs: unknown field 'epochs'
=> epochs belongs in train

train: {¦batch: 64}
=> train.batch: unknown field 'batch'
=> did you mean batch_size?

train:
  ¦data: {use: data/digits}
=> train.data: unknown field 'data'
=> data is a section of its own

event:
  shape: [2]
  ¦base: {use: base/laplace}
=> event.base: unknown field 'base'
=> base is a section of its own: give it the indentation of event

train: {¦batchSize: 3}
=> train.batchSize: unknown field 'batchSize'
=> did you mean batch_size?

train: {optimizer: ¦adam}
=> train.optimizer: must be a mapping, not 'adam'
=> write {name: adam}

train: {optimizer: {name: ¦Adam}}
=> train.optimizer.name: not 'Adam'
=> did you mean adam

train:
  ¦epochs:3
=> train: must be a mapping, not 'epochs:3'
=> write a space after epochs:

train: {¦epochs:3}
=> train.epochs:3: unknown field 'epochs:3'
=> write a space after epochs:

train: {epochs: ¦1_000}
=> train.epochs: must be a whole number, not '1_000'
=> write 1000

train:
  ema: ¦0,99
=> train.ema: must be a number, not '0,99'
=> write 0.99

train: {patience: ¦None}
=> train.patience: must be a whole number, not 'None'
=> write null for none

flow:
  - ¦use:glow/actnorm
=> flow[0]: a step has exactly one of the keys
=> write a space after use:

flow:
  ¦-use: glow/actnorm
=> flow: must be a list, not a mapping
=> write - use: glow/actnorm

flow:
  ¦use: glow/actnorm
=> flow: must be a list, not a mapping
=> begin each step with a dash, and what belongs to it 2 columns further right

flow: ¦glow/actnorm
=> flow: must be a list, not 'glow/actnorm'
=> write [{use: glow/actnorm}]

flow:
  - ¦glow/actnorm
=> flow[0]: a step has exactly one of the keys
=> write {use: glow/actnorm}

flow:
  - ¦type: glow/actnorm
=> flow[0]: a step has exactly one of the keys
=> write use in the place of type

flow:
  - use: glow/permute
  - ¦order: random
=> flow[1]: a step has exactly one of the keys
=> does order belong to the step above? Then delete the dash

¦flow:
=> flow: must be a list, not null

event: {shape: ¦4}
=> event.shape: must be a list, not 4
=> write [4]

event: {shape: ¦1x28x28}
=> event.shape: must be a list, not '1x28x28'
=> write [1, 28, 28]

event: {shape: ¦[28, 28]}
=> event.shape: write [1, 28, 28] for one channel

event: {shape: [2], levels: ¦256.5}
=> event.levels: must be a whole number, not 256.5

flow: [¦{use: glow/rescale}]
=> flow[0].high: is needed, because the event has no `levels`

event: {shape: [2], levels: 5}
flow: [¦{use: map/to_reals}]
=> flow[0].bounds: is needed, because the event has no `domain`: [0, 5]

flow: [¦{use: map/to_reals}]
=> flow[0].bounds: is needed, because the event has no `domain`: [0, 1], for example

event: {shape: [2], levels: ¦256.5}
flow: [{use: glow/rescale}]
=> event.levels: must be a whole number, not 256.5

event: {shape: ¦[28, 28], levels: 256}
flow: [{use: glow/rescale}, {use: glow/actnorm}]
=> event.shape: write [1, 28, 28] for one channel

flow: [{coupling: {use: glow/affine, scale: ¦[4, 0.25]}, conditioner: {use: glow/mlp}}]
=> flow[0].coupling.scale: 0 < lo < 1 < hi, such as [0.25, 4]

flow: [{coupling: {use: glow/affine, scale: ¦[1, 2, 3]}, conditioner: {use: glow/mlp}}]
=> flow[0].coupling.scale: must have at most 2 entries, not 3

flow: [{coupling: {use: glow/affine, scale: ¦sigmod}, conditioner: {use: glow/mlp}}]
=> flow[0].coupling.scale: must be a list or 'sigmoid', not 'sigmod'
=> did you mean sigmoid?

flow: [{coupling: {use: glow/affine}, conditioner: {use: glow/mlp}, split: {use: glow/channels, swap: ¦on}}]
=> flow[0].split.swap: must be true or false, not 'on'
=> write true, without quotes

event: {shape: [1, 8, 8]}
flow: [¦{coupling: {use: glow/affine}, conditioner: {use: glow/convnet}}]
=> flow[0]: squeeze first, or use split: {use: glow/checkerboard} ([1, 8, 8] reaches it)

event: {shape: [1, 28, 28]}
flow:
  - repeat: 4
    flow:
      - ¦use: glow/squeeze
      - use: glow/actnorm
=> flow[0].flow[0]: divisible by 2: pad the data, or leave it out here ([16, 7, 7] reaches it in repeat 3 of 4)
=> [16, 7, 7] is what glow/squeeze at flow[0].flow[0] made of [4, 14, 14]

data: ¦data/digits
=> data: must name a dataset
=> write {use: data/digits}

data: {use: ¦glow/actnorm}
=> data.use: glow/actnorm is a bijector, not a dataset
=> datasets installed: data/breast_cancer, data/diabetes, data/digits

data: {use: data/toy, name: ¦moon}
=> data.name: not 'moon'
=> did you mean moons?

base: ¦standard_normal
=> base: must name a base
=> did you mean base/standard_normal?

context: ¦10
=> context: must be a mapping, not 10
=> fields here: classes, shape

data: {use: data/npy, path: C¦: x}
=> : expected a comma or } here
=> opens at 4:7

data:
  use: data/npy
  ¦path: a: b
=> : outside of brackets each key has a line of its own
=> put text with a colon in quotes

¦flowkit:1
event: {shape: [4]}
=> : a space is missing after flowkit:
=> write a space after flowkit:

flow:
  - use: glow/actnorm
   ¦- use: glow/actnorm
=> : this line is indented neither like the lines above nor deeper

flow:
  - use: glow/permute
  ¦order: random
=> : this line is indented neither like the lines above nor deeper
=> begin it in the column of the line that it belongs to

flow: ¦[{use: glow/actnorm}
=> : the bracket that opens here is never closed

flow: [{use: glow/actnorm¦]
=> : expected a comma or } here
=> opens at 3:8

data: {use: data/npy, path: ¦@x}
=> : text can't begin with @
=> in quotes

data: {use: data/npy, path: "C:\U¦sers\x"}
=> : \ begins an escape in double quotes
=> single quotes

data: {use: data/npy, path: ¦'x}
=> : the quote that opens here is never closed

train: {epochs: 3,¦, seed: 1}
=> : , can't stand here: is it one too many?
"""


@pytest.mark.parametrize("block", MISTAKES.replace(r"\t", "\t").strip().split("\n\n"))
def test_mistakes(block: str, installed: Registry) -> None:
    check(block, installed, "glow/actnorm")
