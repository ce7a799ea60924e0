//! A whole training run in FP32, on the host alone: the baseline that mixed precision is measured against. Initial weights, order of
//! the rows, dropout, latent vectors, schedule and hyper-parameters are those of the same run on a device
//! ([`crate::run::train`](fn@crate::run::train)); there is no FP16 anywhere and no loss scale.

use half::f16;

use super::{Updates, evaluate_trained, follow, gradients_watched};
use crate::compile::Recipe;
use crate::data::dropout::kept;
use crate::data::latent::noise;
use crate::data::{Dataset, Moment, Rows, permutation};
use crate::driver::session::{Score, Weights};
use crate::error::{Error, Result};
use crate::exponents::Exponents;
use crate::graph::{Graph, Model, Op, Phase, initialize};
use crate::run::TrainOptions;

/// Rows of an evaluation's batches.
const EVALUATION: usize = 64;

/// An epoch of a run.
#[derive(Clone, Debug, Default)]
pub struct EpochScore {
    /// Rows as they were trained on, by phase; a discriminator's loss is that of real and of generated images together.
    pub train: Vec<Score>,
    /// Test rows after the epoch; `None` for a GAN.
    pub test: Option<Score>,
}

/// What was seen in some steps of a run.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Master weights, before the step.
    pub weights: Exponents,
    /// Gradients of the parameters.
    pub weight_gradients: Exponents,
    /// Gradients of the nodes' values, those of the loss by the logits included. What lies inside a recurrent layer is not seen,
    /// and a reshaped value counts once.
    pub activation_gradients: Exponents,
    /// Of each step that was watched: updates of single weights that are not 0, and how many of them leave the weight's FP16 value
    /// as it is, though it is the weight itself that they are added to.
    pub updates: Vec<(u64, u64)>,
}

/// A run that has ended.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// Every epoch.
    pub epochs: Vec<EpochScore>,
    /// Final weights and buffers.
    pub weights: Weights,
    /// Updates.
    pub steps: u64,
    /// What was seen, where it was asked for.
    pub watched: Watched,
}

/// How a run is followed.
pub struct Watch<'a> {
    /// Steps that are watched, spread evenly over the run; 0: none.
    pub steps: u64,
    /// Told of every step; returns whether to go on.
    pub go_on: &'a mut dyn FnMut(u64) -> bool,
}

/// Trains in FP32.
///
/// # Errors
/// [`Error::InvalidValue`] for micro-batches; [`Error::Interrupted`].
pub fn train(options: &TrainOptions, model: &Model, data: &Dataset, watch: Watch) -> Result<Baseline> {
    if options.accumulate > 1 {
        let why = "the FP32 baseline has room for whole batches: choose a larger --batch";
        return Err(Error::value("--accumulate", options.accumulate, why));
    }
    let recipes: Vec<(Recipe, f32, f32)> =
        options.of_phases(model).iter().map(|o| (o.recipe(), o.lr, o.momentum)).collect();
    let buffers = model.graph.buffers.iter().map(|b| vec![b.initial; b.len()]).collect();
    let total = u64::from(options.epochs) * options.steps_per_epoch(data.train.len());
    let mut run = Run {
        options,
        data,
        phases: phases(model),
        weights: Weights { buffers, ..Weights::from(initialize(&model.graph, options.seed)) },
        updates: recipes.iter().map(|&(r, _, momentum)| Updates::new(r, momentum)).collect(),
        rates: recipes.iter().map(|r| r.1).collect(),
        every: total.checked_div(watch.steps).map(|n| n.max(1)),
        watched: Watched::default(),
        steps: 0,
    };
    let mut epochs = Vec::new();
    for epoch in 1..=u64::from(options.epochs) {
        let mut train = vec![Score::default(); run.phases.len()];
        let order = permutation(options.seed, epoch, data.train.len());
        for (batch, rows) in order.chunks(options.batch as usize).enumerate() {
            run.step(Moment { seed: options.seed, epoch, batch: batch as u64 }, rows, &mut train);
            if !(watch.go_on)(run.steps) {
                return Err(Error::Interrupted { kept: String::new() });
            }
        }
        let test = model.gan.is_none().then(|| evaluate(&model.graph, &run.weights, data));
        epochs.push(EpochScore { train, test });
    }
    Ok(Baseline { epochs, weights: run.weights, steps: run.steps, watched: run.watched })
}

/// The passes of a step by phase, with the parameters that learn.
fn phases(model: &Model) -> Vec<Vec<&Graph>> {
    match &model.gan {
        Some(gan) => gan.phases.iter().map(|p: &Phase| p.passes.iter().map(|p| &p.graph).collect()).collect(),
        None => vec![vec![&model.graph]],
    }
}

/// Rows of a data set as numbers, `[rows, features]`, and their labels.
pub fn numbers(data: &Dataset, of: &Rows, rows: &[usize]) -> (Vec<f32>, Vec<u32>) {
    let scale = f32::exp2(f32::from(data.scale));
    let x = rows.iter().flat_map(|&i| of.row(i, data.width)).map(|&b| f32::from(b) * scale).collect();
    (x, rows.iter().flat_map(|&i| of.labels_of(i)).map(|&l| u32::from(l)).collect())
}

/// Loss and accuracy on the test rows.
fn evaluate(graph: &Graph, weights: &Weights, data: &Dataset) -> Score {
    let (mut score, steps) = (Score::default(), graph.labels_per_row() as f32);
    let order: Vec<usize> = (0..data.test.len()).collect();
    for rows in order.chunks(EVALUATION) {
        let (x, labels) = numbers(data, &data.test, rows);
        let pass = evaluate_trained(graph, &weights.masters, &weights.buffers, &x, &labels);
        score.add(rows.len(), pass.loss, pass.correct as f32 / steps);
    }
    score
}

struct Run<'a> {
    options: &'a TrainOptions,
    data: &'a Dataset,
    phases: Vec<Vec<&'a Graph>>,
    weights: Weights,
    updates: Vec<Updates<f32>>,
    rates: Vec<f32>,
    /// Steps from one that is watched to the next.
    every: Option<u64>,
    watched: Watched,
    steps: u64,
}

impl Run<'_> {
    /// Trains on one batch, in all phases.
    fn step(&mut self, at: Moment, rows: &[usize], train: &mut [Score]) {
        let watched = self.every.is_some_and(|every| self.steps.is_multiple_of(every));
        let (x, labels) = numbers(self.data, &self.data.train, rows);
        let (mut number, mut dropouts) = (0, 0);
        let schedule = self.options.schedule(self.data.train.len());
        for (phase, score) in train.iter_mut().enumerate() {
            let (mut sum, mut loss, mut correct): (Vec<Vec<f32>>, _, _) = (Vec::new(), 0.0, 0.0);
            for graph in self.phases[phase].clone() {
                let latent = || noise(at, number, self.options.batch as usize * graph.input_features());
                let x = if graph.reads_noise() {
                    latent().iter().take(rows.len() * graph.input_features()).map(|v| v.to_f32()).collect()
                } else {
                    x.clone()
                };
                let kept = masks(graph, at, dropouts, self.options.batch as usize, rows.len());
                (number, dropouts) = (number + 1, dropouts + kept.len());
                // one label a row where there are no classes
                let labels = if graph.classes() == 0 { &vec![0; rows.len()] } else { &labels };
                let exponents = &mut self.watched.activation_gradients;
                let pass = gradients_watched(graph, &self.weights.masters, &x, labels, &kept, |node, g| {
                    if watched && !matches!(node.op, Op::Reshape) {
                        g.iter().for_each(|&v| exponents.add(v.into()));
                    }
                });
                if !graph.buffers.is_empty() {
                    follow(graph, &self.weights.masters, &mut self.weights.buffers, &x, labels);
                }
                loss += pass.loss;
                correct += pass.correct as f32 / graph.labels_per_row() as f32;
                match sum.is_empty() {
                    true => sum = pass.gradients,
                    false => sum.iter_mut().flatten().zip(pass.gradients.iter().flatten()).for_each(|(s, g)| *s += g),
                }
            }
            score.add(rows.len(), loss, correct);
            let learns = |i: usize| self.phases[phase][0].parameters[i].requires_grad;
            let lr = schedule.rate(self.rates[phase], self.updates[phase].count());
            let before = watched.then(|| self.weights.masters.clone());
            self.updates[phase].step(lr, &mut self.weights.masters, &sum, learns);
            if let Some(before) = before {
                let of = (0..before.len()).filter(|&i| learns(i));
                self.watched.update(of.map(|i| (&before[i], &sum[i], &self.weights.masters[i])));
            }
        }
        self.steps += 1;
    }
}

impl Watched {
    /// Adds an update: of each parameter its values before, its gradients, its values after.
    fn update<'a>(&mut self, all: impl Iterator<Item = (&'a Vec<f32>, &'a Vec<f32>, &'a Vec<f32>)>) {
        let (mut updates, mut lost) = (0, 0);
        for (before, gradients, after) in all {
            before.iter().for_each(|&v| self.weights.add(v.into()));
            gradients.iter().for_each(|&v| self.weight_gradients.add(v.into()));
            for (p, change) in before.iter().zip(after).map(|(b, a)| (f16::from_f32(*b), a - b)) {
                updates += u64::from(change != 0.0);
                lost += u64::from(change != 0.0 && f16::from_f32(p.to_f32() + change) == p);
            }
        }
        self.updates.push((updates, lost));
    }
}

/// What the graph's dropouts keep of a batch of `rows` rows, drawn as for one of `batch`; the first of them is number `first` of the step.
fn masks(graph: &Graph, at: Moment, first: usize, batch: usize, rows: usize) -> Vec<Vec<bool>> {
    let mask = |(i, id): (usize, crate::graph::NodeId)| {
        let node = graph.node(id);
        let Op::Dropout { p } = node.op else { unreachable!("a dropout") };
        let mut kept = kept(at, (first + i) as u64, p, batch * node.features);
        kept.truncate(rows * node.features);
        kept
    };
    graph.dropouts().into_iter().enumerate().map(mask).collect()
}
