//! Walks graphs and their derivatives and emits every node: first without addresses, to learn of all tensors, then with them.

use super::arena::{arrange, life};
use super::declare::{self, Constant, FeedTensors, ParameterTensors, matrix_shape};
use super::emitter::Emitter;
use super::phase::{PhaseSpec, joined};
use super::view::{Nd, Place};
use super::{batch_norm, conv, dense, dropout, elementwise, embedding, losses, norm, pool, recurrent, shape};
use crate::compile::build::{Builder, Matrix, append, check, odd_pitch};
use crate::compile::cost::Cost;
use crate::compile::optimizer::{Scratch, UpdateTensors, accumulate, update};
use crate::compile::plan::{Class, Lifetime, MemoryPlan, PlannedTensor};
use crate::compile::{Buffer, CompileError, Compiled, Dropout, Feed, Parameter, Pass, Phase, TensorPlace, Upload};
use crate::graph::{GradientOp, Graph, Node, NodeId, Op, ParameterId, differentiate};
use systole_isa::instr::VectorOp;
use systole_isa::machine::Machine;
use systole_isa::operand::Addr;
use systole_isa::regs::Space;

const FP16_ONE: u16 = 0x3c00;

/// Networks over shared parameters in emission, one pass after another.
pub(super) struct Net<'a> {
    /// The pass in emission.
    pub(super) graph: &'a Graph,
    /// Where its batches lie, in `feeds`.
    feed: usize,
    feeds: Vec<FeedTensors<'a>>,
    pub(super) values: Vec<Option<Nd>>,
    gradients: Vec<Option<Nd>>,
    /// What a node's forward pass keeps for its backward pass besides its value.
    pub(super) kept: Vec<Vec<Nd>>,
    pub(super) parameters: Vec<ParameterTensors>,
    /// The tensors of the graph's buffers.
    pub(super) buffers: Vec<usize>,
    /// The pass's valid rows, once somebody has asked for them.
    pub(super) valid: Option<batch_norm::Valid>,
    pub(super) training: bool,
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

impl<'a> Net<'a> {
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
        self.feeds[self.feed].mask(e, id)
    }

    /// A column of so many ones.
    pub(super) fn ones(&mut self, e: &mut Emitter, rows: u32) -> Nd {
        let batch = self.batch();
        let of = |s: &Vec<usize>| {
            let d = device_dims(s, batch);
            d[..d.len() - 1].iter().product::<u32>()
        };
        if self.ones.is_none() {
            let nodes = self.feeds.iter().flat_map(|f| &f.graph.nodes);
            let most = nodes.map(|n| of(&n.shape)).max().unwrap_or(1).max(rows);
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
                Op::Input | Op::Latent => {}
                Op::Target => self.values[i] = Some(self.target(e, id)),
                Op::Constant { value } => self.constant(e, id, value),
                Op::Dense { .. } => dense::forward(self, e, id),
                Op::Conv2d { .. } | Op::ConvTranspose2d { .. } => conv::forward(self, e, id),
                Op::MaxPool2d { .. } | Op::AvgPool2d { .. } => pool::forward(self, e, id),
                Op::Relu | Op::LeakyRelu { .. } | Op::Tanh | Op::Sigmoid | Op::Add => elementwise::forward(self, e, id),
                Op::Dropout { .. } => dropout::forward(self, e, id),
                Op::LayerNorm { .. } => norm::forward(self, e, id),
                Op::BatchNorm { .. } => batch_norm::forward(self, e, id),
                Op::Embedding { .. } => embedding::forward(self, e, id),
                Op::Reshape | Op::Select { .. } | Op::Slice { .. } | Op::Repeat | Op::Concat => {
                    shape::forward(self, e, id)
                }
                Op::Gru(_) | Op::Lstm(_) => recurrent::forward(self, e, id),
                Op::SoftmaxCrossEntropy | Op::Regression { .. } => losses::emit(self, e, id),
            }
        }
    }

    /// What lies behind the input's numbers in each row of the batch.
    fn target(&self, e: &Emitter, id: NodeId) -> Nd {
        let (features, row) = (self.graph.node(id).features as u32, self.graph.input_features() as u32);
        let strides = vec![odd_pitch(row, e.lanes()), 1];
        Nd { place: Place::Input, offset: row - features, dims: vec![e.batch, features], strides }
    }

    /// One value everywhere, which the host writes once.
    fn constant(&mut self, e: &mut Emitter, id: NodeId, value: f32) {
        let name = &self.graph.node(id).name;
        let tensor = e.resident(name, Class::Workspace, Space::Hmem, None, (1, 1, 1));
        self.constants.push(Constant { tensor, columns: (0, 1), values: vec![value] });
        let dims = self.dims(id);
        let strides = vec![0; dims.len()];
        self.values[id.0] = Some(Nd { place: Place::Tensor(tensor), offset: 0, dims, strides });
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
                    (Op::BatchNorm { .. }, dx) => batch_norm::backward(self, e, id, dx.as_ref()),
                    (Op::Embedding { .. }, _) => embedding::backward(self, e, id),
                    (Op::Gru(_) | Op::Lstm(_), dx) => recurrent::backward(self, e, id, dx.as_ref()),
                    (Op::MaxPool2d { .. } | Op::AvgPool2d { .. }, Some(dx)) => pool::backward(self, e, id, dx),
                    (Op::Reshape | Op::Select { .. } | Op::Slice { .. } | Op::Repeat | Op::Concat, Some(dx)) => {
                        shape::backward(self, e, id, which, dx)
                    }
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

impl<'a> Net<'a> {
    /// Declares parameters and batches.
    fn new(phases: &[PhaseSpec<'a>], e: &mut Emitter) -> Net<'a> {
        let (feeds, parameters) = (declare::feeds(phases, e), declare::parameters(phases, e));
        let buffers = declare::buffers(feeds[0].graph, e);
        Net {
            graph: feeds[0].graph,
            feed: 0,
            values: Vec::new(),
            gradients: Vec::new(),
            kept: Vec::new(),
            parameters,
            buffers,
            valid: None,
            training: true,
            constants: feeds.iter().flat_map(|f| f.ones(e.batch)).collect(),
            ones: None,
            feeds,
        }
    }

    /// Begins a pass over `graph`, on the batches of feed number `feed`: of all values only its input is known.
    fn enter(&mut self, e: &Emitter, feed: usize, graph: &'a Graph) {
        let n = graph.nodes.len();
        (self.feed, self.graph) = (feed, graph);
        self.valid = None;
        self.values = vec![None; n];
        self.gradients = vec![None; n];
        self.kept = vec![Vec::new(); n];
        let shape = &graph.nodes[0].shape;
        let (mut dims, mut strides) = (vec![e.batch], vec![odd_pitch(graph.input_features() as u32, e.lanes())]);
        for (i, &d) in shape.iter().enumerate() {
            dims.push(d as u32);
            strides.push(shape[i + 1..].iter().product::<usize>() as u32);
        }
        self.values[0] = Some(to_device(&Nd { place: Place::Input, offset: 0, dims, strides }));
    }

    fn update_tensors(&self, e: &mut Emitter, of: &[ParameterId]) -> Vec<UpdateTensors> {
        let mut all = Vec::new();
        for &id in of {
            let (p, of) = (&self.parameters[id.0], self.graph.parameter(id));
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

    /// The update of a phase's parameters.
    fn update(&self, e: &mut Emitter, phase: &PhaseSpec) {
        let trained = phase.trained();
        let tensors = self.update_tensors(e, &trained);
        let shapes: Vec<_> = trained.iter().map(|&id| matrix_shape(&self.graph.parameter(id).shape)).collect();
        let scratch = Scratch::new(&phase.recipe, &shapes);
        let wanted = scratch.wanted().to_vec();
        let mut own = Vec::new();
        for (name, plane, rows, cols) in wanted {
            own.push(e.tensor(&name, Class::Workspace, Space::Smem, Some(plane), (rows, cols, cols)));
        }
        own.iter().for_each(|&t| e.touch(t));
        let places: Vec<Matrix> = own.iter().map(|&t| Matrix::of(&e.place_of(t))).collect();
        update(&mut e.builder, &phase.recipe, &tensors, &scratch, &places);
        own.iter().for_each(|&t| e.touch(t));
    }

    fn parameter(&self, e: &Emitter, i: usize) -> Parameter {
        let (p, of) = (&self.parameters[i], &self.graph.parameters[i]);
        let Place::Tensor(t) = p.gradient.place else { unreachable!("gradients are tensors") };
        let g = e.place_of(t);
        let names = p.recipe.state_names().into_iter().map(String::from);
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

    fn buffer(&self, e: &Emitter, i: usize) -> Buffer {
        let of = &self.graph.buffers[i];
        let (name, shape, place) = (of.name.clone(), of.shape.clone(), e.place_of(self.buffers[i]));
        Buffer { name, shape, initial: of.initial, place }
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

/// Everything that an emission leaves behind.
struct Emitted<'a> {
    e: Emitter,
    /// As it was in the evaluation, which comes last of all passes.
    net: Net<'a>,
    /// Name and instructions of each segment.
    segments: Vec<(String, Builder)>,
    /// The passes of each phase.
    passes: Vec<Vec<Pass>>,
    evaluate: Pass,
    /// Multiply-accumulates of all passes that train.
    macs: u64,
}

/// Everything, at these addresses or at none. Segments: every pass, every update, the evaluation if it is one of its own, what
/// accumulates.
fn emit<'a>(
    phases: &[PhaseSpec<'a>],
    evaluated: &'a Graph,
    (batch, evaluates_itself): (u32, bool),
    cost: Cost,
    places: Option<Vec<Addr>>,
) -> Result<Emitted<'a>, CompileError> {
    let mut e = Emitter::new(cost, batch, places);
    let mut net = Net::new(phases, &mut e);
    let mut segments = Vec::new();
    let mut passes: Vec<Vec<Pass>> = Vec::new();
    let mut feeds = 0..;
    for phase in phases {
        let mut of_phase = Vec::new();
        for (&(name, graph), feed) in phase.passes.iter().zip(&mut feeds) {
            net.enter(&e, feed, graph);
            net.forward(&mut e);
            net.backward(&mut e);
            of_phase.push(net.pass(&e, segments.len()));
            segments.push((joined([phase.name, name, "compute"]), e.segment()));
        }
        passes.push(of_phase);
    }
    let macs = e.macs;
    for phase in phases {
        net.update(&mut e, phase);
        segments.push((joined([phase.name, "", "update"]), e.segment()));
    }
    let evaluate = if evaluates_itself {
        net.training = false;
        // it reads batches of its own kind: rows, or a generator's random numbers
        let feed = net.feeds.iter().position(|f| f.graph.reads_noise() == evaluated.reads_noise());
        net.enter(&e, feed.expect("what is evaluated has been trained"), evaluated);
        net.forward(&mut e);
        net.standard(&mut e, evaluated.output(), "output");
        let pass = Pass { dropouts: Vec::new(), ..net.pass(&e, segments.len()) };
        segments.push(("evaluate".into(), e.segment()));
        pass
    } else {
        // what it leaves behind must outlive the backward pass
        if let Place::Tensor(output) = net.value(evaluated.output()).place {
            e.tensors[output].resident = true;
        }
        passes[0][0].clone()
    };
    for phase in phases.iter().filter(|p| p.recipe.accumulate > 1) {
        let tensors = net.update_tensors(&mut e, &phase.trained());
        accumulate(&mut e.builder, &tensors);
        segments.push((joined([phase.name, "", "accumulate"]), e.segment()));
    }
    match e.error.take() {
        Some(error) => Err(error),
        None => Ok(Emitted { e, net, segments, passes, evaluate, macs }),
    }
}

/// Words of these segments, their ends included.
fn program_words(segments: &[(String, Builder)]) -> usize {
    let of = |b: &Builder| b.steps.len() * systole_isa::instr::ENGINE_WORDS + systole_isa::instr::CONTROL_WORDS;
    segments.iter().map(|s| of(&s.1)).sum()
}

/// Whether a pass that trains says what an evaluation would: there is one, and nothing in it behaves in another way.
fn trains_as_it_evaluates(phases: &[PhaseSpec], evaluated: &Graph) -> bool {
    let differs = |n: &Node| matches!(n.op, Op::Dropout { .. } | Op::BatchNorm { .. });
    phases.len() == 1 && phases[0].passes.len() == 1 && !evaluated.nodes.iter().any(differs)
}

impl Net<'_> {
    /// The pass in emission, which becomes segment number `segment`.
    fn pass(&self, e: &Emitter, segment: usize) -> Pass {
        let dropout = |id| match self.graph.node(id) {
            Node { op: Op::Dropout { p }, shape, .. } => Dropout { p: *p, shape: shape.clone() },
            other => unreachable!("{other:?} is no dropout"),
        };
        Pass {
            segment: segment as u32,
            feed: if self.graph.reads_noise() { Feed::Noise } else { Feed::Rows },
            slots: self.feeds[self.feed].bindings(e),
            dropouts: self.graph.dropouts().into_iter().map(dropout).collect(),
        }
    }
}

/// Compiles graphs over shared parameters, and `evaluated`, for batches of `batch` rows on `machine`.
pub(crate) fn network(
    phases: &[PhaseSpec],
    evaluated: &Graph,
    batch: u32,
    machine: Machine,
) -> Result<Compiled, CompileError> {
    let cost = Cost::new(machine);
    let mut how = (batch, true);
    let mut first = emit(phases, evaluated, how, cost, None)?;
    if program_words(&first.segments) > machine.pmem_words as usize && trains_as_it_evaluates(phases, evaluated) {
        how.1 = false;
        first = emit(phases, evaluated, how, cost, None)?;
    }
    let places = arrange(&first.e.tensors, &first.e.conflicts, &machine)?;
    let Emitted { e, net, segments: code, passes, evaluate, macs } = emit(phases, evaluated, how, cost, Some(places))?;
    let mut program = Vec::new();
    let (mut segments, mut predicted) = (Vec::new(), Vec::new());
    for (name, code) in code {
        let words = code.steps.len() * systole_isa::instr::ENGINE_WORDS;
        if program.len() + words > machine.pmem_words as usize {
            return Err(CompileError::Program { need: program.len() + words, room: machine.pmem_words });
        }
        let (segment, prediction) = append(&mut program, &name, &code.finish(), &cost);
        segments.push(segment);
        predicted.push(prediction);
    }
    check(&program, &machine)?;
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
    let Place::Tensor(output) = net.value(evaluated.output()).place else {
        return Err(CompileError::Unsupported { node: "loss".into(), why: "the loss must not read the input itself" });
    };
    let updates = passes.iter().map(Vec::len).sum::<usize>() as u32;
    let mut accumulates = updates + phases.len() as u32 + how.1 as u32..;
    let mut phase = |(i, (spec, passes)): (usize, (&PhaseSpec, Vec<Pass>))| Phase {
        name: spec.name.into(),
        passes,
        update: updates + i as u32,
        accumulate: if spec.recipe.accumulate > 1 { accumulates.next() } else { None },
        recipe: spec.recipe,
        parameters: spec.trained().into_iter().map(|id| id.0).collect(),
    };
    Ok(Compiled {
        machine,
        batch,
        labels_per_row: evaluated.labels_per_row() as u32,
        segments,
        uploads: net.uploads(&e),
        parameters: (0..evaluated.parameters.len()).map(|i| net.parameter(&e, i)).collect(),
        buffers: (0..evaluated.buffers.len()).map(|i| net.buffer(&e, i)).collect(),
        output: e.place_of(output),
        phases: phases.iter().zip(passes).enumerate().map(&mut phase).collect(),
        evaluate,
        plan: MemoryPlan { machine, tensors: tensors.collect(), mask_bits: 0, program_words: program.len() as u32 },
        macs_per_step: macs,
        predicted,
        program,
    })
}
