//! A detector's score: the share of the test scenes' digits that it finds, with the class, in a box that overlaps theirs by half (the threshold
//! of PASCAL VOC, IoU 0.5). A cell's detection is its box with its highest class; of detections that overlap, the surest is kept.

use crate::data::Dataset;
use crate::data::scenes::{CANVAS, CELLS, CLASSES, DIGITS, PIXELS, TARGETS, UNIT};
use crate::graph::Model;
use crate::reference::{evaluate, train as baseline};

/// Overlap from which on a box is right.
const RIGHT: f32 = 0.5;
/// Overlap from which on two detections are of one digit.
const SAME: f32 = 0.3;
/// Scenes at a time.
const BATCH: usize = 64;

/// A box in pixels, with its class and how sure a cell is of it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Found {
    middle: [f32; 2],
    edges: [f32; 2],
    class: usize,
    sure: f32,
}

impl Found {
    /// Intersection over union.
    fn overlap(&self, other: &Found) -> f32 {
        let side = |axis: usize| {
            let end = |b: &Found, sign: f32| b.middle[axis] + sign * b.edges[axis].max(0.0) / 2.0;
            (end(self, 1.0).min(end(other, 1.0)) - end(self, -1.0).max(end(other, -1.0))).max(0.0)
        };
        let area = |b: &Found| b.edges[0].max(0.0) * b.edges[1].max(0.0);
        let both = side(0) * side(1);
        both / (area(self) + area(other) - both).max(f32::MIN_POSITIVE)
    }
}

/// The surest detections of a scene, of digits apart from each other, from a map of [`TARGETS`] numbers.
fn found(map: &[f32]) -> Vec<Found> {
    let cell = (CANVAS / CELLS) as f32;
    let of = |at: usize| {
        let told = |channel: usize| map[channel * CELLS * CELLS + at];
        let middle = |axis: usize, i: usize| (i as f32 + 0.5) * cell + (told(axis) - 0.5) * UNIT;
        let class = (0..CLASSES).fold(0, |best, c| if told(4 + c) > told(4 + best) { c } else { best });
        let middle = [middle(0, at % CELLS), middle(1, at / CELLS)];
        Found { middle, edges: [told(2) * UNIT, told(3) * UNIT], class, sure: told(4 + class) }
    };
    let mut all: Vec<Found> = (0..CELLS * CELLS).map(of).collect();
    all.sort_by(|a, b| b.sure.total_cmp(&a.sure));
    let mut kept: Vec<Found> = Vec::new();
    for one in all {
        if kept.len() < DIGITS && kept.iter().all(|k| k.overlap(&one) < SAME) {
            kept.push(one);
        }
    }
    kept
}

/// Digits of a scene that its detections find.
fn right(detected: &[Found], truth: &[Found]) -> usize {
    truth.iter().filter(|t| detected.iter().any(|d| d.class == t.class && d.overlap(t) >= RIGHT)).count()
}

/// Percentage of the test scenes' digits that the network finds with these weights, evaluated in FP32.
pub(super) fn score(model: &Model, data: &Dataset, weights: &[Vec<f32>]) -> f64 {
    let (mut hits, mut all) = (0, 0);
    let order: Vec<usize> = (0..data.test.len()).collect();
    for rows in order.chunks(BATCH) {
        let (x, labels) = baseline::numbers(data, &data.test, rows);
        let maps = evaluate(&model.graph, weights, &x, &labels).logits;
        for (map, row) in maps.chunks(TARGETS).zip(x.chunks(data.width)) {
            let truth = found(&row[PIXELS..]);
            all += truth.len();
            hits += right(&found(map), &truth);
        }
    }
    100.0 * hits as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_find_all_digits_and_other_scenes_few() {
        let data = Dataset::open("digit-scenes").unwrap();
        let scenes: Vec<Vec<Found>> = (0..data.test.len())
            .map(|i| {
                let (x, _) = baseline::numbers(&data, &data.test, &[i]);
                found(&x[PIXELS..])
            })
            .collect();
        assert!(scenes.iter().all(|s| s.len() == DIGITS && right(s, s) == DIGITS));
        // those of the scene before are as good as a guess
        let hits: usize = (1..scenes.len()).map(|i| right(&scenes[i - 1], &scenes[i])).sum();
        assert!(hits * 20 < scenes.len() * DIGITS, "{hits}");
    }

    #[test]
    fn overlap_is_intersection_over_union() {
        let of = |x: f32, w: f32| Found { middle: [x, 0.0], edges: [w, 2.0], class: 0, sure: 1.0 };
        assert_eq!(of(0.0, 2.0).overlap(&of(0.0, 2.0)), 1.0);
        assert_eq!(of(0.0, 2.0).overlap(&of(1.0, 2.0)), 1.0 / 3.0);
        assert_eq!(of(0.0, 2.0).overlap(&of(2.0, 2.0)), 0.0);
        assert_eq!(of(0.0, -1.0).overlap(&of(0.0, 2.0)), 0.0);
    }
}
