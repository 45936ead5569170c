"""Slips that people make in specs: what is said, where, and that what is advised gives a valid spec."""

from __future__ import annotations

import pytest
from mistakes import complete

from flowkit.errors import SpecError
from flowkit.plugin import Registry
from flowkit.spec import read_spec

SLIPS = r"""
event: {shape: ¦(2,)}
=> write [2]
=> event: {shape: [2]}

event: {shape: ¦(1, 28, 28)}
=> a list stands in [ ]: write [1, 28, 28]
=> event: {shape: [1, 28, 28]}

event: {shape: ¦1, 28, 28}
=> a list stands in [ ]: write [1, 28, 28]
=> event: {shape: [1, 28, 28]}

event: {shape: ¦<2>}
=> must be a list, not '<2>': write [2]
=> event: {shape: [2]}

event: {shape: [¦1 28 28]}
=> write a comma between the numbers
=> event: {shape: [1, 28, 28]}

event: {shape: ¦'[1, 28, 28]'}
=> remove the quotes
=> event: {shape: [1, 28, 28]}

event: {shape: ¦torch.Size([2])}
=> nothing in a spec is evaluated: write the value itself in the place of torch.Size(…)
=> event: {shape: [2]}

event: {shape: ¦［2］}
=> write [ in the place of ［
=> event: {shape: [2]}

event: {¦shape:[2]}
=> a space is missing after shape:: write a space after shape:
=> event: {shape: [2]}

¦event:{shape: [2]}
=> a space is missing after event:: write a space after event:
=> event: {shape: [2]}

event: {shape: [2]
¦context: {classes: 2}
=> expected a comma or } here: the bracket that it would close opens at 3:8
=> event: {shape: [2]}
flow: [{coupling: {use: glow/affine}, conditioner: {use: glow/mlp}}]
context: {classes: 2}

event: ¦{shape: [2]
=> the bracket that opens here is never closed: write } at its end
=> event: {shape: [2]}

event: {shape: [2]}¦}
=> } closes no bracket: delete it
=> event: {shape: [2]}

train: {epochs: 20¦]
=> expected a comma or } here: the bracket that it would close opens at 4:8
=> train: {epochs: 20}

event: {shape: [2] ¦levels: 2}
=> expected a comma or } here
=> event: {shape: [2], levels: 2}

¦event: shape: [2]
=> outside of brackets each key has a line of its own: begin a new line before shape
=> event: {shape: [2]}

event: ¦(shape: [2])
=> a mapping stands in { }: write { } in the place of these brackets
=> event: {shape: [2]}

event: ¦[shape: [2]]
=> must be a mapping, not a list: delete the dashes, or write { } in the place of [ ]
=> event: {shape: [2]}

train: {epochs: ¦1,000}
=> a number has no commas: write the number without commas
=> train: {epochs: 1000}

train: {optimizer: {lr: ¦0,001}}
=> a number has no commas: write 0.001
=> train: {optimizer: {lr: 0.001}}

train: {epochs: ¦1 000}
=> must be a whole number, not '1 000': write 1000
=> train: {epochs: 1000}

train: ¦dict(epochs=20, optimizer=dict(name='adam', lr=1e-3))
=> write the value itself in the place of dict(…)
=> train: {epochs: 20, optimizer: {name: adam, lr: 0.001}}

train: {epochs: ¦20h}
=> write the number itself, without a unit: nothing in a spec is computed
=> train: {epochs: 20}

train: {batch_size: ¦2**8}
=> nothing in a spec is computed
=> train: {batch_size: 256}

train: {epochs: ¦{{ epochs }}}
=> templates aren't expanded: write the value in the place of {{ epochs }}
=> train: {epochs: 3}

train: {epochs: ¦${EPOCHS}}
=> templates aren't expanded: write the value in the place of ${EPOCHS}
=> train: {epochs: 3}

train: {epochs: ¦$EPOCHS}
=> write the value in the place of $EPOCHS
=> train: {epochs: 3}

train: ¦{epochs: 20, # many seed: 1}
=> the bracket that opens here is never closed: write } at its end
=> train: {epochs: 20, seed: 1}  # many

train: {epochs: 20; seed¦: 1}
=> expected a comma or } here
=> train: {epochs: 20, seed: 1}

train: {epochs: 20¦， seed: 1}
=> ， (U+FF0C) only looks like ,: write , in the place of ，
=> train: {epochs: 20, seed: 1}

train: {¦epochs： 20}
=> write : in the place of ：
=> train: {epochs: 20}

train:
  ¦epochs 20
  seed: 1
=> a colon is missing after epochs: write epochs: 20
=> train: {epochs: 20, seed: 1}

train:
  ¦epochs = 20
  seed: 1
=> a colon is missing after epochs: write epochs: 20
=> train: {epochs: 20, seed: 1}

train:
  ¦epochs: 20, seed: 1
=> each key has a line of its own: begin a new line before seed
=> train: {epochs: 20, seed: 1}

train:
  epochs: ¦20 // many
=> write # in the place of //
=> train: {epochs: 20}

train:
  epochs: 20
    seed¦: 1
=> a colon can't stand here: give the line above a colon, begin this line in the same column, or put text
=> train: {epochs: 20, seed: 1}

train:
   epochs: 20
  ¦seed: 1
=> neither like the lines above nor deeper: begin it in the column of the line that it belongs to
=> train: {epochs: 20, seed: 1}

train:
  ¦epochs:NBSP20
=> must be a mapping, not 'epochs:\xa020': replace U+00A0 by a space, or delete it
=> train: {epochs: 20}

train:
  ep¦ZWSPochs: 20
=> U+200B isn't an ordinary space, or is invisible: replace U+200B by a space, or delete it
=> train: {epochs: 20}

train:
¦TABepochs: 20
TABseed: 1
=> a tab, but YAML is indented with spaces: replace every tab in the file by spaces
=> train: {epochs: 20, seed: 1}

flow: ¦// steps
  - use: glow/actnorm
=> a comment begins with #: write # in the place of //
=> flow: [{use: glow/actnorm}]

¦flow
  - use: glow/actnorm
=> a colon is missing after flow: write flow:
=> flow: [{use: glow/actnorm}]

flow:
  ¦–use: glow/actnorm
  - use: glow/permute
=> the marker of a list's entry is "- ": write - use: glow/actnorm
=> flow: [{use: glow/actnorm}, {use: glow/permute}]

flow:
  ¦-use: glow/actnorm
  - use: glow/permute
=> the marker of a list's entry is "- ": write - use: glow/actnorm
=> flow: [{use: glow/actnorm}, {use: glow/permute}]

flow:
  ¦* use: glow/actnorm
=> the marker of a list's entry is "- ": write - use: glow/actnorm
=> flow: [{use: glow/actnorm}]

flow:
  - ¦glow/actnorm:
=> a step has exactly one of the keys use, repeat, coupling, elementwise, autoregressive, factor_out: write use: glow/
=> flow: [{use: glow/actnorm}]

flow:
  - ¦actnorm: true
=> write use: glow/actnorm
=> flow: [{use: glow/actnorm}]

flow:
  - ¦times: 2
    flow: [{use: glow/actnorm}]
=> write repeat in the place of times
=> flow: [{repeat: 2, flow: [{use: glow/actnorm}]}]

flow:
  - ¦coupling:
    use: glow/affine
    conditioner: {use: glow/mlp}
=> indent what belongs to coupling deeper than coupling
=> flow: [{coupling: {use: glow/affine}, conditioner: {use: glow/mlp}}]

flow:
  - use: ¦coupling
    conditioner: {use: glow/mlp}
=> write coupling: in the place of use: coupling
=> flow: [{coupling: {use: glow/affine}, conditioner: {use: glow/mlp}}]

flow:
  - coupling: {use: glow/affine}
    conditioner: ¦{use:glow/mlp}
=> must name a conditioner: {use: namespace/name}: write a space after use:
=> flow: [{coupling: {use: glow/affine}, conditioner: {use: glow/mlp}}]

flow: [{use: ¦“glow/actnorm”}]
=> write 'glow/actnorm'
=> flow: [{use: 'glow/actnorm'}]

data: {use: data/toy, name: ¦*}
=> text can't begin with *, & or !: put the text in quotes
=> data: {use: data/toy, name: "moons"}

data: {use: data/npy, path: ¦''}
=> the path is empty: name a file or a folder
=> data: {use: data/npy, path: 'x.npy'}

data: {use: data/npy, ¦file: x.npy, path: y.npy}
=> delete one of file and path
=> data: {use: data/npy, path: x.npy}

event: {shape: [2¦}
=> expected a comma or ] here: the bracket that it would close opens at 3:16
=> event: {shape: [2]}

event:
¦shape: [2]
=> unknown field 'shape': shape belongs in event: indent it
=> event: {shape: [2]}

flow:
  use: glow/actnorm
  ¦- use: glow/permute
=> this entry of a list stands below a mapping: begin the line above with a dash too
=> flow: [{use: glow/actnorm}, {use: glow/permute}]

flow:
  - ¦use glow/actnorm
=> write use: glow/actnorm
=> flow: [{use: glow/actnorm}]

flow:
  - ¦- use: glow/actnorm
=> delete one of the dashes
=> flow: [{use: glow/actnorm}]

data: {use: data/npy, path: ¦*.npy}
=> anchors and aliases (&, *) are not allowed: write the value out, or put text in quotes
=> data: {use: data/npy, path: '*.npy'}

flow: [¦{repeat: 3}]
=> field 'flow' is missing: The steps that are repeated: add flow: [{use: glow/actnorm}]
=> flow: [{repeat: 3, flow: [{use: glow/actnorm}]}]

flow:
  - ¦repeat: 3
    use: glow/actnorm
=> factor_out: write flow: below repeat
=> flow: [{repeat: 3, flow: [{use: glow/actnorm}]}]

flow:
  - repeat:
      ¦- use: glow/actnorm
=> must be a whole number, not a list: write the number of repetitions, and flow: beside it with the steps
=> flow: [{repeat: 3, flow: [{use: glow/actnorm}]}]

event: {shape: [2], levels: 4}
dequantization:
  ¦- use: map/to_reals
=> must be a mapping, not a list: write {flow: [{use: map/to_reals}]}
=> event: {shape: [2], levels: 4}
flow: [{use: glow/actnorm}]
dequantization: {flow: [{use: map/to_reals}]}

event: {shape: [2], levels: 4}
dequantization: ¦map/to_reals
=> must be a mapping, not 'map/to_reals': dequantization: The distribution of the noise that makes integer data
=> event: {shape: [2], levels: 4}
flow: [{use: glow/actnorm}]
dequantization: {flow: [{use: map/to_reals}]}

context: ¦[3]
=> must be a mapping, not a list: write {shape: [3]}
=> flow: [{elementwise: {use: glow/affine}, conditioner: {use: glow/mlp}}]
event: {shape: [2]}
context: {shape: [3]}

event: {shape: [2], domain: {circle: [-1, 1]}}
flow: [{use: map/phase}]
base: ¦{use: base/uniform, bounds: [-1, 1]}
=> The event has this domain. Write {use: base/uniform, bounds: {circle: [-1, 1]}}
=> event: {shape: [2], domain: {circle: [-1, 1]}}
flow: [{use: map/phase}]
base: {use: base/uniform, bounds: {circle: [-1, 1]}}

flow: [{use: ¦glow/mlp}]
=> glow/mlp is a conditioner, not a bijector: bijectors installed: glow/rescale, glow/actnorm
=> flow: [{use: glow/actnorm}]

flow: [{use: glow/actnorm}]
base: {use: ¦base/gmm}
=> there is no base 'base/gmm': bases of the namespace base: base/standard_normal
=> base: {use: base/standard_normal}

event: ¦[2]
=> must be a mapping, not a list: write {shape: [2]}
=> event: {shape: [2]}

event:
  ¦shape [2]
=> must be a mapping, not 'shape [2]': write event: {shape: [2]}, for example; fields here: shape
=> event: {shape: [2]}

event: {shape: [2], domain: [0, 1]}
flow: [{use: map/to_reals}, {use: map/to_reals, inverse: true}]
base: {use: base/uniform, ¦domain: [0, 1]}
=> unknown field 'domain': did you mean bounds?
=> event: {shape: [2], domain: [0, 1]}
flow: [{use: map/to_reals}, {use: map/to_reals, inverse: true}]
base: {use: base/uniform, bounds: [0, 1]}

event: {shape: [2], domain: [0, 1]}
flow: [¦{use: map/phase}]
=> must be a circle: declare it as event: {domain: {circle: [low, high]}}, or here
=> event: {shape: [2]}

event: {shape: [2], domain: positive}
flow: [{use: map/to_reals}, ¦{use: map/to_reals}]
=> the reals: map/to_reals at flow[0] gives this domain. If the data has another domain, declare it
=> event: {shape: [2]}

event: {shape: [2]}
data: {use: data/table, path: x.csv, event: [{column: area}, ¦price]}
=> must be a mapping, not 'price': write {column: price}
=> event: {shape: [2]}
data: {use: data/table, path: x.csv, event: [{column: price}, {column: area}]}

data: ¦{use: data/table, path: x.csv, dim: [{column: a}, {column: b}]}
=> field 'event' is missing
=> event: {shape: [2]}
data: {use: data/table, path: x.csv, event: [{column: a}, {column: b}]}

¦name: x
=> unknown field 'name': delete name, or take one of the fields here: flowkit, event
=> data: {use: data/toy, name: moons}

train: {optimizer: {¦learning_rate: 0.1}}
=> did you mean lr?
=> train: {optimizer: {lr: 0.1}}

train: {¦learning_rate: 0.1}
=> did you mean lr? It belongs in train.optimizer
=> train: {optimizer: {lr: 0.1}}

flow:
  - {¦use=glow/actnorm, inverse=[1, 2]}
=> write use: and a space in the place of use=
=> flow: [{use: glow/actnorm}]

train: ¦epochs=3 ema=0.9
=> must be a mapping, not 'epochs=3 ema=0.9': train: The settings of training; fields here: epochs
=> train: {epochs: 3, ema: 0.9}

data: {use: data/toy, name: moons, n: ¦10k}
=> write the number itself, without a unit: nothing in a spec is computed
=> data: {use: data/toy, name: moons, n: 10000}

train: {ema: ¦98%}
=> write the number itself, without a unit: nothing in a spec is computed
=> train: {ema: 0.98}

train: {ema: ¦false}
=> must be a number, not false: ema: The decay per step of the average of the weights
=> train: {ema: null}

train: {devices: ¦[0, 1]}
=> must be a whole number, not a list: devices: The number of devices of a machine
=> train: {devices: 2}

train: {schedule: ¦{name: cosine, warmup: 3}}
=> must be 'constant' or 'cosine', not a mapping: schedule: The learning rate after the warm-up
=> train: {schedule: cosine, warmup: 3}

train: {¦early_stopping: {patience: 5}}
=> unknown field 'early_stopping': did you mean patience?
=> train: {patience: 5}

train: {¦direction: 1}
=> unknown field 'direction': delete direction, or take one of the fields here
=> train: {}

data: {use: data/npy, path: x.npy, fractions: ¦{train: 0.8, val: 0.1, test: 0.1}}
=> must be a list, not a mapping: fractions: The shares of the training, validation and test parts
=> data: {use: data/npy, path: x.npy, fractions: [0.8, 0.1, 0.1]}

data: ¦'{use: data/toy, name: moons}'
=> remove the quotes
=> data: {use: data/toy, name: moons}

base: ¦{type: base/laplace}
=> write use in the place of type
=> base: {use: base/laplace}

flow: [{coupling: {use: glow/affine}, conditioner: ¦{glow/mlp}}]
=> write use: glow/mlp
=> flow: [{coupling: {use: glow/affine}, conditioner: {use: glow/mlp}}]

flow: [¦{coupling: {use: glow/affine}}]
=> field 'conditioner' is missing
=> flow: [{coupling: {use: glow/affine}, conditioner: {use: glow/mlp}}]

flow: [{use: glow/actnorm}, {use: ¦base/laplace}]
=> write base: {use: base/laplace} as a section of its own
=> base: {use: base/laplace}

flow: [{use: glow/actnorm}, ¦{base: {use: base/laplace}}]
=> write base as a section of its own, beside flow
=> base: {use: base/laplace}

flow:
  - use: glow/actnorm
    ¦use: glow/conv1x1
=> delete one of them; or begin the second with a dash, or deeper, if it belongs to an entry
=> flow: [{use: glow/actnorm}, {use: glow/conv1x1}]

event: {shape: [2]}
data:
  use: data/table
  path: x.csv
  event: [{column: #rooms, kind: integer}]
  missing¦: drop
=> expected a comma or } here: the bracket that it would close opens at 7:11; put text with brackets
=> event: {shape: [2]}
data: {use: data/table, path: x.csv, event: [{column: "#rooms"}, {column: y}]}

event: {shape: [2]}
data:
  use: data/table
  path: x.csv
  event: [{column: x}, ¦{kind: integer}]
=> add column; or delete the dash if kind belongs to the entry above
=> event: {shape: [2]}
data: {use: data/table, path: x.csv, event: [{column: x}, {column: y}]}

event: {shape: [2], domain: positive}
flow: [¦{use: map/exp}]
=> The layer's inverse takes it: {use: map/exp, inverse: true}
=> event: {shape: [2], domain: positive}
flow: [{use: map/exp, inverse: true}]

flow: ¦|
  - use: glow/actnorm
=> must be a list, not '- use: glow/actnorm\n': delete the | or > behind flow:
=> flow: [{use: glow/actnorm}]

flow:
  - repeat: 2
      - use¦: glow/actnorm
=> a colon can't stand here
=> flow: [{repeat: 2, flow: [{use: glow/actnorm}]}]

flow: [{autoregressive: {use: ¦autoregressive/made}}]
=> write autoregressive: {use: glow/affine}, for example, and beside it conditioner: {use: autoregressive/made}
=> flow: [{autoregressive: {use: glow/affine}, conditioner: {use: autoregressive/made}}]

¦train.epochs: 50
=> write train: and below it, indented, epochs
=> train: {epochs: 50}

data: {use: data/table, path: x.csv, event: [{column: rent ¦[EUR]}]}
=> expected a comma or } here: the bracket that it would close opens at 3:46; put text with brackets or a colon
=> event: {shape: [2]}
data: {use: data/table, path: x.csv, event: [{column: "rent [EUR]"}, {column: x}]}

event: {shape: [2]}
data: {use: data/table, path: x.csv, event: [¦[{column: x}], {column: y}]}
=> must be a mapping, not a list: delete the dashes, or write { } in the place of [ ]
=> event: {shape: [2]}

flow: [{coupling: {use: ¦glow/householder}, conditioner: {use: glow/mlp}}]
=> write - use: glow/householder as a step of its own
=> flow: [{use: glow/householder}]

data: ¦../x.npy
=> write {use: data/npy, path: ../x.npy}; `flowkit new FILE` writes the whole spec
=> data: {use: data/npy, path: ../x.npy}

train: ¦!include train.yaml
=> tags (!) are not allowed: delete the tag
=> train: {epochs: 3}

flow: ¦maf
=> must be a list, not 'maf': write flow: [{use: glow/actnorm}], for example
=> flow: [{use: glow/actnorm}]

flow: [¦{_target_: flowkit_glow.ActNorm}]
=> write use in the place of _target_
=> flow: [{use: glow/actnorm}]

base: {use: ¦base/norm}
=> did you mean base/standard_normal or base/diagonal_normal?
=> base: {use: base/standard_normal}

event: {shape: [¦null, 2]}
=> delete it: a shape is that of one event or context, without the batch
=> event: {shape: [2]}

event: {shape: [2], domain: ¦{circle: [0, 2*pi]}}
=> a domain is real, positive, [low, high] (null for an infinite end) or a mapping circle: [low, high]
=> event: {shape: [2]}

¦prior: {use: base/laplace}
=> unknown field 'prior': did you mean base?
=> base: {use: base/laplace}

event: {shape: [8, 8, 1]}
flow: [{use: glow/actnorm}, ¦{use: glow/squeeze}]
=> [8, 8, 1] is the shape of the event. Are its channels last? Then write [1, 8, 8]
=> event: {shape: [1, 8, 8]}

¦```yaml
event: {shape: [2]}
=> ``` marks code in Markdown: delete the lines with ```
=> event: {shape: [2]}
"""


@pytest.mark.parametrize(
    "block", SLIPS.strip().replace("NBSP", "\u00a0").replace("ZWSP", "\u200b").replace("TAB", "\t").split("\n\n")
)
def test_slips(block: str, installed: Registry) -> None:
    part, words, mended = block.split("\n=> ")
    before, _, after = complete(part, "glow/actnorm").partition("¦")
    with pytest.raises(SpecError) as caught:
        read_spec(before + after + "\n", registry=installed)
    said = {f"{each.message}: {each.suggestion}": (each.line, each.column) for each in caught.value.problems}
    (place,) = (where for each, where in said.items() if words in each)
    assert place == (before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1)
    assert read_spec(complete(mended, "glow/actnorm") + "\n", registry=installed)


RIGHT = """\
data: {use: data/npy, path: C:/a–b/x(1).npy}
data: {use: data/npy, path: "(1, 2)"}
data: {use: data/npy, path: http://x}
train: {epochs: 3}  # 1,000; or {{ n }} – “many”
"""


@pytest.mark.parametrize("line", RIGHT.splitlines())
def test_what_is_no_slip(line: str, installed: Registry) -> None:
    text = complete(line, "glow/actnorm")
    assert read_spec(text + "\n", registry=installed)
    with pytest.raises(SpecError) as caught:
        read_spec(text + "\nepochs: 3\n", registry=installed)
    assert [problem.suggestion for problem in caught.value.problems] == ["epochs belongs in train"]
