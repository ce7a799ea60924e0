//! Tensors that outlive a pass: parameters, which all passes share, and the places for each pass's batches.

use super::emitter::{Emitter, INPUT_REGISTER, LABEL_REGISTER, MASK_REGISTER};
use super::network::device_dims;
use super::phase::{PhaseSpec, joined};
use super::view::{Nd, Place};
use crate::compile::build::odd_pitch;
use crate::compile::plan::Class;
use crate::compile::{Recipe, SlotBinding, TensorPlace};
use crate::graph::{Graph, NodeId, Op, ParameterId};
use systole_isa::regs::Space;

/// A parameter's tensors.
pub(super) struct ParameterTensors {
    pub(super) half: usize,
    pub(super) master: usize,
    pub(super) state: Vec<usize>,
    /// FP32 sum of gradients over the passes that make one update.
    pub(super) sum: Option<usize>,
    /// `[outputs, inputs]` for a weight, `[n, 1]` for a vector.
    pub(super) gradient: Nd,
    /// Of the phase that updates it.
    pub(super) recipe: Recipe,
}

/// Constants that the host writes once.
pub(super) struct Constant {
    pub(super) tensor: usize,
    /// First column and columns.
    pub(super) columns: (u32, u32),
    pub(super) values: Vec<f32>,
}

/// Where the batches of a pass lie.
pub(super) struct FeedTensors<'a> {
    pub(super) graph: &'a Graph,
    /// Input and labels of each slot.
    pub(super) slots: [(usize, usize); 2],
    /// Per slot the tensor of all masks, and per dropout where in it its mask begins; nothing where nothing is dropped.
    pub(super) masks: Option<([usize; 2], Vec<(NodeId, u32)>)>,
}

/// Rows and columns of a parameter as a matrix.
pub(super) fn matrix_shape(shape: &[usize]) -> (u32, u32) {
    match shape {
        [n] => (1, *n as u32),
        [o, rest @ ..] => (*o as u32, rest.iter().product::<usize>() as u32),
        [] => (1, 1),
    }
}

impl FeedTensors<'_> {
    /// The column of ones behind the inputs of both slots, with which a product makes a bias's gradient too.
    pub(super) fn ones(&self, batch: u32) -> [Constant; 2] {
        let columns = (self.graph.input_features() as u32, 1);
        self.slots.map(|(tensor, _)| Constant { tensor, columns, values: vec![1.0; batch as usize] })
    }

    /// The mask of a dropout for the current slot's batch: zeros and ones, with the axes of the node's value.
    pub(super) fn mask(&self, e: &Emitter, id: NodeId) -> Nd {
        let (_, offsets) = self.masks.as_ref().expect("there are masks where there are dropouts");
        let &(_, offset) = offsets.iter().find(|o| o.0 == id).expect("every dropout has one");
        let (dims, mut stride) = (device_dims(&self.graph.node(id).shape, e.batch), 1);
        let mut strides = vec![0; dims.len()];
        for a in (0..dims.len()).rev() {
            strides[a] = stride;
            stride *= if a + 1 == dims.len() { odd_pitch(dims[a], e.lanes()) } else { dims[a] };
        }
        Nd { place: Place::Masks, offset, dims, strides }
    }

    /// Where the host puts batches and masks, and what selects them.
    pub(super) fn bindings(&self, e: &Emitter) -> [SlotBinding; 2] {
        [0, 1].map(|slot| {
            let (x, labels) = self.slots[slot];
            let mut registers = vec![(INPUT_REGISTER, e.address(x).0), (LABEL_REGISTER, e.address(labels).0)];
            let mut masks = Vec::new();
            if let Some((tensors, offsets)) = &self.masks {
                let start = e.place_of(tensors[slot]);
                registers.push((MASK_REGISTER, start.addr.0));
                masks.extend(offsets.iter().map(|&(id, offset)| {
                    let (rows, pitch, cols, _) = self.mask(e, id).matrix().expect("masks have one pitch");
                    TensorPlace { addr: start.addr.offset_by(offset as i32), rows, cols, pitch, ..start }
                }));
            }
            SlotBinding { registers, input: e.place_of(x), labels: e.place_of(labels), masks }
        })
    }
}

/// Tensors for the batches of every pass, in the order of the passes.
pub(super) fn feeds<'a>(phases: &[PhaseSpec<'a>], e: &mut Emitter) -> Vec<FeedTensors<'a>> {
    let mut all = Vec::new();
    for phase in phases {
        for &(pass, graph) in &phase.passes {
            all.push(feed(graph, e, |what| joined([phase.name, pass, &what])));
        }
    }
    all
}

/// Tensors for the batches of a pass, whose names `named` completes.
fn feed<'a>(graph: &'a Graph, e: &mut Emitter, named: impl Fn(String) -> String) -> FeedTensors<'a> {
    let (batch, lanes) = (e.batch, e.lanes());
    let features = graph.input_features() as u32;
    let slots = [0, 1].map(|s| {
        let shape = (batch, features, odd_pitch(features, lanes));
        let x = e.resident(&named(format!("input {s}")), Class::Activations, Space::Hmem, None, shape);
        let labels = batch * graph.labels_per_row() as u32;
        let labels = (1, labels, labels);
        (x, e.resident(&named(format!("labels {s}")), Class::Activations, Space::Hmem, None, labels))
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
        let name = |s| named(format!("dropout masks {s}"));
        let of = |s: usize| e.resident(&name(s), Class::Activations, Space::Hmem, None, shape);
        ([0, 1].map(of), offsets)
    });
    FeedTensors { graph, slots, masks }
}

/// Tensors of all parameters.
pub(super) fn parameters(phases: &[PhaseSpec], e: &mut Emitter) -> Vec<ParameterTensors> {
    let lanes = e.lanes();
    let graphs = || phases.iter().flat_map(|p| p.passes.iter().map(|pass| pass.1));
    let shared = &phases[0].passes[0].1.parameters;
    // Biases whose gradient is one more column of their weight's.
    let mut weight_of = vec![None; shared.len()];
    for n in graphs().flat_map(|g| &g.nodes) {
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
    let mut whole: Vec<Option<Nd>> = vec![None; shared.len()];
    for (i, p) in shared.iter().enumerate() {
        let owner = phases.iter().find(|phase| phase.trained().contains(&ParameterId(i)));
        let recipe = owner.expect("every parameter is updated by a phase").recipe;
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
        parameters.push(ParameterTensors { half, master, state, sum, gradient, recipe });
    }
    parameters
}

/// Tensors of all buffers: FP32, kept from step to step.
pub(super) fn buffers(graph: &Graph, e: &mut Emitter) -> Vec<usize> {
    let mut all = Vec::new();
    for b in &graph.buffers {
        let n = b.len() as u32;
        all.push(e.resident(&b.name, Class::Weights, Space::Smem, Some(1), (1, n, n)));
    }
    all
}
