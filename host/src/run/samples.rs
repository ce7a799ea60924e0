//! A GAN's samples: a grid of generated images as SVG, which browsers show and which needs nothing else.

use std::fmt::Write as _;

use half::f16;

/// Its name in a run's folder.
pub const FILE: &str = "samples.svg";
/// Most images that are drawn.
const MOST: usize = 64;
/// Pixels of an image's edge in the picture, about.
const EDGE: usize = 64;

/// Draws images, `[images, shape…]` with values from 0 (black) to 1 (white). `shape` is `[channels, height, width]`, of which the
/// first channel is drawn; anything else becomes one row of pixels.
pub fn grid(values: &[f16], shape: &[usize]) -> String {
    let features = shape.iter().product::<usize>();
    let (height, width) = match *shape {
        [_, h, w] => (h, w),
        _ => (1, features),
    };
    let images: Vec<&[f16]> = values.chunks(features).take(MOST).collect();
    let columns = (images.len() as f64).sqrt().ceil() as usize;
    let pixel = (EDGE / height.max(width)).max(1);
    // a pixel's width between images
    let (step_x, step_y) = ((width + 1) * pixel, (height + 1) * pixel);
    let (w, h) = (columns * step_x + pixel, images.len().div_ceil(columns.max(1)) * step_y + pixel);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" role=\"img\" aria-label=\"Generated images\" \
         shape-rendering=\"crispEdges\"><rect width=\"{w}\" height=\"{h}\" fill=\"#808080\"/>"
    );
    for (i, image) in images.iter().enumerate() {
        let (left, top) = (i % columns * step_x + pixel, i / columns * step_y + pixel);
        for y in 0..height {
            for (start, count, level) in runs(&image[y * width..(y + 1) * width]) {
                let (x, y, w) = (left + start * pixel, top + y * pixel, count * pixel);
                let _ = write!(
                    svg,
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{pixel}\" fill=\"#{level:02x}{level:02x}{level:02x}\"/>"
                );
            }
        }
    }
    svg + "</svg>"
}

/// Neighbours of one grey level: the first, how many, and the level.
fn runs(row: &[f16]) -> Vec<(usize, usize, u8)> {
    let mut runs: Vec<(usize, usize, u8)> = Vec::new();
    for (x, v) in row.iter().enumerate() {
        let level = (v.to_f32().clamp(0.0, 1.0) * 255.0).round() as u8;
        match runs.last_mut() {
            Some((_, count, last)) if *last == level => *count += 1,
            _ => runs.push((x, 1, level)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_drawn_and_equal_neighbours_are_one_rectangle() {
        let black_white: Vec<f16> = [0.0, 0.0, 1.0, 0.5].map(f16::from_f32).repeat(3);
        let svg = grid(&black_white, &[1, 2, 2]);
        // the ground, and of each image one run of two and two pixels
        assert_eq!(svg.matches("<rect").count(), 1 + 3 * 3);
        assert_eq!((svg.matches("#000000").count(), svg.matches("#ffffff").count()), (3, 3));
        assert!(grid(&[f16::NAN; 4], &[4]).contains("#000000"), "no number is drawn black");
    }
}
