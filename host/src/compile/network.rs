//! A whole network: its tensors, then its three segments.

use super::build::{Builder, Epilogue, Matrix, Piece, append, check, odd_pitch};
use super::chain::{Layer, Part, layers};
use super::cost::Cost;
use super::loss::{self, LossTensors};
use super::ops::PhaseSpec;
use super::optimizer::{Scratch, UpdateTensors, accumulate, update};
use super::plan::{Class, Conflict, Lifetime, MemoryPlan, PlannedTensor, Request, place};
use super::{CompileError, Compiled, Feed, Parameter, Pass, Phase, Recipe, SlotBinding, TensorPlace, Upload};
use crate::graph::{Gan, GradientOp, Graph, Model, NodeId, Op, ParameterId, differentiate};
use systole_isa::flag;
use systole_isa::machine::Machine;
use systole_isa::operand::{Addr, Base};
use systole_isa::regs::Space;

/// Address register of the input slot.
const INPUT_REGISTER: u8 = 1;
/// Address register of the label slot.
const LABEL_REGISTER: u8 = 2;
/// Ways to cut a batch into chunks, in eighths, so that the loss of one overlaps the products of the next.
const CUTS: [&[u32]; 6] = [&[8], &[4, 4], &[6, 2], &[4, 2, 2], &[3, 3, 2], &[2, 2, 2, 2]];
/// Ways to cut a chunk's exponentials into parts, which hide each other's latency.
const PARTS: [u32; 3] = [1, 2, 4];
/// Accumulator rows, in eighths, in which weight gradients gather chunk by chunk, so that they need not wait for the last.
const KEPT: [u32; 4] = [0, 4, 5, 6];
/// Plans that are scheduled with [`EFFORT`] shaken schedules.
const FINALISTS: usize = 8;
const EFFORT: u32 = 240;
/// Chunks of the batch, parts of chunks for the loss, accumulator rows that gather.
type Plan = (Vec<Part>, Vec<Part>, u32);
/// Cycles that a vector instruction may lose, waiting for the plane that the matrix engine streams from.
const STARVED: u64 = 1 << 12;
const FP16_ONE: u16 = 0x3c00;

/// Tensors as they are declared; places come once all are known.
#[derive(Default)]
struct Declarations {
    requests: Vec<Request>,
    shapes: Vec<(u32, u32, u32)>,
    conflicts: Vec<Conflict>,
}

impl Declarations {
    fn add(&mut self, name: String, class: Class, space: Space, plane: Option<u32>, shape: (u32, u32, u32)) -> usize {
        let (rows, cols, pitch) = shape;
        let resident = matches!(class, Class::Weights | Class::Moments);
        let lifetime = if resident { Lifetime::Resident } else { Lifetime::Step };
        let words = (rows as u64 - 1) * pitch as u64 + (cols as u64).max(if rows > 1 { pitch as u64 } else { 0 });
        self.requests.push(Request { name, class, space, words, lifetime, plane });
        self.shapes.push((rows, cols, pitch));
        self.requests.len() - 1
    }
    fn half(&mut self, name: String, class: Class, shape: (u32, u32, u32)) -> usize {
        self.add(name, class, Space::Hmem, None, shape)
    }
    fn single(&mut self, name: String, class: Class, plane: u32, shape: (u32, u32, u32)) -> usize {
        self.add(name, class, Space::Smem, Some(plane), shape)
    }
    /// The operands of a product: `steps` k tiles times n tiles times N is what a shared port costs.
    fn conflict(&mut self, a: usize, b: usize, cycles: u64) {
        self.conflicts.push(Conflict { a, b, cycles });
    }
}

/// Indices of a layer's tensors.
struct LayerTensors {
    half: [usize; 2],
    master: [usize; 2],
    state: [Vec<usize>; 2],
    gradient: usize,
    /// FP32 sums of gradients over micro-batches.
    sum: Option<[usize; 2]>,
    /// Output value, by its output the gradient, and its ReLU mask.
    value: usize,
    value_gradient: usize,
    mask: Option<u32>,
}

struct Network<'a> {
    graph: &'a Graph,
    batch: u32,
    recipe: Recipe,
    cost: Cost,
    layers: Vec<Layer>,
    tensors: Vec<LayerTensors>,
    slots: [(usize, usize); 2],
    scratch: Vec<usize>,
    /// Temporaries of the update.
    update: Scratch,
    update_scratch: Vec<usize>,
    ramp: usize,
    mask_bits: u32,
    places: Vec<TensorPlace>,
    planned: Vec<PlannedTensor>,
}

/// Compiles a model, each of whose phases is updated by its own recipe: a network by one, a GAN by those of discriminator and
/// generator.
///
/// # Errors
/// What the machine has no room for, or what has no rule.
pub fn model(model: &Model, batch: u32, recipes: &[Recipe], machine: Machine) -> Result<Compiled, CompileError> {
    match (&model.gan, recipes) {
        (None, &[recipe]) => network(&model.graph, batch, recipe, machine),
        (Some(Gan { phases }), recipes) if recipes.len() == phases.len() => {
            let specs: Vec<PhaseSpec> = phases.iter().zip(recipes).map(|(p, r)| PhaseSpec::of(p, *r)).collect();
            for (_, graph) in specs.iter().flat_map(|s| &s.passes) {
                check_sizes(graph, batch, &machine)?;
            }
            super::ops::network(&specs, &model.graph, batch, machine)
        }
        _ => Err(CompileError::Fault(format!("{} recipes for the phases of {}", recipes.len(), model.name))),
    }
}

/// What no instruction can express.
fn check_sizes(graph: &Graph, batch: u32, machine: &Machine) -> Result<(), CompileError> {
    if let Some(rule) = machine.invalid() {
        return Err(CompileError::Machine(rule));
    }
    let size = |what: &str, size: u64, limit: u64| match size {
        s if (1..=limit).contains(&s) => Ok(()),
        size => Err(CompileError::Size { what: what.into(), size, limit }),
    };
    size("batch size", batch as u64, 32767)?;
    // A pitch must fit a 16-bit signed stride.
    for node in &graph.nodes {
        size(&format!("features of `{}`", node.name), node.features as u64, 32767 - 2 * machine.lanes as u64)?;
    }
    match graph.classes() {
        0 => Ok(()),
        classes => size("number of classes less one", classes as u64 - 1, super::PADDED_LABEL as u64 - 1),
    }
}

/// Compiles `graph` for batches of `batch` rows on `machine`: a chain of dense layers with the batch cut into chunks that
/// overlap, anything else layer by layer.
pub fn network(
    graph: &Graph,
    batch: u32,
    recipe: impl Into<Recipe>,
    machine: Machine,
) -> Result<Compiled, CompileError> {
    check_sizes(graph, batch, &machine)?;
    let recipe = recipe.into();
    if !super::chain::is_chain(graph) {
        return super::ops::network(&PhaseSpec::only(graph, recipe), graph, batch, machine);
    }
    let net = declare(graph, batch, recipe, machine)?;
    let mut error = None;
    let mut tried: Vec<Plan> = Vec::new();
    let mut found: Vec<(u64, Plan)> = Vec::new();
    for cut in CUTS {
        for parts in PARTS {
            for kept in KEPT {
                let all = Part { start: 0, rows: batch };
                let chunks = all.cut(cut, machine.lanes);
                let cut = |c: &Part| c.cut(&vec![1; parts as usize], machine.lanes);
                let parts: Vec<Part> = chunks.iter().flat_map(cut).collect();
                let kept = if chunks.len() > 1 { machine.acc_rows * kept / 8 } else { 0 };
                let plan = (chunks, parts, kept);
                if tried.contains(&plan) {
                    continue;
                }
                match net.emit(&plan, 0) {
                    Ok(c) => found.push((c.predicted[0].cycles, plan.clone())),
                    Err(e) => error = error.or(Some(e)),
                }
                tried.push(plan);
            }
        }
    }
    // The promising ones again, with more effort.
    found.sort_by_key(|f| f.0);
    found.truncate(FINALISTS);
    let finals = found.iter().filter_map(|(_, plan)| net.emit(plan, EFFORT).ok());
    match (finals.min_by_key(|c| c.predicted[0].cycles), error) {
        (Some(c), _) => Ok(c),
        (None, Some(e)) => Err(e),
        (None, None) => unreachable!("one cut is always tried"),
    }
}

fn declare(graph: &Graph, batch: u32, recipe: Recipe, machine: Machine) -> Result<Network<'_>, CompileError> {
    let layers = layers(graph)?;
    let n = machine.lanes;
    let mut d = Declarations::default();
    let pitch = |cols: u32| odd_pitch(cols, n);
    let features = graph.input_features() as u32;
    let slots = [0, 1].map(|s| {
        let x = d.half(format!("input {s}"), Class::Activations, (batch, features, pitch(features)));
        (x, d.half(format!("labels {s}"), Class::Activations, (1, batch, batch)))
    });
    let mut tensors: Vec<LayerTensors> = Vec::new();
    let mut mask_bits = 0u32;
    for (i, l) in layers.iter().enumerate() {
        let names = [&graph.parameter(l.weight).name, &graph.parameter(l.bias).name];
        let dense = [(l.outputs, l.inputs, l.inputs), (1, l.outputs, l.outputs)];
        let weight = d.half(format!("{} FP16", names[0]), Class::Weights, (l.outputs, l.inputs, pitch(l.inputs)));
        let bias = d.half(format!("{} FP16", names[1]), Class::Weights, dense[1]);
        let master = [0, 1].map(|p| d.single(format!("{} master", names[p]), Class::Weights, 0, dense[p]));
        let state = [0, 1].map(|p| {
            let of = |s: &&str| d.single(format!("{} {s}", names[p]), Class::Moments, 1, dense[p]);
            recipe.state_names().iter().map(of).collect::<Vec<_>>()
        });
        let sums = [0, 1].map(|p| (format!("{} gradient sum", names[p]), dense[p]));
        let sum = (recipe.accumulate > 1).then(|| sums.map(|(name, shape)| d.single(name, Class::Gradients, 0, shape)));
        let shape = (l.outputs, l.inputs + 1, pitch(l.inputs));
        let gradient = d.half(format!("{} and bias gradient", names[0]), Class::Gradients, shape);
        let shape = (batch, l.outputs, pitch(l.outputs));
        let value = d.half(format!("{} output", l.name), Class::Activations, shape);
        let value_gradient = d.half(format!("{} output gradient", l.name), Class::Gradients, shape);
        let mut mask = None;
        if l.relu {
            let need = batch as u64 * shape.2 as u64;
            let room = (machine.mask_bits - mask_bits) as u64;
            if need > room {
                return Err(CompileError::Mask { tensor: format!("{} output", l.name), need, room });
            }
            mask = Some(mask_bits);
            mask_bits += need.next_multiple_of(n as u64).min(room) as u32;
        }
        let tiles = |a: u32, b: u32| a.div_ceil(n) as u64 * b.div_ceil(n) as u64 * n as u64;
        let sources = if i == 0 { slots.map(|s| s.0).to_vec() } else { vec![tensors[i - 1].value] };
        for x in sources {
            d.conflict(x, weight, tiles(l.inputs, l.outputs.min(batch)));
            d.conflict(x, value_gradient, tiles(batch, l.inputs.min(l.outputs)));
        }
        if i > 0 {
            d.conflict(weight, value_gradient, tiles(l.outputs, l.inputs.min(batch)));
        }
        tensors.push(LayerTensors { half: [weight, bias], master, state, gradient, sum, value, value_gradient, mask });
    }
    // Loss and products overlap, and the matrix engine's streamed operand (the input, most of the time) leaves its plane no
    // cycle for a vector operand: logits and labels lie in the other one.
    let logits = tensors.last().map(|t| t.value);
    for (x, _) in slots {
        for read in logits.into_iter().chain(slots.map(|s| s.1)) {
            d.conflict(x, read, STARVED);
        }
    }
    let classes = graph.classes() as u32;
    let ramp = d.single("class numbers".into(), Class::Workspace, 1, (1, classes, classes));
    let mut scratch = Vec::new();
    for (name, plane, shape) in loss_scratch(classes, batch) {
        scratch.push(d.single(format!("loss {name}"), Class::Workspace, plane, shape));
    }
    let shapes: Vec<_> = layers.iter().flat_map(|l| [(l.outputs, l.inputs), (1, l.outputs)]).collect();
    let update = Scratch::new(&recipe, &shapes);
    let wanted = update.wanted().iter();
    let update_scratch = wanted
        .map(|(name, plane, rows, cols)| d.single(name.clone(), Class::Workspace, *plane, (*rows, *cols, *cols)))
        .collect();
    let planned = place(&d.requests, &d.conflicts, &machine)?;
    let place = |(t, &(rows, cols, pitch)): (&PlannedTensor, &(u32, u32, u32))| TensorPlace {
        space: t.space,
        addr: t.addr,
        rows,
        cols,
        pitch,
    };
    let places = planned.iter().zip(&d.shapes).map(place).collect();
    let cost = Cost::new(machine);
    Ok(Network {
        graph,
        batch,
        recipe,
        cost,
        layers,
        tensors,
        slots,
        scratch,
        update,
        update_scratch,
        ramp,
        mask_bits,
        places,
        planned,
    })
}

/// Temporaries of the loss, in the order in which [`loss_tensors`] takes them: name, plane of `smem`, shape and pitch.
pub(super) fn loss_scratch(classes: u32, batch: u32) -> Vec<(&'static str, u32, (u32, u32, u32))> {
    let (wide, folded, narrow) = ((classes, batch, batch), (classes.div_ceil(2), batch, batch), (1, batch, batch));
    vec![
        ("shifted", 0, wide),
        ("exp 0", 0, wide),
        ("exp 1", 0, wide),
        ("exp 2", 1, wide),
        ("exp 3", 1, wide),
        ("onehot", 1, wide),
        ("onehot·seed", 1, wide),
        ("maximum", 1, folded),
        ("sum", 0, folded),
        ("valid", 1, narrow),
        ("seed", 0, narrow),
        ("factor", 1, narrow),
        ("row loss", 1, narrow),
        ("right", 0, narrow),
        ("reciprocal 0", 0, narrow),
        ("reciprocal 1", 1, narrow),
        ("reciprocal 2", 1, narrow),
        ("log 0", 0, narrow),
        ("log 1", 0, narrow),
        ("log 2", 1, narrow),
        ("log 3", 1, narrow),
    ]
}

/// The loss's operands from its temporaries.
pub(super) fn loss_tensors(
    (classes, batch): (u32, u32),
    logits: Matrix,
    gradient: Matrix,
    labels: Matrix,
    ramp: Matrix,
    temporaries: &[Matrix],
) -> LossTensors {
    let scratch = |i: usize| temporaries[i];
    LossTensors {
        classes,
        batch,
        logits,
        gradient,
        labels,
        ramp: ramp.t(),
        shifted: scratch(0),
        wide: [[scratch(1), scratch(2)], [scratch(3), scratch(4)]],
        onehot: scratch(5),
        onehot_seed: scratch(6),
        maximum: scratch(7),
        sum: scratch(8),
        valid: scratch(9),
        seed: scratch(10),
        factor: scratch(11),
        row_loss: scratch(12),
        right: scratch(13),
        narrow: [[scratch(14), scratch(14)], [scratch(15), scratch(16)]],
        narrow_log: [[scratch(17), scratch(18)], [scratch(19), scratch(20)]],
    }
}

impl Network<'_> {
    fn matrix(&self, tensor: usize) -> Matrix {
        Matrix::of(&self.places[tensor])
    }

    /// The network's input, through its address register.
    fn input(&self) -> Matrix {
        let base = Base::indexed(Addr(0), INPUT_REGISTER);
        Matrix { base, ..self.matrix(self.slots[0].0) }
    }

    /// What layer `i` reads.
    fn source(&self, i: usize) -> Matrix {
        if self.graph.node(self.layers[i].source).op == Op::Input {
            self.input()
        } else {
            self.matrix(self.tensors[i - 1].value)
        }
    }

    fn loss_tensors(&self) -> LossTensors {
        let last = self.tensors.last().expect("a network has layers");
        let scratch: Vec<Matrix> = self.scratch.iter().map(|&t| self.matrix(t)).collect();
        let labels = Matrix { base: Base::indexed(Addr(0), LABEL_REGISTER), ..self.matrix(self.slots[0].1) };
        let (logits, gradient) = (self.matrix(last.value), self.matrix(last.value_gradient));
        let (classes, ramp) = (self.graph.classes() as u32, self.matrix(self.ramp));
        loss_tensors((classes, self.batch), logits, gradient, labels, ramp, &scratch)
    }

    fn forward(&self, b: &mut Builder, Part { start, rows }: Part, training: bool) {
        for (i, (l, t)) in self.layers.iter().zip(&self.tensors).enumerate() {
            let out = self.matrix(t.value).at(start, 0);
            let mask = |m: u32| Base::at(Addr(m + start * out.row));
            let e = Epilogue {
                bias: Some(self.matrix(t.half[1]).base),
                relu: l.relu,
                mask_write: t.mask.filter(|_| training).map(mask),
                flag: Some(flag::FORWARD),
                ..Epilogue::default()
            };
            let (x, w) = (self.source(i).at(start, 0), self.matrix(t.half[0]).t());
            b.product(&format!("{} forward", l.name), (rows, l.inputs, l.outputs), x, w, out, e);
        }
    }

    /// Accumulator rows in which weight gradients gather chunk by chunk: per layer the first row and the column tiles that
    /// find room there. A layer with few rows of result goes first; what is left over is reduced over the whole batch at once.
    fn gathered(&self, rows: u32) -> Vec<(u32, u32)> {
        let (n, top) = (self.cost.machine.lanes, self.cost.machine.acc_rows);
        let mut order: Vec<usize> = (0..self.layers.len()).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(i));
        let mut used = 0;
        let mut all = vec![(0, 0); self.layers.len()];
        for i in order {
            let l = &self.layers[i];
            let tiles = ((rows - used) / l.outputs).min((l.inputs + 1).div_ceil(n));
            used += tiles * l.outputs;
            all[i] = (top - used, tiles);
        }
        all
    }

    fn backward(&self, b: &mut Builder, chunks: &[Part]) {
        let gathered = self.gathered(b.kept_rows);
        let layer_of = |node: NodeId| self.layers.iter().position(|l| l.dense == node).expect("dense nodes are layers");
        for step in differentiate(self.graph) {
            match step.op {
                // The loss is emitted with its chunk of the forward pass; a ReLU's derivative is the mask of a product.
                GradientOp::Loss | GradientOp::Relu | GradientOp::Node(_) => {}
                GradientOp::DenseInput => {
                    let i = layer_of(step.node);
                    let (l, t, below) = (&self.layers[i], &self.tensors[i], &self.tensors[i - 1]);
                    for &Part { start, rows } in chunks {
                        let out = self.matrix(below.value_gradient).at(start, 0);
                        let mask_apply = below.mask.map(|m| Base::at(Addr(m + start * out.row)));
                        let e = Epilogue { mask_apply, flag: Some(flag::ACTIVATION_GRADIENT), ..Epilogue::default() };
                        let (dy, w) = (self.matrix(t.value_gradient).at(start, 0), self.matrix(t.half[0]));
                        b.product(&format!("{} dX", l.name), (rows, l.outputs, l.inputs), dy, w, out, e);
                    }
                }
                GradientOp::DenseParameters { .. } => {
                    let i = layer_of(step.node);
                    let (l, t) = (&self.layers[i], &self.tensors[i]);
                    let e = Epilogue { flag: Some(flag::WEIGHT_GRADIENT), ..Epilogue::default() };
                    let (dy, x) = (self.matrix(t.value_gradient).t(), self.source(i));
                    let out = self.matrix(t.gradient);
                    let label = format!("{} dW", l.name);
                    // One column more than the layer has inputs: x's column of ones gives the bias gradient.
                    let (cols, lanes) = (l.inputs + 1, self.cost.machine.lanes);
                    let (acc_base, tiles) = gathered[i];
                    let early = (tiles * lanes).min(cols);
                    if early > 0 {
                        for (c, &Part { start, rows }) in chunks.iter().enumerate() {
                            let piece = Piece { acc_base, resumes: c > 0, keeps: c + 1 < chunks.len() };
                            let operands = [dy.at(0, start), x.at(start, 0), out];
                            b.piece(&label, (l.outputs, rows, early), operands, e.flag, piece);
                        }
                    }
                    if early < cols {
                        let (x, out) = (x.at(0, early), out.at(0, early));
                        b.product(&label, (l.outputs, self.batch, cols - early), dy, x, out, e);
                    }
                }
            }
        }
    }

    /// All segments, with the batch cut into `chunks` for products and into `parts` (of chunks) for the loss.
    fn emit(&self, (chunks, parts, kept_rows): &Plan, effort: u32) -> Result<Compiled, CompileError> {
        let machine = self.cost.machine;
        let loss = self.loss_tensors();
        let pass = |training: bool| {
            let mut b = Builder::new(self.cost);
            b.effort = effort;
            b.kept_rows = if training { *kept_rows } else { 0 };
            loss::labels(&mut b, &loss, training);
            for &chunk in chunks {
                self.forward(&mut b, chunk, training);
                let inside = |p: &&Part| (chunk.start..chunk.start + chunk.rows).contains(&p.start);
                let parts: Vec<_> = parts.iter().filter(inside).map(|p| (p.start, p.rows)).collect();
                loss::chunk(&mut b, &loss, (chunk.start, chunk.rows), &parts, training);
            }
            if training {
                self.backward(&mut b, chunks);
            }
            loss::finish(&mut b, &loss);
            b.finish()
        };
        let mut parameters: Vec<Option<Parameter>> = vec![None; self.graph.parameters.len()];
        let mut tensors = Vec::new();
        for (l, t) in self.layers.iter().zip(&self.tensors) {
            for (which, id) in [(0, l.weight), (1, l.bias)] {
                let p = self.parameter(l, t, which, id);
                tensors.push(UpdateTensors {
                    name: p.name.clone(),
                    rows: p.master.rows,
                    cols: p.master.cols,
                    master: Matrix::of(&p.master),
                    half: Matrix::of(&p.half),
                    // The bias gradient is a column; the other tensors of a bias are rows.
                    gradient: if which == 0 { Matrix::of(&p.gradient) } else { Matrix::of(&p.gradient).t() },
                    sum: t.sum.map(|s| self.matrix(s[which])),
                    state: p.state.iter().map(|s| Matrix::of(&s.1)).collect(),
                });
                parameters[id.0] = Some(p);
            }
        }
        let mut updates = Builder::new(self.cost);
        let places: Vec<Matrix> = self.update_scratch.iter().map(|&s| self.matrix(s)).collect();
        update(&mut updates, &self.recipe, &tensors, &self.update, &places);
        let mut all = vec![("compute", pass(true)), ("update", updates.finish()), ("evaluate", pass(false))];
        if self.recipe.accumulate > 1 {
            let mut b = Builder::new(self.cost);
            accumulate(&mut b, &tensors);
            all.push(("accumulate", b.finish()));
        }
        let mut program = Vec::new();
        let (mut segments, mut predicted) = (Vec::new(), Vec::new());
        for (name, schedule) in &all {
            let (segment, prediction) = append(&mut program, name, schedule, &self.cost);
            segments.push(segment);
            predicted.push(prediction);
        }
        check(&program, &machine)?;
        let slots = self.slots.map(|(x, labels)| SlotBinding {
            registers: vec![(INPUT_REGISTER, self.places[x].addr.0), (LABEL_REGISTER, self.places[labels].addr.0)],
            input: self.places[x],
            labels: self.places[labels],
            masks: Vec::new(),
        });
        let on = |segment| Pass { segment, feed: Feed::Rows, slots: slots.clone(), dropouts: Vec::new() };
        let layer_macs = |l: &Layer| l.inputs as u64 * l.outputs as u64 * self.batch as u64;
        let macs: u64 = self.layers.iter().map(|l| 3 * layer_macs(l)).sum();
        Ok(Compiled {
            machine,
            batch: self.batch,
            labels_per_row: 1,
            segments,
            uploads: self.uploads(),
            parameters: parameters.into_iter().map(|p| p.expect("every parameter belongs to a layer")).collect(),
            buffers: Vec::new(),
            output: self.places[self.tensors[self.tensors.len() - 1].value],
            phases: vec![Phase {
                name: String::new(),
                passes: vec![on(0)],
                update: 1,
                accumulate: (self.recipe.accumulate > 1).then_some(3),
                recipe: self.recipe,
                parameters: (0..self.graph.parameters.len()).collect(),
            }],
            evaluate: on(2),
            plan: MemoryPlan {
                machine,
                tensors: self.planned.clone(),
                mask_bits: self.mask_bits,
                program_words: program.len() as u32,
            },
            macs_per_step: macs - layer_macs(&self.layers[0]),
            predicted,
            program,
        })
    }

    /// Places of a layer's weight (`which` 0) or bias (1).
    fn parameter(&self, l: &Layer, t: &LayerTensors, which: usize, id: ParameterId) -> Parameter {
        let p = self.graph.parameter(id);
        let g = self.places[t.gradient];
        let gradient = match which {
            0 => TensorPlace { cols: l.inputs, ..g },
            _ => TensorPlace { addr: g.addr.offset_by(l.inputs as i32), cols: 1, ..g },
        };
        let names = self.recipe.state_names().into_iter().map(String::from);
        Parameter {
            name: p.name.clone(),
            shape: p.shape.clone(),
            master: self.places[t.master[which]],
            half: self.places[t.half[which]],
            gradient,
            state: names.zip(t.state[which].iter().map(|&s| self.places[s])).collect(),
        }
    }

    /// Columns of ones and the class numbers.
    fn uploads(&self) -> Vec<Upload> {
        let ones = |tensor: usize| {
            let p = self.places[tensor];
            Upload {
                space: p.space,
                addr: p.addr.offset_by(p.cols as i32),
                row_len: 1,
                rows: p.rows,
                pitch: p.pitch,
                data: FP16_ONE.to_le_bytes().repeat(p.rows as usize),
                what: format!("ones of {}", self.planned[tensor].name),
            }
        };
        let hidden = self.tensors[..self.tensors.len() - 1].iter().map(|t| t.value);
        let mut all: Vec<Upload> = self.slots.iter().map(|s| s.0).chain(hidden).map(ones).collect();
        let p = self.places[self.ramp];
        all.push(Upload {
            space: p.space,
            addr: p.addr,
            row_len: p.cols,
            rows: 1,
            pitch: p.pitch,
            data: (0..p.cols).flat_map(|c| (c as f32).to_le_bytes()).collect(),
            what: "class numbers".into(),
        });
        all
    }
}
