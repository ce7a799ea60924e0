//! Walks a graph and its derivative and emits every node: first without addresses, to learn of all tensors, then with them.

use super::arena::{arrange, life};
use super::emitter::{Emitter, INPUT_REGISTER, LABEL_REGISTER, MASK_REGISTER};
use super::view::{Nd, Place};
use super::{conv, dense, dropout, elementwise, losses, norm, pool, recurrent, shape};
use crate::compile::build::{Matrix, append, check, odd_pitch};
use crate::compile::cost::Cost;
use crate::compile::optimizer::{Scratch, UpdateTensors, accumulate, update};
use crate::compile::plan::{Class, Lifetime, MemoryPlan, PlannedTensor};
use crate::compile::{
    CompileError, Compiled, Dropout, Parameter, Recipe, SlotBinding, StepBinding, TensorPlace, Upload,
};
use crate::graph::{GradientOp, Graph, Node, NodeId, Op, ParameterId, differentiate};
use systole_isa::instr::VectorOp;
use systole_isa::machine::Machine;
use systole_isa::operand::Addr;
use systole_isa::regs::Space;

const FP16_ONE: u16 = 0x3c00;

/// A parameter's tensors.
pub(super) struct ParameterTensors {
    half: usize,
    master: usize,
    state: Vec<usize>,
    /// FP32 sum of gradients over micro-batches.
    sum: Option<usize>,
    /// `[outputs, inputs]` for a weight, `[n, 1]` for a vector.
    pub(super) gradient: Nd,
}

/// Constants that the host writes once.
struct Constant {
    tensor: usize,
    /// First column and columns.
    columns: (u32, u32),
    values: Vec<f32>,
}

/// A network in emission.
pub(super) struct Net<'a> {
    pub(super) graph: &'a Graph,
    pub(super) values: Vec<Option<Nd>>,
    gradients: Vec<Option<Nd>>,
    /// What a node's forward pass keeps for its backward pass besides its value.
    pub(super) kept: Vec<Vec<Nd>>,
    pub(super) parameters: Vec<ParameterTensors>,
    pub(super) training: bool,
    slots: [(usize, usize); 2],
    /// Per slot the tensor of all masks, and per dropout where in it its mask begins; nothing where nothing is dropped.
    masks: Option<([usize; 2], Vec<(NodeId, u32)>)>,
    constants: Vec<Constant>,
    ones: Option<Nd>,
}

/// The axes on the device of a value of this shape: spatial axes or steps, then the batch, then the channels.
pub(super) fn device_dims(shape: &[usize], batch: u32) -> Vec<u32> {
    match *shape {
        [c, h, w] => vec![h as u32, w as u32, batch, c as u32],
        [t, f] => vec![t as u32, batch, f as u32],
        _ => vec![batch, shape.iter().product::<usize>() as u32],
    }
}

/// A view with the device's axes as one with PyTorch's: `[batch, shape…]`.
pub(super) fn to_torch(x: &Nd, shape: &[usize]) -> Nd {
    match shape.len() {
        3 => x.permute(&[2, 3, 0, 1]),
        2 => x.permute(&[1, 0, 2]),
        _ => x.clone(),
    }
}

/// And back.
pub(super) fn to_device(x: &Nd) -> Nd {
    match x.dims.len() {
        4 => x.permute(&[2, 3, 0, 1]),
        3 => x.permute(&[1, 0, 2]),
        _ => x.clone(),
    }
}

/// Rows and columns of a parameter as a matrix.
fn matrix_shape(shape: &[usize]) -> (u32, u32) {
    match shape {
        [n] => (1, *n as u32),
        [o, rest @ ..] => (*o as u32, rest.iter().product::<usize>() as u32),
        [] => (1, 1),
    }
}

impl Net<'_> {
    /// The device's axes of a node's value.
    pub(super) fn dims(&self, id: NodeId) -> Vec<u32> {
        let batch = self.batch();
        device_dims(&self.graph.node(id).shape, batch)
    }

    fn batch(&self) -> u32 {
        self.values[0].as_ref().map_or(1, |v| v.dims[v.dims.len() - 2])
    }

    /// The value of a node.
    pub(super) fn value(&self, id: NodeId) -> Nd {
        self.values[id.0].clone().expect("inputs come before users")
    }

    /// The gradient by a node's output.
    pub(super) fn gradient(&self, id: NodeId) -> Nd {
        self.gradients[id.0].clone().expect("users come before inputs, backwards")
    }

    /// Sets the value of a node, and of the ReLU that was done with it.
    pub(super) fn set(&mut self, id: NodeId, relu: Option<NodeId>, y: Nd) {
        self.values[id.0] = Some(y.clone());
        if let Some(r) = relu {
            self.values[r.0] = Some(y);
        }
    }

    /// The ReLU that is the only user of a node, so that a product's epilogue can do it.
    pub(super) fn fused_relu(&self, id: NodeId) -> Option<NodeId> {
        match self.graph.users(id)[..] {
            [user] if self.graph.node(user).op == Op::Relu => Some(user),
            _ => None,
        }
    }

    /// The value as a tensor of its own in the standard layout, copied there where it is a view of something else.
    pub(super) fn standard(&mut self, e: &mut Emitter, id: NodeId, user: &str) -> Nd {
        let x = self.value(id);
        let n = x.dims.len();
        let own = match x.place {
            Place::Tensor(t) => {
                let d = &e.tensors[t];
                let rows: u32 = x.dims[..n - 1].iter().product();
                x.offset == 0
                    && x.strides[n - 1] == 1
                    && d.rows == rows
                    && d.cols == x.dims[n - 1]
                    && x.matrix().is_some()
            }
            _ => false,
        };
        if own { x } else { self.copied(e, id, &x, user) }
    }

    /// The value as rows of one pitch.
    pub(super) fn matrix(&mut self, e: &mut Emitter, id: NodeId, user: &str) -> Nd {
        let x = self.value(id);
        let lanes = e.lanes();
        let fits = x.matrix().is_some_and(|(rows, pitch, _, col)| col == 1 && (rows == 1 || pitch % lanes == 1));
        if fits { x } else { self.copied(e, id, &x, user) }
    }

    fn copied(&mut self, e: &mut Emitter, id: NodeId, x: &Nd, user: &str) -> Nd {
        let y = e.half(&format!("{user} input"), Class::Activations, &x.dims);
        e.copy(&format!("{user} input"), x, &y);
        // Later users find the copy.
        self.values[id.0] = Some(y.clone());
        y
    }

    /// A parameter's FP16 copy, as a matrix.
    pub(super) fn half(&self, e: &Emitter, p: ParameterId) -> Nd {
        e.whole(self.parameters[p.0].half)
    }

    /// The mask of a dropout for the current slot's batch: zeros and ones, with the axes of the node's value.
    pub(super) fn mask(&self, e: &Emitter, id: NodeId) -> Nd {
        let (_, offsets) = self.masks.as_ref().expect("there are masks where there are dropouts");
        let &(_, offset) = offsets.iter().find(|o| o.0 == id).expect("every dropout has one");
        let (dims, mut stride) = (self.dims(id), 1);
        let mut strides = vec![0; dims.len()];
        for a in (0..dims.len()).rev() {
            strides[a] = stride;
            stride *= if a + 1 == dims.len() { odd_pitch(dims[a], e.lanes()) } else { dims[a] };
        }
        Nd { place: Place::Masks, offset, dims, strides }
    }

    /// Where the host puts the masks of a slot, dropout by dropout: FP16.
    fn mask_places(&self, e: &Emitter, slot: usize) -> Vec<TensorPlace> {
        let Some((tensors, offsets)) = &self.masks else { return Vec::new() };
        let start = e.place_of(tensors[slot]);
        let place = |&(id, offset): &(NodeId, u32)| {
            let (rows, pitch, cols, _) = self.mask(e, id).matrix().expect("masks have one pitch");
            TensorPlace { addr: start.addr.offset_by(offset as i32), rows, cols, pitch, ..start }
        };
        offsets.iter().map(place).collect()
    }

    /// A column of so many ones.
    pub(super) fn ones(&mut self, e: &mut Emitter, rows: u32) -> Nd {
        let batch = self.batch();
        let of = |s: &Vec<usize>| {
            let d = device_dims(s, batch);
            d[..d.len() - 1].iter().product::<u32>()
        };
        if self.ones.is_none() {
            let most = self.graph.nodes.iter().map(|n| of(&n.shape)).max().unwrap_or(1).max(rows);
            let tensor = e.resident("ones", Class::Workspace, Space::Hmem, None, (1, most, most));
            self.constants.push(Constant { tensor, columns: (0, most), values: vec![1.0; most as usize] });
            self.ones = Some(Nd { place: Place::Tensor(tensor), offset: 0, dims: vec![most, 1], strides: vec![1, 1] });
        }
        let mut v = self.ones.clone().expect("made above");
        v.dims[0] = rows;
        v
    }

    /// The numbers 0, 1, 2, … of the classes, FP32, `[1, n]`.
    pub(super) fn ramp(&mut self, e: &mut Emitter, n: u32) -> usize {
        let tensor = e.resident("class numbers", Class::Workspace, Space::Smem, Some(1), (1, n, n));
        self.constants.push(Constant { tensor, columns: (0, n), values: (0..n).map(|c| c as f32).collect() });
        tensor
    }

    /// All nodes forward.
    fn forward(&mut self, e: &mut Emitter) {
        for i in 0..self.graph.nodes.len() {
            let id = NodeId(i);
            if self.values[i].is_some() {
                continue;
            }
            match self.graph.node(id).op {
                Op::Input => {}
                Op::Dense { .. } => dense::forward(self, e, id),
                Op::Conv2d { .. } | Op::ConvTranspose2d { .. } => conv::forward(self, e, id),
                Op::MaxPool2d { .. } | Op::AvgPool2d { .. } => pool::forward(self, e, id),
                Op::Relu | Op::LeakyRelu { .. } | Op::Tanh | Op::Sigmoid | Op::Add => elementwise::forward(self, e, id),
                Op::Dropout { .. } => dropout::forward(self, e, id),
                Op::LayerNorm { .. } => norm::forward(self, e, id),
                Op::Reshape | Op::Select { .. } | Op::Concat => shape::forward(self, e, id),
                Op::Gru(_) | Op::Lstm(_) => recurrent::forward(self, e, id),
                Op::SoftmaxCrossEntropy | Op::Regression(_) => losses::emit(self, e, id),
            }
        }
    }

    /// All gradients. The loss has made that of its input.
    fn backward(&mut self, e: &mut Emitter) {
        for step in differentiate(self.graph) {
            let id = step.node;
            let dx = step.produces.filter(|_| step.op != GradientOp::Loss).map(|x| {
                let name =
                    format!("{} gradient{}", self.graph.node(x).name, if step.accumulate { " part" } else { "" });
                e.half(&name, Class::Gradients, &self.dims(x))
            });
            match (step.op, &dx) {
                (GradientOp::Loss, _) => continue,
                (GradientOp::DenseInput, Some(dx)) => dense::input(self, e, id, dx),
                (GradientOp::DenseParameters { .. }, _) => dense::weights(self, e, id),
                (GradientOp::Relu, Some(dx)) => elementwise::backward(self, e, id, dx),
                (GradientOp::Node(which), dx) => match (self.graph.node(id).op, dx) {
                    (Op::Conv2d { .. } | Op::ConvTranspose2d { .. }, dx) => conv::backward(self, e, id, dx.as_ref()),
                    (Op::LayerNorm { .. }, dx) => norm::backward(self, e, id, dx.as_ref()),
                    (Op::Gru(_) | Op::Lstm(_), dx) => recurrent::backward(self, e, id, dx.as_ref()),
                    (Op::MaxPool2d { .. } | Op::AvgPool2d { .. }, Some(dx)) => pool::backward(self, e, id, dx),
                    (Op::Reshape | Op::Select { .. } | Op::Concat, Some(dx)) => shape::backward(self, e, id, which, dx),
                    (Op::Dropout { .. }, Some(dx)) => dropout::backward(self, e, id, dx),
                    (_, Some(dx)) => elementwise::backward(self, e, id, dx),
                    (op, None) => unreachable!("{op:?} has neither parameters nor a wanted input"),
                },
                (op, None) => unreachable!("{op:?} produces a gradient"),
            }
            if let (Some(x), Some(dx)) = (step.produces, dx) {
                match (step.accumulate, &self.gradients[x.0]) {
                    (true, Some(sum)) => {
                        let (sum, part) = (e.padded(sum), e.padded(&dx));
                        let args = [super::view::Arg::X(sum.clone()), super::view::ONE, super::view::Arg::X(part)];
                        e.op(&format!("{} gradient sum", self.graph.node(x).name), VectorOp::Mad, args, &sum);
                    }
                    _ => self.gradients[x.0] = Some(dx),
                }
            }
        }
    }

    /// Makes the gradient of a loss's input.
    pub(super) fn set_gradient(&mut self, id: NodeId, dx: Nd) {
        self.gradients[id.0] = Some(dx);
    }
}

/// Tensors of parameters and slots.
fn declare<'a>(graph: &'a Graph, e: &mut Emitter, recipe: Recipe) -> Net<'a> {
    let (batch, lanes) = (e.batch, e.lanes());
    let features = graph.input_features() as u32;
    let slots = [0, 1].map(|s| {
        let shape = (batch, features, odd_pitch(features, lanes));
        let x = e.resident(&format!("input {s}"), Class::Activations, Space::Hmem, None, shape);
        (x, e.resident(&format!("labels {s}"), Class::Activations, Space::Hmem, None, (1, batch, batch)))
    });
    let mut words = 0;
    let mut offsets = Vec::new();
    for id in graph.dropouts() {
        let dims = device_dims(&graph.node(id).shape, batch);
        let (&cols, leading) = dims.split_last().expect("values have axes");
        offsets.push((id, words));
        words += (leading.iter().product::<u32>() * odd_pitch(cols, lanes)).next_multiple_of(lanes);
    }
    let masks = (words > 0).then(|| {
        let shape = (1, words, words);
        let of = |s| e.resident(&format!("dropout masks {s}"), Class::Activations, Space::Hmem, None, shape);
        ([0, 1].map(of), offsets)
    });
    // Biases whose gradient is one more column of their weight's.
    let mut weight_of = vec![None; graph.parameters.len()];
    for n in &graph.nodes {
        match n.op {
            Op::Dense { weight, bias } | Op::Conv2d { weight, bias, .. } => weight_of[bias.0] = Some(weight.0),
            Op::Gru(c) | Op::Lstm(c) => {
                weight_of[c.bias_ih.0] = Some(c.weight_ih.0);
                weight_of[c.bias_hh.0] = Some(c.weight_hh.0);
            }
            _ => {}
        }
    }
    let mut parameters: Vec<ParameterTensors> = Vec::new();
    let mut whole: Vec<Option<Nd>> = vec![None; graph.parameters.len()];
    for (i, p) in graph.parameters.iter().enumerate() {
        let (rows, cols) = matrix_shape(&p.shape);
        let vector = p.shape.len() == 1;
        let pitch = if vector { cols } else { odd_pitch(cols, lanes) };
        let half = e.resident(&format!("{} FP16", p.name), Class::Weights, Space::Hmem, None, (rows, cols, pitch));
        let dense = (rows, cols, cols);
        let master = e.resident(&format!("{} master", p.name), Class::Weights, Space::Smem, Some(0), dense);
        let moment = |s: &&str| e.resident(&format!("{} {s}", p.name), Class::Moments, Space::Smem, Some(1), dense);
        let state = recipe.state_names().iter().map(moment).collect();
        let gradient = match weight_of[i].and_then(|w: usize| whole[w].clone()) {
            Some(w) => w.range(1, w.dims[1] - 1, 1),
            None => {
                let spare = weight_of.contains(&Some(i)) as u32;
                let shape = (rows, cols + spare, if vector { cols } else { odd_pitch(cols, lanes) });
                let t = e.resident(&format!("{} gradient", p.name), Class::Gradients, Space::Hmem, None, shape);
                let all = e.whole(t);
                whole[i] = Some(all.clone());
                match vector {
                    true => Nd { dims: vec![cols, 1], strides: vec![1, 1], ..all },
                    false => all.range(1, 0, cols),
                }
            }
        };
        let name = format!("{} gradient sum", p.name);
        let sum = (recipe.accumulate > 1).then(|| e.resident(&name, Class::Gradients, Space::Smem, Some(0), dense));
        parameters.push(ParameterTensors { half, master, state, sum, gradient });
    }
    let pitch = odd_pitch(features, lanes);
    let constants = slots
        .map(|(tensor, _)| Constant { tensor, columns: (features, 1), values: vec![1.0; batch as usize] })
        .into_iter()
        .collect();
    let mut net = Net {
        graph,
        values: Vec::new(),
        gradients: Vec::new(),
        kept: Vec::new(),
        parameters,
        training: true,
        slots,
        masks,
        constants,
        ones: None,
    };
    net.restart(pitch, batch);
    net
}

impl Net<'_> {
    /// Forgets all values but the input.
    fn restart(&mut self, pitch: u32, batch: u32) {
        let n = self.graph.nodes.len();
        self.values = vec![None; n];
        self.gradients = vec![None; n];
        self.kept = vec![Vec::new(); n];
        let shape = &self.graph.nodes[0].shape;
        let (mut dims, mut strides) = (vec![batch], vec![pitch]);
        for (i, &d) in shape.iter().enumerate() {
            dims.push(d as u32);
            strides.push(shape[i + 1..].iter().product::<usize>() as u32);
        }
        self.values[0] = Some(to_device(&Nd { place: Place::Input, offset: 0, dims, strides }));
    }

    fn update_tensors(&self, e: &mut Emitter) -> Vec<UpdateTensors> {
        let mut all = Vec::new();
        for (p, of) in self.parameters.iter().zip(&self.graph.parameters) {
            let gradient = e.matrix(&p.gradient);
            let place = |t: usize| Matrix::of(&e.place_of(t));
            let master = e.place_of(p.master);
            all.push(UpdateTensors {
                name: of.name.clone(),
                rows: master.rows,
                cols: master.cols,
                master: place(p.master),
                half: place(p.half),
                gradient: if of.shape.len() == 1 { gradient.t() } else { gradient },
                sum: p.sum.map(place),
                state: p.state.iter().map(|&s| place(s)).collect(),
            });
        }
        all
    }

    /// The update of all parameters.
    fn update(&self, e: &mut Emitter, recipe: &Recipe) {
        let tensors = self.update_tensors(e);
        let shapes: Vec<_> = self.graph.parameters.iter().map(|p| matrix_shape(&p.shape)).collect();
        let scratch = Scratch::new(recipe, &shapes);
        let wanted = scratch.wanted().to_vec();
        let mut own = Vec::new();
        for (name, plane, rows, cols) in wanted {
            own.push(e.tensor(&name, Class::Workspace, Space::Smem, Some(plane), (rows, cols, cols)));
        }
        own.iter().for_each(|&t| e.touch(t));
        let places: Vec<Matrix> = own.iter().map(|&t| Matrix::of(&e.place_of(t))).collect();
        update(&mut e.builder, recipe, &tensors, &scratch, &places);
        own.iter().for_each(|&t| e.touch(t));
    }

    fn parameter(&self, e: &Emitter, i: usize, recipe: Recipe) -> Parameter {
        let (p, of) = (&self.parameters[i], &self.graph.parameters[i]);
        let Place::Tensor(t) = p.gradient.place else { unreachable!("gradients are tensors") };
        let g = e.place_of(t);
        let names = recipe.state_names().into_iter().map(String::from);
        Parameter {
            name: of.name.clone(),
            shape: of.shape.clone(),
            master: e.place_of(p.master),
            half: e.place_of(p.half),
            gradient: TensorPlace {
                addr: g.addr.offset_by(p.gradient.offset as i32),
                rows: p.gradient.dims[0],
                cols: p.gradient.dims[1],
                pitch: p.gradient.strides[0],
                ..g
            },
            state: names.zip(p.state.iter().map(|&s| e.place_of(s))).collect(),
        }
    }

    fn uploads(&self, e: &Emitter) -> Vec<Upload> {
        let upload = |c: &Constant| {
            let p = e.place_of(c.tensor);
            let half =
                |v: &f32| if *v == 1.0 { FP16_ONE.to_le_bytes() } else { crate::npy::round_f16(*v).to_le_bytes() };
            Upload {
                space: p.space,
                addr: p.addr.offset_by(c.columns.0 as i32),
                row_len: c.columns.1,
                rows: p.rows,
                pitch: p.pitch,
                data: match p.space {
                    Space::Hmem => c.values.iter().flat_map(half).collect(),
                    _ => c.values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                },
                what: format!("constants of {}", e.tensors[c.tensor].name),
            }
        };
        self.constants.iter().map(upload).collect()
    }
}

/// Everything, at these addresses or at none.
fn emit<'a>(
    graph: &'a Graph,
    batch: u32,
    recipe: Recipe,
    cost: Cost,
    places: Option<Vec<Addr>>,
) -> Result<(Emitter, Net<'a>, Vec<crate::compile::build::Builder>, u64), CompileError> {
    let mut e = Emitter::new(cost, batch, places);
    let mut net = declare(graph, &mut e, recipe);
    let pitch = odd_pitch(graph.input_features() as u32, e.lanes());
    net.forward(&mut e);
    net.backward(&mut e);
    let compute = e.segment();
    let macs = e.macs;
    net.update(&mut e, &recipe);
    let updates = e.segment();
    net.training = false;
    net.restart(pitch, batch);
    net.forward(&mut e);
    let evaluate = e.segment();
    let mut code = vec![compute, updates, evaluate];
    if recipe.accumulate > 1 {
        let tensors = net.update_tensors(&mut e);
        accumulate(&mut e.builder, &tensors);
        code.push(e.segment());
    }
    match e.error.take() {
        Some(error) => Err(error),
        None => Ok((e, net, code, macs)),
    }
}

/// Compiles any graph for batches of `batch` rows on `machine`.
pub(crate) fn network(graph: &Graph, batch: u32, recipe: Recipe, machine: Machine) -> Result<Compiled, CompileError> {
    let cost = Cost::new(machine);
    let places = {
        let (e, ..) = emit(graph, batch, recipe, cost, None)?;
        arrange(&e.tensors, &e.conflicts, &machine)?
    };
    let (e, net, segments_code, macs) = emit(graph, batch, recipe, cost, Some(places))?;
    let mut program = Vec::new();
    let (mut segments, mut predicted) = (Vec::new(), Vec::new());
    for (name, code) in ["compute", "update", "evaluate", "accumulate"].into_iter().zip(segments_code) {
        let words = code.steps.len() * systole_isa::instr::ENGINE_WORDS;
        if program.len() + words > machine.pmem_words as usize {
            return Err(CompileError::Program { need: program.len() + words, room: machine.pmem_words });
        }
        let (segment, prediction) = append(&mut program, name, &code.finish(), &cost);
        segments.push(segment);
        predicted.push(prediction);
    }
    check(&program, &machine)?;
    let slots = [0, 1].map(|slot| {
        let (x, labels) = net.slots[slot];
        let mut registers = vec![(INPUT_REGISTER, e.address(x).0), (LABEL_REGISTER, e.address(labels).0)];
        registers.extend(net.masks.as_ref().map(|(m, _)| (MASK_REGISTER, e.address(m[slot]).0)));
        let masks = net.mask_places(&e, slot);
        SlotBinding { registers, input: e.place_of(x), labels: e.place_of(labels), masks }
    });
    let dropout = |id| match graph.node(id) {
        Node { op: Op::Dropout { p }, shape, .. } => Dropout { p: *p, shape: shape.clone() },
        other => unreachable!("{other:?} is no dropout"),
    };
    let tensors = e.tensors.iter().enumerate().map(|(i, t)| PlannedTensor {
        name: t.name.clone(),
        class: t.class,
        space: t.space,
        addr: e.address(i),
        words: t.words().next_multiple_of(machine.lanes as u64) as u32,
        lifetime: match life(t) {
            _ if t.resident => Lifetime::Resident,
            (first, last) => Lifetime::Span(first as u32, last as u32),
        },
    });
    let logits = net.value(graph.logits());
    let Place::Tensor(logits) = logits.place else {
        return Err(CompileError::Unsupported { node: "loss".into(), why: "the loss must not read the input itself" });
    };
    Ok(Compiled {
        machine,
        batch,
        recipe,
        segments,
        uploads: net.uploads(&e),
        input: slots[0].input,
        labels: slots[0].labels,
        slots,
        dropouts: graph.dropouts().into_iter().map(dropout).collect(),
        parameters: (0..graph.parameters.len()).map(|i| net.parameter(&e, i, recipe)).collect(),
        logits: e.place_of(logits),
        step: StepBinding { compute: 0, update: 1, accumulate: (recipe.accumulate > 1).then_some(3) },
        evaluate: 2,
        plan: MemoryPlan { machine, tensors: tensors.collect(), mask_bits: 0, program_words: program.len() as u32 },
        macs_per_step: macs,
        predicted,
        program,
    })
}
