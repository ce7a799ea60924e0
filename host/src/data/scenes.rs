//! Scenes to find digits in: two of the bundled 8×8 digits, stretched, somewhere on a larger canvas, and behind each scene's pixels what
//! a detector of one stage is to say of each cell of a grid, as in SSD (Liu et al., arXiv 1512.02325) and FCOS (arXiv 1904.01355).
//!
//! A row is `[PIXELS | TARGETS]`, the latter `CHANNELS × CELLS × CELLS`, all bytes of 1/256. A cell whose middle lies in a digit's box says where
//! the box's middle is from there, how large it is, and which digit; another cell says "here, of no size, no digit".

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::{Dataset, Rows};

/// What the data set is called.
pub(super) const NAME: &str = "digit-scenes";
/// Edge of a scene in pixels.
pub const CANVAS: usize = 20;
/// Cells along an edge.
pub const CELLS: usize = 5;
/// Pixels along a cell's edge.
const CELL: usize = CANVAS / CELLS;
/// Digits in a scene.
pub const DIGITS: usize = 2;
/// Classes of digits.
pub const CLASSES: usize = 10;
/// What a cell tells: the box's middle, x and y, its width and height, and a score for each class.
pub const CHANNELS: usize = 4 + CLASSES;
/// Pixels of a scene, the first numbers of a row.
pub const PIXELS: usize = CANVAS * CANVAS;
/// Targets of a scene, the numbers behind them.
pub const TARGETS: usize = CHANNELS * CELLS * CELLS;
/// Pixels for one unit of a box's numbers: they lie in [0, 1), a middle of 0.5 being the cell's own.
pub const UNIT: f32 = 32.0;
/// Edges that a digit is stretched to.
const SIZES: [usize; 2] = [8, 10];
/// Edge of a bundled digit.
const SOURCE: usize = 8;

/// A digit in a scene, in pixels: left, top, edge.
#[derive(Clone, Copy)]
struct Place {
    left: usize,
    top: usize,
    edge: usize,
}

impl Place {
    fn meets(self, other: Place) -> bool {
        let apart = |a: usize, a_edge: usize, b: usize, b_edge: usize| a + a_edge <= b || b + b_edge <= a;
        !apart(self.left, self.edge, other.left, other.edge) && !apart(self.top, self.edge, other.top, other.edge)
    }
}

/// The same scenes on every machine: one for each bundled digit, which it holds beside another one of its part.
pub(super) fn open() -> Dataset {
    let digits = Dataset::digits();
    let part = |of: &Rows, seed| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut features = Vec::new();
        for i in 0..of.len() {
            let other = below(&mut random, of.len());
            scene(&mut features, of, &[i, other], &mut random);
        }
        // a regression knows no classes, and every row has a label
        Rows::new(features, vec![0; of.len()])
    };
    Dataset::from_parts(NAME, part(&digits.train, 0), part(&digits.test, 1), PIXELS + TARGETS)
}

fn below(random: &mut ChaCha8Rng, n: usize) -> usize {
    random.next_u32() as usize % n
}

/// Appends a scene of these digits, and its targets.
fn scene(row: &mut Vec<u8>, of: &Rows, digits: &[usize], random: &mut ChaCha8Rng) {
    let mut places: Vec<Place> = Vec::new();
    // All anew where two digits meet: beside some a second one has no room.
    while places.len() < digits.len() {
        let edge = SIZES[below(random, SIZES.len())];
        let at = |random: &mut ChaCha8Rng| below(random, CANVAS - edge + 1);
        let place = Place { left: at(random), top: at(random), edge };
        match places.iter().any(|p| p.meets(place)) {
            true => places.clear(),
            false => places.push(place),
        }
    }
    let start = row.len();
    row.resize(start + PIXELS + TARGETS, 0);
    let (pixels, targets) = row[start..].split_at_mut(PIXELS);
    targets[..2 * CELLS * CELLS].fill(128);
    for (&digit, &Place { left, top, edge }) in digits.iter().zip(&places) {
        let source = of.row(digit, SOURCE * SOURCE);
        for (y, x) in (0..edge * edge).map(|i| (i / edge, i % edge)) {
            // 16 shades of grey
            pixels[(top + y) * CANVAS + left + x] = 15 * source[y * SOURCE / edge * SOURCE + x * SOURCE / edge];
        }
        for cell in 0..CELLS * CELLS {
            let middle = |c: usize| c * CELL + CELL / 2;
            let (x, y) = (middle(cell % CELLS), middle(cell / CELLS));
            if !((left..left + edge).contains(&x) && (top..top + edge).contains(&y)) {
                continue;
            }
            // eighths of a pixel; edges are even, so that middles are whole
            let distance = |box_middle: usize, cell_middle: usize| (128 + 8 * box_middle - 8 * cell_middle) as u8;
            let mut tell = |channel: usize, value: u8| targets[channel * CELLS * CELLS + cell] = value;
            tell(0, distance(left + edge / 2, x));
            tell(1, distance(top + edge / 2, y));
            tell(2, (8 * edge) as u8);
            tell(3, (8 * edge) as u8);
            tell(4 + usize::from(of.labels[digit]), 255);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn scenes_never_change_and_hold_two_digits_that_cells_point_at() {
        let data = open();
        assert_eq!((data.train.len(), data.test.len(), data.width, data.scale), (1437, 360, 750, -8));
        let mut hash = Sha256::new();
        for part in [&data.train, &data.test] {
            hash.update(&part.features);
        }
        let hex = systole_verilator::hex(&hash.finalize());
        assert_eq!(hex, "31cef09127b4e1846e93a61c56f91c9084e9217f5900d67a430249a21232b2dc");
        for i in 0..data.test.len() {
            let (pixels, targets) = data.test.row(i, data.width).split_at(PIXELS);
            let of = |channel: usize, cell: usize| i32::from(targets[channel * CELLS * CELLS + cell]);
            let mut boxes = Vec::new();
            for cell in 0..CELLS * CELLS {
                let classes: Vec<usize> = (0..CLASSES).filter(|&c| of(4 + c, cell) > 0).collect();
                match classes[..] {
                    [] => assert_eq!([0, 1, 2, 3].map(|c| of(c, cell)), [128, 128, 0, 0]),
                    [class] => {
                        let middle =
                            |at: usize, channel: usize| (at * CELL + CELL / 2) as i32 + (of(channel, cell) - 128) / 8;
                        let (x, y, edge) = (middle(cell % CELLS, 0), middle(cell / CELLS, 1), of(2, cell) / 8);
                        boxes.push((x, y, edge, class));
                        assert_eq!(of(2, cell), of(3, cell));
                    }
                    _ => panic!("two digits in a cell of scene {i}"),
                }
            }
            boxes.sort_unstable();
            boxes.dedup();
            assert_eq!(boxes.len(), DIGITS, "scene {i}: {boxes:?}");
            // all ink lies in the boxes
            for (at, _) in pixels.iter().enumerate().filter(|(_, p)| **p > 0) {
                let (px, py) = ((at % CANVAS) as i32, (at / CANVAS) as i32);
                let inside = |&(x, y, edge, _): &(i32, i32, i32, usize)| {
                    (x - edge / 2..x + edge / 2).contains(&px) && (y - edge / 2..y + edge / 2).contains(&py)
                };
                assert!(boxes.iter().any(inside), "scene {i}, pixel {px}, {py}");
            }
        }
    }
}
