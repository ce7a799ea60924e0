//! A generator's score: what a classifier of the digits says of its images, the inception score of Salimans et al. (arXiv 1606.03498),
//! `exp(mean KL(p(y|x) ‖ p(y)))`: 1 for images that all look alike, 10 for ten digits that are all clearly told apart.

use std::sync::OnceLock;

use super::experiment::{Network, bundled};
use crate::data::latent::noise;
use crate::data::{Dataset, Moment};
use crate::error::Result;
use crate::graph::Model;
use crate::reference::{evaluate, train as baseline};
use crate::run::prepare;

/// The network that judges, trained in FP32 with the settings of its own experiment.
const JUDGE: &str = "lenet-digits";
/// Images that a generator makes to be judged.
const IMAGES: usize = 512;
/// Of those, the ones that are shown.
const SHOWN: usize = 36;

/// A trained classifier of digits.
struct Judge {
    model: Model,
    weights: Vec<Vec<f32>>,
}

/// The classifier, trained once for all that are judged.
fn judge() -> Result<&'static Judge> {
    static JUDGED: OnceLock<Judge> = OnceLock::new();
    if let Some(judge) = JUDGED.get() {
        return Ok(judge);
    }
    let network = bundled().networks.into_iter().find(|n: &Network| n.name == JUDGE).expect("a test scores with it");
    let options = network.options("", 0)?;
    let (model, data) = prepare(&options)?;
    let watch = baseline::Watch { steps: 0, go_on: &mut |_| true };
    let weights = baseline::train(&options, &model, &data, watch)?.weights.masters;
    Ok(JUDGED.get_or_init(|| Judge { model, weights }))
}

/// What the classifier makes of images `[images, features]`.
fn inception(judge: &Judge, images: &[f32]) -> f64 {
    let rows = images.len() / judge.model.graph.input_features();
    let logits = evaluate(&judge.model.graph, &judge.weights, images, &vec![0; rows]).logits;
    let likely = |row: &[f32]| -> Vec<f64> {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let e: Vec<f64> = row.iter().map(|&v| f64::from(v - top).exp()).collect();
        let sum: f64 = e.iter().sum();
        e.into_iter().map(|v| v / sum).collect()
    };
    let each: Vec<Vec<f64>> = logits.chunks(judge.model.graph.classes()).map(likely).collect();
    let mean = |c: usize| each.iter().map(|p| p[c]).sum::<f64>() / rows as f64;
    let all: Vec<f64> = (0..judge.model.graph.classes()).map(mean).collect();
    let term = |(p, m): (&f64, &f64)| if *p > 0.0 { p * (p / m).ln() } else { 0.0 };
    let divergence: f64 = each.iter().flat_map(|p| p.iter().zip(&all).map(term)).sum();
    (divergence / rows as f64).exp()
}

/// The images that the generator of `model` makes with these weights, in FP32, from noise that no step has seen: `[IMAGES, pixels]`.
pub(super) fn generated(model: &Model, weights: &[Vec<f32>]) -> Vec<f32> {
    let at = Moment { seed: 0, epoch: 0, batch: 0 };
    let latent = model.graph.input_features();
    let x: Vec<f32> = noise(at, 0, IMAGES * latent).iter().map(|v| v.to_f32()).collect();
    evaluate(&model.graph, weights, &x, &vec![0; IMAGES]).logits
}

/// The score of generated images.
pub(super) fn score(images: &[f32]) -> Result<f64> {
    Ok(inception(judge()?, images))
}

/// The first [`SHOWN`] of generated images, two hexadecimal digits a pixel.
pub(super) fn shown(all: &[f32]) -> Vec<String> {
    let level = |v: &f32| format!("{:02x}", (v.clamp(0.0, 1.0) * 255.0).round() as u8);
    all.chunks(all.len() / IMAGES).take(SHOWN).map(|image| image.iter().map(level).collect()).collect()
}

/// The score of the test rows themselves, which a generator may come near to.
pub(super) fn score_of_data(data: &Dataset) -> Result<f64> {
    let all: Vec<usize> = (0..data.test.len()).collect();
    Ok(inception(judge()?, &baseline::numbers(data, &data.test, &all).0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::initialize;
    use crate::run::parse_model;

    #[test]
    fn the_score_is_1_without_an_opinion_and_near_10_for_digits() {
        let data = Dataset::digits();
        let judge = judge().unwrap();
        let blind =
            Judge { model: judge.model.clone(), weights: judge.weights.iter().map(|w| vec![0.0; w.len()]).collect() };
        let images = vec![0.5; 8 * data.width];
        assert!((inception(&blind, &images) - 1.0).abs() < 1e-9);
        // images that are all the same tell nothing either, however sure the classifier is
        assert!((inception(judge, &images) - 1.0).abs() < 1e-6);
        let real = score_of_data(&data).unwrap();
        assert!((8.5..10.0).contains(&real), "{real}");
        let model = parse_model(bundled_gan()).unwrap();
        let images = generated(&model, &initialize(&model.graph, 0));
        let untrained = score(&images).unwrap();
        assert!(untrained < 2.0, "{untrained}");
        let shown = shown(&images);
        assert!(shown.len() == SHOWN && shown.iter().all(|i| i.len() == 2 * data.width), "{shown:?}");
    }

    fn bundled_gan() -> &'static str {
        bundled().networks.iter().find(|n| n.name == "gan-digits").unwrap().model()
    }
}
